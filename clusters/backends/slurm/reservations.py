"""Nodes set aside for a team, as Slurm's reservations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from clusters.backends.base import BackendUnavailable, LaunchRefused
from clusters.backends.capabilities import Reservation
from clusters.backends.slurm import users
from clusters.backends.slurm.cli import NO_ANSWER, Tools, last_line
from clusters.backends.slurm.nodes import NODE
from clusters.backends.slurm.settings import SlurmSettings

PREFIX = "fg-"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
UNKNOWN = ("not found", "invalid reservation", "requested reservation is invalid")


class Bookings:
    """The reservations of one cluster that are ours: their names begin with fg-."""

    def __init__(self, settings: SlurmSettings, tools: Tools) -> None:
        self._settings = settings
        self._tools = tools

    def reserve(self, wanted: Reservation) -> None:
        """See Reservations.reserve; the team's jobs need not name it (MAGNETIC)."""
        if not NAME.fullmatch(wanted.name) or not all(map(NODE.fullmatch, wanted.nodes)):
            raise LaunchRefused(f"{wanted.name!r} cannot name a reservation, or a node cannot be.")
        if any(one.name == wanted.name for one in self.read()):
            return
        user = users.resolve(self._settings, wanted.team_number)
        answer = self._tools.run(
            "scontrol", "create", "reservation", f"ReservationName={PREFIX}{wanted.name}",
            f"StartTime={_local(wanted.starts_at)}", f"EndTime={_local(wanted.ends_at)}",
            f"Nodes={','.join(wanted.nodes)}", f"Users={user.pw_name}", "Flags=MAGNETIC",
        )  # fmt: skip
        if answer.status != 0:
            words = last_line(answer.error)
            if NO_ANSWER.search(answer.error):
                raise BackendUnavailable(f"The nodes could not be set aside: {words}")
            raise LaunchRefused(f"The nodes could not be set aside: {words}")

    def release(self, name: str) -> None:
        """See Reservations.release."""
        if not NAME.fullmatch(name) or all(one.name != name for one in self.read()):
            return
        answer = self._tools.run("scontrol", "delete", f"ReservationName={PREFIX}{name}")
        if answer.status != 0 and not any(word in answer.error.lower() for word in UNKNOWN):
            raise BackendUnavailable(f"{name} could not be released: {last_line(answer.error)}")

    def read(self) -> Sequence[Reservation]:
        """What is set aside, of ours. Raises BackendUnavailable."""
        text = self._tools.ask("scontrol", "--oneliner", "show", "reservation").decode()
        found = []
        for line in text.splitlines():
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            name = words.get("ReservationName", "")
            number = self._team_number(words.get("Users", ""))
            if name.startswith(PREFIX) and number is not None:
                found.append(
                    Reservation(
                        name.removeprefix(PREFIX),
                        self._hosts(words.get("Nodes", "")),
                        number,
                        _moment(words["StartTime"]),
                        _moment(words["EndTime"]),
                    )
                )
        return found

    def _team_number(self, user: str) -> int | None:
        if not users.pattern(self._settings).fullmatch(user):
            return None
        before, _, after = self._settings.user_template.partition("{number}")
        number = user.removeprefix(before).removesuffix(after)
        return int(number) if number.isdigit() else None

    def _hosts(self, expression: str) -> tuple[str, ...]:
        answer = self._tools.ask("scontrol", "show", "hostnames", expression)
        return tuple(answer.decode().split())


def _local(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%dT%H:%M:%S")


def _moment(word: str) -> datetime:
    """scontrol tells seconds since the epoch as we ask it to, or the local time."""
    if word.isdigit():
        return datetime.fromtimestamp(int(word), UTC)
    return datetime.fromisoformat(word).astimezone(UTC)
