"""The data folder: its stamp, its lock, its keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from portal.stack.errors import StackError
from portal.stack.keys import load_or_make
from portal.stack.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "var")
    made.create()
    return made


def test_new_data_is_stamped_and_accepted_again(layout: Layout) -> None:
    layout.check_version(18)
    layout.check_version(18)
    assert json.loads(layout.version_file.read_text(encoding="utf-8"))["postgres"] == 18


def test_data_of_another_version_is_refused_in_one_sentence(layout: Layout) -> None:
    layout.check_version(16)
    with pytest.raises(StackError) as refusal:
        layout.check_version(18)
    assert "PostgreSQL 16" in str(refusal.value)
    assert "VAR_DIR" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unreadable_stamp_is_refused(layout: Layout) -> None:
    layout.version_file.write_text("?", encoding="utf-8")
    with pytest.raises(StackError, match="unreadable stamp"):
        layout.check_version(18)


def test_a_second_holder_is_refused_and_told_who_holds(layout: Layout) -> None:
    refused = pytest.raises(StackError, match=r"already runs on .* \(process \d+\)")
    with layout.locked(), refused, layout.locked():
        pass


def test_the_lock_is_free_again_afterwards(layout: Layout) -> None:
    with layout.locked():
        pass
    with layout.locked():
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="cannot be written"):
        Layout(tmp_path / "file" / "var").create()


def test_the_data_folder_is_private(layout: Layout) -> None:
    assert layout.root.stat().st_mode & 0o077 == 0


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = load_or_make(path)
    assert load_or_make(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(set(first.values())) == len(first)


def test_keys_a_newer_version_needs_are_added(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"secret_key": "old"}), encoding="utf-8")
    keys = load_or_make(path)
    assert keys["secret_key"] == "old"
    assert keys["agent_token"]


def test_a_broken_key_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(StackError, match="cannot be read"):
        load_or_make(path)
    assert path.read_text(encoding="utf-8") == "[]"
