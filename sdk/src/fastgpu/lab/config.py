"""How FastGPU starts JupyterLab, as Jupyter's configuration.

Nothing here imports Jupyter.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from fastgpu.lab.place import Place

# What the recorder needs besides JupyterLab: the server's half of jupyter-collaboration. The page's
# half is `jupyter-docprovider`.
RECORDER_NEEDS = ("jupyter_server_ydoc", "jupyter_ydoc", "pycrdt")

# Kernels say "idle" after each of these too, also while a cell runs; whether a kernel is at work is
# told by the rest. The history, which a page asks for as it opens, has to be among the rest: else
# the page calls its kernel "Unknown" until the first cell is run.
_NOT_WORK = (
    "comm_info_request", "comm_info_reply", "comm_open", "comm_msg", "comm_close",
    "create_subshell_request", "create_subshell_reply",
    "delete_subshell_request", "delete_subshell_reply",
    "list_subshell_request", "list_subshell_reply",
    "kernel_info_request", "kernel_info_reply",
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


def can_record() -> bool:
    """Whether this environment has what output that survives the browser takes."""
    return all(importlib.util.find_spec(name) for name in RECORDER_NEEDS)


def server_config(place: Place, scratch: Path, *, records: bool) -> dict[str, dict[str, Any]]:
    """The settings by Jupyter's class names.

    `scratch` is a folder for this one start, writable by the server. `records`: see can_record.
    """
    return {
        "ServerApp": {
            **_address(place),
            "root_dir": place.root,
            # Hidden behind the portal's proxy, which keeps the name the browser asked for in Host.
            # Whoever holds the token may use it; the proxy alone does. Requests with the token are
            # not checked for their origin, so the proxy refuses foreign ones by itself.
            "allow_remote_access": True,
            # The proxy says https in X-Forwarded-Proto; links and cookies follow it.
            "trust_xheaders": True,
            "open_browser": False,
            # The attempt's user is nobody, unless the operator runs all without a sandbox.
            "allow_root": True,
            # Stopping is the portal's business, which also stops the bill.
            "quit_button": False,
            "shutdown_no_activity_timeout": 0,
            # A page that is cut off is noticed after a minute at most, and proxies in between see
            # traffic. Connections to kernels read the milliseconds, all others the seconds. The
            # former take a timeout that is no longer than the interval for a page that is gone.
            "tornado_settings": {"ws_ping_interval": 20_000, "ws_ping_timeout": 40_000},
            "websocket_ping_interval": 20,
            "websocket_ping_timeout": 20,
            "jpserver_extensions": _extensions(records=records),
        },
        "IdentityProvider": {"token": place.token},
        "PasswordIdentityProvider": {"allow_password_change": False},
        "LabApp": {
            "app_settings_dir": str(scratch / "lab"),
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
            "session_store_path": str(scratch / "collaboration_sessions.json"),
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
            "buffer_offline_messages": not records,
        },
        "TerminalManager": {"cull_inactive_timeout": 0},
        # No events, no metrics of what people do.
        "EventLogger": {"handlers": []},
    }


def _extensions(*, records: bool) -> dict[str, bool]:
    return {
        "jupyterlab": True,
        "jupyter_server_terminals": True,
        "jupyter_server_fileid": records,
        "jupyter_server_ydoc": records,
        "fastgpu.lab": records,
        # Looks for language servers on each start; there are none.
        "jupyter_lsp": False,
        # For settings of the classic notebook.
        "notebook_shim": False,
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


def write_page(scratch: Path) -> None:
    """Put what the page is told into the folder that `server_config` names."""
    folder = scratch / "lab"
    folder.mkdir()
    _write(folder / "page_config.json", page_config())
    _write(folder / "overrides.json", default_settings())


def _address(place: Place) -> dict[str, Any]:
    if place.socket:
        # In the folder of the socket only the proxy and the server walk.
        return {"sock": place.socket, "sock_mode": "0600"}
    return {"ip": place.host, "port": 0}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
