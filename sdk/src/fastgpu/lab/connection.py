"""The connection of one page to one kernel, with the recorder told of what passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from fastgpu.lab.outputs import OUTPUT_TYPES
from fastgpu.lab.recorder import Recorder

PROTOCOL = "v1.kernel.websocket.jupyter.org"
# How long a page waits for the recorder to hear its kernel. It misses no output only after that.
HEARING_SECONDS = 5.0


class RecordedConnection(ZMQChannelsWebsocketConnection):
    """As Jupyter's own, except that runs are told to the recorder and orphaned ones kept back."""

    @property
    def recorder(self) -> Recorder:
        """The recorder of this kernel."""
        recorder: Recorder = self.websocket_handler.settings["fastgpu_recorders"].of(
            self.kernel_id, self.kernel_manager
        )
        return recorder

    async def prepare(self) -> None:
        """Start to listen before the page can ask for anything."""
        await super().prepare()
        self.recorder.page_back(self.session.session)

    def connect(self) -> asyncio.Future[None] | None:
        """Open the channels; a page that finds its kernel at work is told so at once."""
        connected = super().connect()
        if connected is None:
            return None
        if self.recorder.is_running:
            self._send_status_message("busy")
        return asyncio.ensure_future(self._heard(connected))

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Pass a request to the kernel, after the recorder knows of it."""
        if self.subprotocol == PROTOCOL and b"execute_request" in incoming_msg:
            channel, parts = deserialize_msg_from_ws_v1(incoming_msg)
            header = json.loads(parts[0])
            cell_id = json.loads(parts[2]).get("cellId")
            if channel == "shell" and header["msg_type"] == "execute_request" and cell_id:
                self.recorder.begin(header["msg_id"], cell_id, self.session.session)
        super().handle_incoming_message(incoming_msg)

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Any]) -> None:
        """Pass what the kernel says to the page, unless the recorder writes it."""
        if not self._is_for_recorder(outgoing_msg):
            super().handle_outgoing_message(stream, outgoing_msg)

    def write_stderr(self, error_message: str, parent_header: dict[str, Any]) -> None:
        """More output than a page can take: instead of telling it so, the recorder takes over."""
        if not self.recorder.take(parent_header.get("msg_id", "")):
            super().write_stderr(error_message, parent_header)

    def disconnect(self) -> None:
        """The page is gone."""
        super().disconnect()
        self.recorder.page_gone(self.session.session)

    async def _heard(self, connected: asyncio.Future[None]) -> None:
        """Both the page and the recorder listen; requests of the page are read from then on."""
        await connected
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.recorder.heard.wait(), HEARING_SECONDS)

    def _is_for_recorder(self, message: list[Any]) -> bool:
        recorder = self.recorder
        if not recorder.has_orphans:
            return False
        _, parts = self.session.feed_identities(message)
        if json.loads(bytes(parts[1]))["msg_type"] not in OUTPUT_TYPES:
            return False
        return recorder.is_orphaned(json.loads(bytes(parts[2])).get("msg_id", ""))
