"""What may be a path, and what a name we give."""

from __future__ import annotations

import pytest

from clusters.files.names import MAX_NAME_BYTES, check_new, numbered, split_new, split_path
from portal.lib.errors import InvalidInput


@pytest.mark.parametrize(
    "name",
    [
        "a",
        ".hidden",
        "model.v2.bin",
        "Übung 3",
        "数据集",
        "🧪🧬.txt",
        "e\u0301",
        "\u202egpj.exe",
        "a" * 255,
    ],
)
def test_any_text_is_a_name(name: str) -> None:
    check_new(name)
    assert split_path(f"data/{name}") == ("data", name)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("..", "no . and no .."),
        ("a/../b", "no . and no .."),
        ("./a", "no . and no .."),
        ("a//b", "parted by one slash"),
        ("/etc/passwd", "parted by one slash"),
        ("a/", "parted by one slash"),
        ("a\0b", "no slash and no NUL"),
        ("\ud800", "not valid Unicode"),
        ("ä" * 128, "at most 255 bytes, this has 256"),
        ("a/" * 64 + "a", "at most 64 folders"),
        ("abcd/" * 1000, "at most 4,096 bytes"),
    ],
)
def test_what_is_no_path_is_refused_with_the_reason(path: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        split_path(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Give it a name"),
        ("  ", "more than spaces"),
        ("a\nb", "no control characters"),
        ("a\x7f", "no control characters"),
        ("a\x85", "no control characters"),
        ("a\u2028b", "no line breaks"),
        (".fastgpu-" + "0" * 32 + ".part", "FastGPU uses"),
    ],
)
def test_names_we_would_not_give_are_refused(name: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        split_new(name)


def test_what_a_job_has_called_with_a_line_break_can_be_reached() -> None:
    assert split_path("a\nb") == ("a\nb",)


def test_numbers_go_before_the_suffix() -> None:
    assert numbered("model.bin", 2) == "model (2).bin"
    assert numbered(".bashrc", 2) == ".bashrc (2)"
    assert numbered("README", 3) == "README (3)"


def test_a_numbered_name_is_never_too_long() -> None:
    made = numbered("ä" * 127 + ".b", 2)
    assert made.endswith(" (2).b")
    assert len(made.encode()) <= MAX_NAME_BYTES
    check_new(made)
