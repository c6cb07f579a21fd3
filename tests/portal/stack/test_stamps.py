"""What a later start may leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.recipes import FIRST, STAMP, recipes
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


def test_environments_of_a_start_are_built_when_each_has_the_stamp_of_its_lock(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path)
    assert not are_built(layout)
    for name in FIRST:
        (layout.environments / name).mkdir(parents=True)
        (layout.environments / name / STAMP).write_text(recipes()[name][0].stamp)
    assert are_built(layout)


def test_environments_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENTS_DIR", str(tmp_path / "else"))
    assert Layout(tmp_path).environments == tmp_path / "else"
