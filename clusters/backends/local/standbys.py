"""Keeping servers started ahead: `<root>/standby/<environment>-<id>/`, each as an attempt has it.

One that is made an attempt leaves this folder (claims.py). Those that nobody wants any more are
first renamed to `.ending-...`, so that nobody can claim them, then ended, then deleted.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.backends import erase
from clusters.backends.base import LaunchRefused
from clusters.backends.capabilities import StandbyState, StandbyWish
from clusters.backends.local import attempts, claims, standby_plan, starter, uids, watch
from clusters.backends.local.probe import Capability
from clusters.backends.local.settings import LocalSettings
from clusters.backends.local.stamps import build_stamp
from clusters.backends.local.standby_plan import WANTED, NotHere, Standpoint
from clusters.backends.local.standing import ENDING

MOST = 32
"""So many at most, whatever is wished for."""
AT_ONCE = 2
"""So many at most are starting: a start takes a CPU for seconds."""
OLD_SECONDS = 24 * 3600.0
START_SECONDS = 180.0
"""What does not answer by then never will."""
RETRY_SECONDS = 60.0
"""After one that failed, before the next one of its environment."""
TROUBLE = ".trouble-"


@dataclass(frozen=True, slots=True)
class Standing:
    """One server, as its folder tells. `about` is what it was started from."""

    folder: Path
    about: dict[str, Any]
    is_alive: bool
    is_ready: bool

    @property
    def age_seconds(self) -> float:
        """Since it was made."""
        return time.time() - float(self.about["made_at"])


class Standbys:
    """What stands by below one root. All that is known lies on disk."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._folder = settings.root / claims.FOLDER

    def keep(self, wishes: Sequence[StandbyWish], capability: Capability) -> Sequence[StandbyState]:
        """See Standby.keep_standbys. Where another process of the portal is at it, it only looks.

        Raises OSError when the disk says no.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(self._folder / ".turn") as is_ours:
            if is_ours:
                self._bury()
                kept = self._sort_out(wishes)
                self._start_missing(wishes, kept, capability)
        ready, starting = Counter[str](), Counter[str]()
        for one in self._all():
            if one.is_alive:
                (ready if one.is_ready else starting)[one.about["environment"]] += 1
        names = dict.fromkeys(wish.environment for wish in wishes)
        return [StandbyState(name, ready[name], starting[name]) for name in names]

    def troubles(self) -> list[str]:
        """Why servers of some environments do not start, for the operator."""
        return [
            f"No server of {path.name.removeprefix(TROUBLE)} stands by: {path.read_text()}"
            for path in sorted(self._folder.glob(f"{TROUBLE}*"))
        ]

    def _all(self) -> list[Standing]:
        found = [_look(folder) for folder in sorted(self._folder.glob("[!.]*"))]
        return [one for one in found if one is not None]

    def _sort_out(self, wishes: Sequence[StandbyWish]) -> Counter[StandbyWish]:
        """End what is not wanted, or not any more; how many there are of each wish."""
        wished = {self._trouble(wish.environment) for wish in wishes}
        for path in self._folder.glob(f"{TROUBLE}*"):
            if path not in wished:
                path.unlink(missing_ok=True)
        stamps = {w.environment: self._stamp(w.environment) for w in wishes}
        kept: Counter[StandbyWish] = Counter()
        for one in self._all():
            wish = next((w for w in wishes if _is_for(one, w, stamps[w.environment])), None)
            if not one.is_alive or (not one.is_ready and one.age_seconds > START_SECONDS):
                self._note_trouble(one)
                self._retire(one.folder)
            elif wish is None or kept[wish] >= wish.count or one.age_seconds > OLD_SECONDS:
                self._retire(one.folder)
            else:
                kept[wish] += 1
                self._want(one)
        return kept

    def _want(self, one: Standing) -> None:
        """Say that it is still wanted."""
        try:
            os.utime(one.folder / WANTED)
        except FileNotFoundError:
            # Claimed just now.
            return
        if one.is_ready:
            self._trouble(one.about["environment"]).unlink(missing_ok=True)

    def _start_missing(
        self, wishes: Sequence[StandbyWish], kept: Counter[StandbyWish], capability: Capability
    ) -> None:
        starting = sum(1 for one in self._all() if one.is_alive and not one.is_ready)
        for wish in wishes:
            while kept[wish] < wish.count and starting < AT_ONCE and kept.total() < MOST:
                if self._failed_lately(wish.environment):
                    break
                try:
                    self._start(wish, capability)
                except (LaunchRefused, NotHere) as error:
                    self._trouble(wish.environment).write_text(f"{error}")
                    break
                kept[wish] += 1
                starting += 1

    def _start(self, wish: StandbyWish, capability: Capability) -> None:
        folder = self._folder / f"{wish.environment or 'system'}-{secrets.token_hex(4)}"
        at = Standpoint(folder, self._free_uid(), self._stamp(wish.environment))
        standby_plan.prepare(wish, self._settings, capability, at)
        starter.start_supervisor(folder)

    def _free_uid(self) -> int:
        """One that no process has, and nothing that stands by. Raises NotHere."""
        used = _uids_of_processes()
        for folder in self._folder.iterdir():
            spec = attempts.read_spec(folder) if folder.is_dir() else None
            used.add(spec["uid"] if spec else -1)
        free = [uid for uid in uids.slot_uids(self._settings.uid_base) if uid not in used]
        if not free:
            raise NotHere("all uids for it are in use")
        # Not the lowest: the longer one rests, the better.
        return secrets.choice(free)

    def _stamp(self, environment: str) -> str:
        return build_stamp(self._settings.environments, environment)

    def _retire(self, folder: Path) -> None:
        """End it, if nobody has claimed it before."""
        ending = folder.with_name(f"{ENDING}{folder.name}")
        try:
            folder.rename(ending)
        except FileNotFoundError:
            return
        watch.replace_file(str(ending / "stop"), b"0", durable=False)
        starter.wake(ending)

    def _bury(self) -> None:
        """Delete what has ended."""
        for folder in self._folder.glob(f"{ENDING}*"):
            if not attempts.supervisor_is_gone(folder):
                continue
            one, spec = _look(folder), attempts.read_spec(folder)
            if one is not None and not (folder / "stop").exists():
                self._note_trouble(one)
            if spec is not None:
                watch.empty_cgroups(spec["cgroups"])
                watch.remove_cgroups(spec["cgroups"])
            erase.erase(folder)

    def _trouble(self, environment: str) -> Path:
        return self._folder / f"{TROUBLE}{environment or 'system'}"

    def _note_trouble(self, one: Standing) -> None:
        """Remember what a server said that ended by itself or never answered."""
        if one.is_ready and one.age_seconds > RETRY_SECONDS:
            return
        said = starter.tail(one.folder / "standby.log") or starter.tail(
            one.folder / "supervisor.log"
        )
        self._trouble(one.about["environment"]).write_text(said[-300:] or "no word of it")

    def _failed_lately(self, environment: str) -> bool:
        try:
            return time.time() - self._trouble(environment).stat().st_mtime < RETRY_SECONDS
        except FileNotFoundError:
            return False


@contextmanager
def _turn(path: Path) -> Iterator[bool]:
    """Whether it is ours to change anything: one process of the portal at a time."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _look(folder: Path) -> Standing | None:
    """None: it has been claimed in this moment."""
    try:
        spec, state = attempts.read_spec(folder), attempts.read_state(folder)
        if not folder.is_dir():
            return None
        about = spec["standby"] if spec else {"environment": "", "made_at": 0.0}
        begun = state is not None
        is_alive = "ended_at" not in (state or {}) and not (
            begun and attempts.supervisor_is_gone(folder)
        )
    except (FileNotFoundError, KeyError):
        return None
    return Standing(folder, about, is_alive, "ready_at" in (state or {}))


def _is_for(one: Standing, wish: StandbyWish, stamp: str) -> bool:
    return one.about == {
        "environment": wish.environment,
        "command": wish.command,
        "stamp": stamp,
        "limits": dataclasses.asdict(wish.limits),
        "made_at": one.about["made_at"],
    }


def _uids_of_processes() -> set[int]:
    """Every uid that a process of this machine has, in any of its four places."""
    found: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        found.update(int(w) for line in lines if line.startswith("Uid:") for w in line.split()[1:])
    return found
