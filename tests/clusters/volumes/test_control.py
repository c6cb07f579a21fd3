"""What becomes of volumes by themselves."""

from __future__ import annotations

from pathlib import Path

from accounts.actor import Actor
from clusters.actions.trees import open_tree
from clusters.actions.volumes import remove_volume
from clusters.control.volumes import measure_all, measure_one
from clusters.models import Volume
from clusters.tasks import erase_volumes, measure_volume, measure_volumes
from tests.clusters.volumes.conftest import MIB
from tests.conftest import Engine


def test_a_removed_volume_is_erased(actor: Actor, volume: Volume, root: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder/file").write_bytes(b"x")
    erase_volumes()
    assert root.exists()
    remove_volume(actor, volume.public_id)
    assert erase_volumes() == 1
    volume.refresh_from_db()
    assert not root.exists()
    assert volume.erased_at is not None
    assert erase_volumes() == 0


def test_it_stays_to_be_erased_while_its_storage_is_away(
    actor: Actor, engine: Engine, volume: Volume, root: Path
) -> None:
    remove_volume(actor, volume.public_id)
    engine.backend.is_down = True
    assert erase_volumes() == 0
    volume.refresh_from_db()
    assert volume.erased_at is None
    engine.backend.is_down = False
    assert erase_volumes() == 1


def test_nobody_makes_the_folder_of_a_removed_volume_again(
    actor: Actor, engine: Engine, volume: Volume, root: Path
) -> None:
    remove_volume(actor, volume.public_id)
    erase_volumes()
    from portal.lib.errors import NotFound

    try:
        open_tree(volume)
    except NotFound:
        assert not root.exists()
    else:
        raise AssertionError("it was opened")


def test_all_are_measured(actor: Actor, volume: Volume, root: Path) -> None:
    assert volume.measured_at is None
    (root / "file").write_bytes(b"x" * 3 * MIB)
    assert measure_volumes() == 1
    volume.refresh_from_db()
    assert 3 * MIB <= volume.used_bytes < 4 * MIB
    assert volume.measured_at is not None


def test_it_rests_after_that_but_for_who_waits(volume: Volume, root: Path) -> None:
    assert measure_all() == 1
    assert measure_all() == 0
    (root / "file").write_bytes(b"x" * MIB)
    measure_volume(volume.pk)
    volume.refresh_from_db()
    assert volume.used_bytes >= MIB


def test_what_is_not_known_stays_as_it_was(engine: Engine, volume: Volume) -> None:
    Volume.objects.update(used_bytes=5 * MIB)
    engine.backend.is_down = True
    assert not measure_one(volume)
    volume.refresh_from_db()
    assert (volume.used_bytes, volume.measured_at) == (5 * MIB, None)


def test_a_measure_cut_short_proves_only_the_least(volume: Volume, root: Path) -> None:
    for number in range(600):
        (root / f"{number}").write_bytes(b"x" * 4096)
    Volume.objects.update(used_bytes=100 * MIB)
    assert not measure_one(volume, seconds=-1)
    volume.refresh_from_db()
    assert (volume.used_bytes, volume.measured_at) == (100 * MIB, None)
