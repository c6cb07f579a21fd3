"""What a later start may leave out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from portal.stack.config import BASE_DIR
from portal.stack.layout import Layout
from portal.stack.stamps import are_built, is_migrated, remember_migrated, schema_digest


def test_new_data_is_not_migrated(tmp_path: Path) -> None:
    assert not is_migrated(Layout(tmp_path))


def test_migrated_data_is_known_by_the_digest_of_the_code(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (layout.postgres / "cluster").mkdir(parents=True)
    remember_migrated(layout, schema_digest())
    assert is_migrated(layout)


def test_data_migrated_by_other_code_is_migrated_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (layout.postgres / "cluster").mkdir(parents=True)
    remember_migrated(layout, "another")
    assert not is_migrated(layout)


def test_environments_are_built_when_each_has_the_stamp_of_its_lock(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    locks = list((BASE_DIR / "clusters" / "environments").glob("*.txt"))
    assert locks
    assert not are_built(layout)
    for lock in locks:
        folder = layout.environments / lock.stem
        folder.mkdir(parents=True)
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        (folder / "fastgpu-lock.sha256").write_text(digest, encoding="ascii")
    assert are_built(layout)
