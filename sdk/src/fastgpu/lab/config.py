"""How FastGPU starts a JupyterLab server: files, environment and command, from one description.

Nothing here imports Jupyter: the portal's side calls it, the prepared environment obeys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a prepared environment must contain, at least in these versions. `jupyter-server-ydoc` and
# `jupyter-docprovider` are the two halves of jupyter-collaboration without its faces and chat; the
# recorder uses parts of the former that are not promised, hence the upper bounds.
REQUIREMENTS = (
    "jupyterlab>=4.6.6,<4.7",
    "jupyter_server>=2.21.1,<3",
    "jupyter-server-ydoc>=3.0.4,<3.1",
    "jupyter-docprovider>=3.0.4,<3.1",
    "jupyter-ydoc>=4.2.1,<5",
    "pycrdt>=0.14.13,<0.15",
    "ipykernel>=7.4.0,<8",
)

# Kernels say "idle" after each of these too, also while a cell runs; whether a kernel is at work is
# told by the rest.
_NOT_WORK = (
    "comm_info_request", "comm_info_reply", "comm_open", "comm_msg", "comm_close",
    "create_subshell_request", "create_subshell_reply",
    "delete_subshell_request", "delete_subshell_reply",
    "list_subshell_request", "list_subshell_reply",
    "kernel_info_request", "kernel_info_reply", "history_request", "history_reply",
    "complete_request", "complete_reply", "inspect_request", "inspect_reply",
    "is_complete_request", "is_complete_reply",
    "shutdown_request", "shutdown_reply", "interrupt_request", "interrupt_reply",
    "debug_request", "debug_reply", "debug_event",
    "stream", "display_data", "update_display_data", "execute_input", "execute_result", "error",
    "status",
)  # fmt: skip

# Plugins of the page that lead nowhere here.
_DISABLED_PLUGINS = (
    # Nothing to install from: there is no network, and the environment is read-only.
    "@jupyterlab/extensionmanager-extension",
    # "News" and "Check for updates".
    "@jupyterlab/apputils-extension:announcements",
    # The page would offer to rebuild itself.
    "@jupyterlab/application-extension:dirty",
    # Language servers; there are none.
    "@jupyterlab/lsp-extension",
    "@jupyterlab/fileeditor-extension:language-server",
    "@jupyterlab/notebook-extension:language-server",
    # A slider over the history of a document; no history is kept.
    "@jupyter/docprovider-extension:statusBarTimeline",
)


@dataclass(frozen=True)
class LabServer:
    """One JupyterLab server.

    It listens on `socket`, or on `port` of the loopback for tests. `token` is what the proxy sends
    in the `Authorization` header. `root` is the folder that people see. `scratch` is a folder for
    this one start, writable by the server.
    """

    token: str
    scratch: Path
    root: Path = Path("/workspace")
    socket: Path | None = None
    port: int = 0


def server_config(lab: LabServer) -> dict[str, dict[str, Any]]:
    """The settings by Jupyter's class names, as its JSON configuration holds them."""
    return {
        "ServerApp": {
            **_address(lab),
            "root_dir": str(lab.root),
            # Hidden behind the portal's proxy, which keeps the name the browser asked for in Host.
            # Whoever holds the token may use it; the proxy alone does.
            "allow_remote_access": True,
            # The proxy says https in X-Forwarded-Proto; links and cookies follow it.
            "trust_xheaders": True,
            # The same origin only. Requests with the token are not checked by Jupyter at all, so
            # the proxy has to refuse foreign origins by itself.
            "allow_origin": "",
            "open_browser": False,
            # In a user namespace the server may be root without being anybody.
            "allow_root": True,
            "terminals_enabled": True,
            # Stopping is the portal's business, which also stops the bill.
            "quit_button": False,
            "shutdown_no_activity_timeout": 0,
            # A page that is cut off is noticed after a minute at most, and proxies in between see
            # traffic. Connections to kernels read the milliseconds, all others the seconds.
            "tornado_settings": {"ws_ping_interval": 20_000, "ws_ping_timeout": 40_000},
            "websocket_ping_interval": 20,
            "websocket_ping_timeout": 20,
            "jpserver_extensions": {
                "jupyterlab": True,
                "jupyter_server_fileid": True,
                "jupyter_server_ydoc": True,
                "jupyter_server_terminals": True,
                "fastgpu.lab": True,
                # Looks for language servers on each start; there are none.
                "jupyter_lsp": False,
                # For settings of the classic notebook.
                "notebook_shim": False,
            },
        },
        "IdentityProvider": {"token": lab.token},
        "PasswordIdentityProvider": {"allow_password_change": False},
        "LabApp": {
            "app_settings_dir": str(lab.scratch / "lab"),
            "extension_manager": "readonly",
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "news_url": None,
        },
        "YDocExtension": {
            # A document stays in memory until the server ends. Dropped and read again from disk it
            # would have another history than the pages that were cut off meanwhile, and theirs
            # would be merged into it as if it were new.
            "document_cleanup_delay": None,
            "ystore_class": "fastgpu.lab.history.NoHistory",
            # Sessions of an earlier server are unknown to this one on purpose: its pages are asked
            # to load the notebook again, for the same reason.
            "session_store_path": str(lab.scratch / "collaboration_sessions.json"),
        },
        # Ids last as long as documents in memory do.
        "BaseFileIdManager": {"db_path": ":memory:"},
        "FileContentsManager": {
            # What is deleted frees its room; a waste bin nobody sees would fill the volume.
            "delete_to_trash": False,
        },
        "MappingKernelManager": {
            # When to stop idle work is decided by the portal.
            "cull_idle_timeout": 0,
            "untracked_message_types": list(_NOT_WORK),
            # Kept without a bound for a page that may never come back; the recorder has it all.
            "buffer_offline_messages": False,
        },
        "TerminalManager": {"cull_inactive_timeout": 0},
        # No events, no metrics of what people do.
        "EventLogger": {"handlers": []},
    }


def page_config() -> dict[str, Any]:
    """What the page is told of itself."""
    return {"disabledExtensions": dict.fromkeys(_DISABLED_PLUGINS, True)}


def default_settings() -> dict[str, dict[str, Any]]:
    """Settings of the page that people may still change for themselves."""
    return {
        "@jupyterlab/apputils-extension:notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        },
    }


def write(lab: LabServer) -> None:
    """Put the files into `lab.scratch`, readable by their owner only: one holds the token."""
    _write(lab.scratch / "jupyter_server_config.json", server_config(lab))
    _write(lab.scratch / "lab" / "page_config.json", page_config())
    _write(lab.scratch / "lab" / "overrides.json", default_settings())


def environment(lab: LabServer) -> dict[str, str]:
    """Variables that the server needs; nothing secret is among them."""
    return {
        # Before what people put into ~/.jupyter, so that they cannot lock themselves out.
        "JUPYTER_CONFIG_PATH": str(lab.scratch),
        "JUPYTER_RUNTIME_DIR": str(lab.scratch / "runtime"),
    }


def command(python: Path) -> list[str]:
    """How to start the server with the interpreter of a prepared environment."""
    return [str(python), "-m", "fastgpu.lab"]


def _address(lab: LabServer) -> dict[str, Any]:
    if lab.socket is None:
        return {"ip": "127.0.0.1", "port": lab.port, "port_retries": 0}
    # Within the folder of the socket only the proxy and the server walk.
    return {"sock": str(lab.socket), "sock_mode": "0600"}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
