"""Lines of children on the terminal and in files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from portal.stack import output
from portal.stack.output import Output


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_goes_to_the_file_of_its_name(tmp_path: Path) -> None:
    lines = Output(tmp_path, ["web"], io.StringIO())
    lines.line("web", "hello")
    lines.close()
    assert (tmp_path / "web.log").read_text(encoding="utf-8").endswith(" hello\n")


def test_colour_only_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, file = _Terminal(), io.StringIO()
    for stream in (terminal, file):
        lines = Output(tmp_path, ["web"], stream)
        lines.line("web", "hello")
        lines.close()
    assert terminal.getvalue() == "\x1b[36mweb |\x1b[0m hello\n"
    assert file.getvalue() == "web | hello\n"


def test_no_colour_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = _Terminal()
    lines = Output(tmp_path, ["web"], terminal)
    lines.line("web", "hello")
    lines.close()
    assert terminal.getvalue() == "web | hello\n"


def test_what_strangers_typed_cannot_steer_the_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    lines = Output(tmp_path, ["web"], stream)
    lines.line("web", "a\x1b[2Jb\rc\x07")
    lines.close()
    assert stream.getvalue() == "web | a\ufffd[2Jb\ufffdc\ufffd\n"


def test_files_are_bounded(tmp_path: Path) -> None:
    lines = Output(tmp_path, ["web"], io.StringIO())
    for _ in range(12):
        lines.line("web", "x" * 1_000_000)
    lines.close()
    sizes = [path.stat().st_size for path in tmp_path.glob("web.log*")]
    assert len(sizes) == 2
    assert sum(sizes) <= 2 * output._FILE_BYTES


def test_a_terminal_that_is_gone_does_not_stop_the_stack(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    lines = Output(tmp_path, ["web"], Gone())
    lines.line("web", "one")
    lines.line("web", "two")
    lines.close()
    assert "two" in (tmp_path / "web.log").read_text(encoding="utf-8")
