"""Prepared environments: built from their lock files, for CPUs or for GPUs, beside what runs."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from clusters.backends.local import environments
from clusters.recipes import FIRST, OURS, STAMP, Kind, Recipe, choose, missing, recipes
from tests.fakes.wheels import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """All that pip finds."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Shop(folder)


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """The folder of recipes."""
    folder = tmp_path / "locks"
    folder.mkdir()
    return folder


@pytest.fixture
def built(tmp_path: Path, settings: Any) -> Path:
    """Where environments are built."""
    folder = tmp_path / "environments"
    settings.ENVIRONMENTS_DIR = folder
    return folder


def build(locks: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("build_environments", "--from", str(locks), *arguments, stdout=out)
    return out.getvalue()


def version_in(environment: Path, module: str = "tiny") -> str:
    code = f"import {module}; print({module}.VERSION)"
    done = subprocess.run(
        [environment / "bin" / "python", "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


# --- building ---


@pytest.mark.django_db
def test_environment_holds_what_its_lock_file_says(shop: Shop, locks: Path, built: Path) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    assert build(locks) == "building environment own\n"
    assert version_in(built / "own") == "1.0"
    assert environments.names(built) == ("system", "own")


@pytest.mark.django_db
def test_its_commands_find_their_python_wherever_it_is_shown(
    shop: Shop, locks: Path, built: Path, tmp_path: Path
) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    build(locks)
    (built / "own").resolve().rename(tmp_path / "elsewhere")
    prefix = tmp_path / "elsewhere" / "bin"
    done = subprocess.run(
        [prefix / "tiny"], env={"PATH": f"{prefix}:/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert done.stdout == b"1.0\n"


@pytest.mark.django_db
def test_what_is_built_is_not_built_again(shop: Shop, locks: Path, built: Path) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    build(locks)
    assert build(locks, "own") == ""


@pytest.mark.django_db
def test_new_lock_file_is_built_and_what_runs_in_the_old_one_goes_on(
    shop: Shop, locks: Path, built: Path
) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    build(locks)
    running = (built / "own").resolve()
    (locks / "own.txt").write_text(shop.sell("tiny", "2.0"))
    build(locks)
    assert (version_in(built / "own"), version_in(running)) == ("2.0", "1.0")
    (locks / "own.txt").write_text(shop.sell("tiny", "3.0"))
    build(locks)
    assert not running.exists()


@pytest.mark.django_db
def test_building_one_leaves_others_of_like_names(shop: Shop, locks: Path, built: Path) -> None:
    for name in ("own", "own-more"):
        (locks / f"{name}.txt").write_text(shop.sell("tiny", "1.0"))
    build(locks)
    (locks / "own.txt").write_text(shop.sell("tiny", "2.0"))
    build(locks)
    (locks / "own.txt").write_text(shop.sell("tiny", "3.0"))
    build(locks)
    assert version_in(built / "own-more") == "1.0"


@pytest.mark.django_db
def test_wheel_that_is_not_the_locked_one_is_refused_and_the_old_one_stays(
    shop: Shop, locks: Path, built: Path
) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    build(locks)
    line = shop.sell("tiny", "2.0")
    (locks / "own.txt").write_text(re.sub("sha256:.{8}", "sha256:00000000", line))
    with pytest.raises(CommandError, match=r"(?i)hash"):
        build(locks)
    assert version_in(built / "own") == "1.0"


@pytest.mark.django_db
def test_lock_file_that_lacks_a_dependency_builds_nothing(
    shop: Shop, locks: Path, built: Path
) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0", requires="large"))
    with pytest.raises(CommandError, match=r"tiny 1\.0 requires large"):
        build(locks)
    assert environments.names(built) == ("system",)


@pytest.mark.django_db
def test_folder_of_an_earlier_version_gives_way(shop: Shop, locks: Path, built: Path) -> None:
    (built / "own" / "bin").mkdir(parents=True)
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    build(locks)
    assert version_in(built / "own") == "1.0"


def test_unknown_name_is_told_the_known_ones(locks: Path) -> None:
    (locks / "own.txt").write_text("")
    with pytest.raises(CommandError, match=r"Unknown: else. There are: own."):
        build(locks, "else")


@pytest.mark.django_db
def test_list_says_what_is_built(shop: Shop, locks: Path, built: Path) -> None:
    line = shop.sell("tiny", "1.0")
    (locks / "one.txt").write_text(line)
    (locks / "two.txt").write_text(line)
    build(locks, "one")
    assert build(locks, "--list") == "one: built\ntwo: not built\n"


@pytest.mark.django_db(transaction=True)
def test_two_builders_at_once_build_once(shop: Shop, locks: Path, built: Path) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))

    def builder(_number: int) -> str:
        try:
            return build(locks)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(builder, range(2)))
    assert said == ["", "building environment own\n"]
    assert version_in(built / "own") == "1.0"


# --- for CPUs or for GPUs ---


@pytest.mark.django_db
def test_one_of_two_lock_files_is_built_and_stays_the_choice(
    shop: Shop, locks: Path, built: Path
) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    (locks / "own.cpu.txt").write_text(shop.sell("tiny", "1.0.1"))
    assert build(locks, "--gpu") == "building environment own for machines with NVIDIA GPUs\n"
    (locks / "own.txt").write_text(shop.sell("tiny", "2.0"))
    build(locks)
    assert version_in(built / "own") == "2.0"
    assert build(locks, "--cpu") == "building environment own for machines without a GPU\n"
    assert version_in(built / "own") == "1.0.1"


TWO = [Recipe("own", Path("own.cpu.txt"), Kind.CPU), Recipe("own", Path("own.txt"), Kind.GPU)]


@pytest.mark.parametrize(
    ("wanted", "built_from", "has_driver", "chosen"),
    [
        (None, "", True, Kind.GPU),
        (None, "", False, Kind.CPU),
        (Kind.CPU, "", True, Kind.CPU),
        (Kind.GPU, "", False, Kind.GPU),
        (None, "own.txt 1a\n", False, Kind.GPU),
        (None, "own.cpu.txt 1a\n", True, Kind.CPU),
        (Kind.GPU, "own.cpu.txt 1a\n", False, Kind.GPU),
        (None, "1a", True, Kind.GPU),
    ],
)
def test_choice_of_the_lock_file(
    wanted: Kind | None, built_from: str, has_driver: bool, chosen: Kind
) -> None:
    assert choose(TWO, wanted, built=built_from, has_driver=has_driver).kind == chosen


@pytest.mark.parametrize("wanted", [None, Kind.CPU, Kind.GPU])
def test_single_lock_file_is_for_all(wanted: Kind | None) -> None:
    only = Recipe("own", Path("own.txt"), None)
    assert choose([only], wanted, built="", has_driver=True) == only


# --- what no index is sure to carry ---


@pytest.mark.django_db
def test_what_cannot_be_locked_is_installed_and_said_plainly(
    shop: Shop, locks: Path, built: Path
) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    shop.sell("large", "2.0+cpu")
    (locks / "own.unhashed").write_text("large==2.0+cpu\n")
    assert "large==2.0+cpu comes without a hash to check" in build(locks)
    assert version_in(built / "own", "large") == "2.0+cpu"


@pytest.mark.django_db
def test_where_it_is_not_found_that_is_said_and_nothing_is_built(
    shop: Shop, locks: Path, built: Path
) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    shop.sell("large", "2.0")
    (locks / "own.unhashed").write_text("large==2.0+cpu\n")
    with pytest.raises(CommandError, match=r"there is no large==2\.0\+cpu\. Let it look"):
        build(locks)
    assert environments.names(built) == ("system",)


@pytest.mark.django_db
def test_another_unhashed_version_is_built_anew(shop: Shop, locks: Path, built: Path) -> None:
    (locks / "own.txt").write_text(shop.sell("tiny", "1.0"))
    for version in ("1.0+cpu", "2.0+cpu"):
        shop.sell("large", version)
        (locks / "own.unhashed").write_text(f"large=={version}\n")
        build(locks)
    assert version_in(built / "own", "large") == "2.0+cpu"


# --- our own recipes ---


def names_in(requirements: Path) -> set[str]:
    lines = requirements.read_text().splitlines()
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return {match[0].lower().replace("_", "-") for match in found if match}


def locks_of_notebooks() -> list[Path]:
    shared = [path for path in OURS.glob("*.in") if "-r jupyter.in" in path.read_text()]
    return [path.with_suffix(".txt") for path in shared]


@pytest.mark.parametrize("lock", locks_of_notebooks(), ids=lambda lock: lock.stem)
def test_lock_file_holds_all_that_notebooks_share(lock: Path) -> None:
    assert names_in(OURS / "jupyter.in") <= names_in(lock)
    assert "://" not in lock.read_text()


def test_there_is_a_lock_file_for_cpus_and_one_for_gpus_of_each_framework() -> None:
    known = recipes()
    assert {
        name: [recipe.kind for recipe in known[name]] for name in ("pytorch", "tensorflow")
    } == {
        "pytorch": [Kind.CPU, Kind.GPU],
        "tensorflow": [Kind.CPU, Kind.GPU],
    }
    assert set(FIRST) <= set(known)


def test_cpu_locks_bring_no_cuda() -> None:
    for name in ("pytorch", "tensorflow"):
        cpu, gpu = (names_in(recipe.lock) for recipe in recipes()[name])
        assert not [package for package in cpu if package.startswith("nvidia-")]
        assert [package for package in gpu if package.startswith("nvidia-")]


# --- what a machine has ---


def test_missing_ones_are_those_never_built(tmp_path: Path, locks: Path) -> None:
    for name in ("one", "two", "two.cpu"):
        (locks / f"{name}.txt").write_text("")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / STAMP).write_text("one.txt 12")
    assert missing(tmp_path, locks) == ["two"]


def test_broken_and_hidden_folders_are_not_offered(tmp_path: Path) -> None:
    for name in ("good", "broken", ".hidden"):
        (tmp_path / name / "bin").mkdir(parents=True)
    for name in ("good", ".hidden"):
        (tmp_path / name / "bin" / "python").touch()
    (tmp_path / "image.toml").write_text('image = "x:1"')
    assert environments.names(tmp_path) == ("system", "good", "image")
