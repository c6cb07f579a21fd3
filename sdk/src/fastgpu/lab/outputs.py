"""What a cell shows, worked out from the messages its kernel sends.

The rules are those of a JupyterLab page, so that a cell looks the same whoever watched it: text of
one stream is joined, `\\r` and `\\b` move within the last line, `clear_output(wait=True)` waits for
the next output, a display with an id can be replaced later.
"""

from __future__ import annotations

import re
from typing import Any

Output = dict[str, Any]

OUTPUT_TYPES = frozenset(
    {
        "stream",
        "display_data",
        "update_display_data",
        "execute_result",
        "error",
        "clear_output",
    }
)
# Characters of one stream that are kept of a cell, half from its start and half from its end.
# A page cannot show more anyway, and a loop that prints for days must not fill memory and disk.
KEPT_CHARACTERS = 10_000_000

_CONTROL = re.compile(r"([\r\n\b])")


class StreamText:
    """The text of one stream as a terminal would show it."""

    def __init__(self, name: str, kept_characters: int = KEPT_CHARACTERS) -> None:
        self.name = name
        self._head: list[str] = []
        self._tail: list[str] = []
        self._head_size = 0
        self._tail_size = 0
        self._half = kept_characters // 2
        self._left_out = 0
        self._line = ""
        self._cursor = 0

    def write(self, text: str) -> None:
        """Add `text`, obeying its control characters."""
        for part in _CONTROL.split(text):
            match part:
                case "":
                    pass
                case "\n":
                    self._keep(self._line + "\n")
                    self._line, self._cursor = "", 0
                case "\r":
                    self._cursor = 0
                case "\b":
                    if self._cursor:
                        self._cursor -= 1
                        self._line = self._line[: self._cursor] + self._line[self._cursor + 1 :]
                case _:
                    end = self._cursor + len(part)
                    self._line = self._line[: self._cursor] + part + self._line[end:]
                    self._cursor = end

    def __str__(self) -> str:
        gap = f"[... {self._left_out} characters are left out ...]\n" if self._left_out else ""
        return "".join([*self._head, gap, *self._tail, self._line])

    def _keep(self, line: str) -> None:
        if not self._tail and self._head_size + len(line) <= self._half:
            self._head.append(line)
            self._head_size += len(line)
            return
        self._tail.append(line)
        self._tail_size += len(line)
        # Twice the half, so that lines are dropped in bulk and seldom.
        if self._tail_size > 2 * self._half:
            self._drop()

    def _drop(self) -> None:
        dropped = 0
        while dropped < len(self._tail) - 1 and self._tail_size > self._half:
            size = len(self._tail[dropped])
            self._tail_size -= size
            self._left_out += size
            dropped += 1
        del self._tail[:dropped]


class CellOutputs:
    """The outputs of one run of a cell, in the notebook format."""

    def __init__(self) -> None:
        self._outputs: list[Output | StreamText] = []
        self._clear_before_next = False
        self._displays: dict[str, list[int]] = {}
        # The last content of displays that this run replaced, also ones that other cells show.
        self.replaced: dict[str, Output] = {}

    def add(self, message_type: str, content: dict[str, Any]) -> None:
        """Take one message of `OUTPUT_TYPES` in."""
        if message_type == "clear_output":
            self._clear_before_next = bool(content.get("wait"))
            if not self._clear_before_next:
                self._clear()
            return
        display = (content.get("transient") or {}).get("display_id")
        if message_type == "update_display_data":
            self._replace(str(display), content)
            return
        if self._clear_before_next:
            self._clear()
        if message_type == "stream":
            self._write(str(content["name"]), str(content["text"]))
            return
        if display:
            self._displays.setdefault(display, []).append(len(self._outputs))
        self._outputs.append(_output(message_type, content))

    def fail(self, name: str, value: str) -> None:
        """Add an error that the kernel could not report itself."""
        self.add("error", {"ename": name, "evalue": value, "traceback": [f"{name}: {value}"]})

    def displays(self) -> dict[str, list[int]]:
        """Places of the outputs by their display id."""
        return self._displays

    def as_list(self) -> list[Output]:
        """The outputs as a notebook file holds them."""
        return [
            {"output_type": "stream", "name": output.name, "text": str(output)}
            if isinstance(output, StreamText)
            else output
            for output in self._outputs
        ]

    def _clear(self) -> None:
        self._outputs.clear()
        self._displays.clear()
        self._clear_before_next = False

    def _write(self, name: str, text: str) -> None:
        last = self._outputs[-1] if self._outputs else None
        if not isinstance(last, StreamText) or last.name != name:
            last = StreamText(name)
            self._outputs.append(last)
        last.write(text)

    def _replace(self, display: str, content: dict[str, Any]) -> None:
        shown = {"data": content["data"], "metadata": content["metadata"]}
        self.replaced[display] = shown
        for place in self._displays.get(display, []):
            output = self._outputs[place]
            if not isinstance(output, StreamText):
                output.update(shown)


def _output(message_type: str, content: dict[str, Any]) -> Output:
    if message_type == "error":
        return {
            "output_type": "error",
            "ename": content["ename"],
            "evalue": content["evalue"],
            "traceback": content["traceback"],
        }
    output = {
        "output_type": message_type,
        "data": content["data"],
        "metadata": content["metadata"],
    }
    if message_type == "execute_result":
        output["execution_count"] = content["execution_count"]
    return output
