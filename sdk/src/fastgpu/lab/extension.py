"""The Jupyter server extension."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets.config import Config

from fastgpu.lab.documents import Documents
from fastgpu.lab.recorder import Recorder

# The longest that what a cell prints is in the server's memory only.
SAVE_SECONDS = 5.0


class Recorders:
    """One recorder for each kernel that a page has connected to."""

    def __init__(self, server: Any, documents: Documents) -> None:
        self._server = server
        self._documents = documents
        self._recorders: dict[str, Recorder] = {}

    def of(self, kernel_id: str, kernel: Any) -> Recorder:
        """The recorder of a kernel, made when it is first asked for."""
        if kernel_id not in self._recorders:
            self._recorders[kernel_id] = Recorder(
                kernel_id, kernel, self._documents, self._server.log
            )
        return self._recorders[kernel_id]

    async def write(self) -> None:
        """Bring all documents up to date."""
        for recorder in self._recorders.values():
            await recorder.write()

    def close(self) -> None:
        """Stop listening to all kernels."""
        for recorder in self._recorders.values():
            recorder.close()

    def drop_ended(self) -> None:
        """Stop listening to kernels that are no more."""
        for kernel_id in list(self._recorders):
            if kernel_id not in self._server.kernel_manager:
                self._recorders.pop(kernel_id).close()


class LabExtension(ExtensionApp):
    """Records what kernels say when nobody listens, and saves it."""

    name = "fastgpu_lab"

    def _link_jupyter_server_extension(self, serverapp: Any) -> None:
        config = Config()
        config.ServerApp.kernel_websocket_connection_class = (
            "fastgpu.lab.connection.RecordedConnection"
        )
        serverapp.update_config(config)
        super()._link_jupyter_server_extension(serverapp)

    def initialize_settings(self) -> None:
        """Make what connections look up."""
        self._documents = Documents(self.serverapp)
        self._recorders = Recorders(self.serverapp, self._documents)
        self.settings["fastgpu_recorders"] = self._recorders
        self.serverapp.web_app.settings["fastgpu_recorders"] = self._recorders

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        self._saver = asyncio.get_running_loop().create_task(self._save_on())

    async def stop_extension(self) -> None:
        """Nothing that was printed so far is lost when the server is asked to end."""
        self._saver.cancel()
        await self._recorders.write()
        # From here on documents are closed, by the extension whose they are.
        self._recorders.close()
        await self._documents.save_all()

    async def _save_on(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            self._recorders.drop_ended()
            try:
                await self._documents.save_all()
            except Exception:
                self.log.exception("Open documents could not be saved")
