"""The notebooks that a Jupyter server holds open: finding cells, writing outputs, saving."""

from __future__ import annotations

from typing import Any

from jupyter_server_ydoc.utils import OutOfBandChanges
from jupyter_ydoc.utils import cast_all
from pycrdt import Array, Map, Text

from fastgpu.lab.outputs import Output


class Documents:
    """The shared documents of `server`, a `ServerApp` with jupyter-collaboration loaded."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._saved_at: dict[str, float] = {}

    async def find(self, kernel_id: str, cell_id: str) -> Cell | None:
        """The cell in a notebook that uses the kernel; opens the notebook if nobody has it open."""
        for session in await self._server.session_manager.list_sessions():
            if session["kernel"]["id"] != kernel_id or session["type"] != "notebook":
                continue
            file_id = self._server.web_app.settings["file_id_manager"].index(session["path"])
            if file_id is None:
                continue
            room_id = f"json:notebook:{file_id}"
            notebook = await self._collaboration.get_document(
                room_id=room_id, copy=False, create=True
            )
            cell = None if notebook is None else Cell.of(notebook, cell_id)
            if cell is not None:
                return cell
        return None

    async def save_all(self, *, changed_only: bool = True) -> None:
        """Write open notebooks and files that changed, however often they change.

        The server itself saves once a document has been left alone for a second, which a cell that
        prints all the time never does.
        """
        for room in list(self._collaboration.ywebsocket_server.rooms.values()):
            waiting = getattr(room, "_saving_document", None)
            if waiting is None or (changed_only and waiting.done()):
                continue
            await self._save(room)

    async def _save(self, room: Any) -> None:
        model = {
            "format": room.file_format,
            "type": room.file_type,
            "content": room._document.get(),
        }
        try:
            saved = await room._file.maybe_save_content(model)
        except OutOfBandChanges:
            # Somebody wrote the file, say git. The server takes the file over the document.
            await room._on_outofband_change()
            return
        if saved:
            async with room._update_lock:
                room._document.dirty = False
                room._document.hash = saved["hash"]

    @property
    def _collaboration(self) -> Any:
        (app,) = self._server.extension_manager.extension_apps["jupyter_server_ydoc"]
        return app


class Cell:
    """A code cell of an open notebook."""

    def __init__(self, notebook: Any, shared: Map) -> None:
        self._notebook = notebook
        self._shared = shared

    @classmethod
    def of(cls, notebook: Any, cell_id: str) -> Cell | None:
        """The code cell with this id, if the notebook has it."""
        for shared in notebook.ycells:
            if shared.get("id") == cell_id and shared.get("cell_type") == "code":
                return cls(notebook, shared)
        return None

    def show(self, outputs: list[Output], *, count: int | None, is_running: bool) -> None:
        """Make the cell show exactly this; what is right already stays untouched."""
        with self._shared.doc.transaction():
            _make_equal(self._shared["outputs"], outputs)
            state = "running" if is_running else "idle"
            if self._shared.get("execution_state") != state:
                self._shared["execution_state"] = state
            if not is_running and self._shared.get("execution_count") != count:
                self._shared["execution_count"] = None if count is None else float(count)

    def replace_display(self, place: int, shown: Output) -> None:
        """Give the display at `place` another content, if there still is one."""
        outputs = self._shared["outputs"]
        if place < len(outputs) and "data" in outputs[place]:
            have = _plain(outputs[place])
            if have | shown != have:
                outputs[place] = _shared_output(have | shown)


def _make_equal(shared: Array, outputs: list[Output]) -> None:
    for place, output in enumerate(outputs):
        if place >= len(shared):
            shared.append(_shared_output(output))
            continue
        have = shared[place]
        if _is_stream_of(have, output):
            _make_text_equal(have["text"], output["text"])
        elif _plain(have) != output:
            shared[place] = _shared_output(output)
    if len(shared) > len(outputs):
        del shared[len(outputs) :]


def _is_stream_of(have: Any, output: Output) -> bool:
    return (
        output["output_type"] == "stream"
        and isinstance(have, Map)
        and have.get("name") == output["name"]
        and isinstance(have.get("text"), Text)
    )


def _make_text_equal(shared: Text, text: str) -> None:
    have = str(shared)
    if have == text:
        return
    kept = len(have) if text.startswith(have) else _common_prefix(have, text)
    # Places in a shared text are counted in bytes of UTF-8.
    start = len(have[:kept].encode())
    if kept < len(have):
        del shared[start:]
    shared += text[kept:]


def _common_prefix(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _shared_output(output: Output) -> Map:
    # JavaScript knows floats only; the server turns whole ones into integers when it saves.
    fields = cast_all(_copy(output), int, float)
    if output["output_type"] == "stream":
        fields["text"] = Text(output["text"])
    return Map(fields)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copy(one) for one in value]
    return value


def _plain(value: Any) -> Any:
    return value.to_py() if isinstance(value, Map) else value
