"""One look at Slurm for all attempts: squeue, then accounting for what squeue cannot tell."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from clusters.backends.base import BackendUnavailable, EndReason, Handle, Observation, Phase, Survey
from clusters.backends.slurm import verdict
from clusters.backends.slurm.absence import read_daemons
from clusters.backends.slurm.cli import Tools
from clusters.backends.slurm.folders import Facts, Record, SharedFolder
from clusters.backends.slurm.identity import PREFIX, Identity, best
from clusters.backends.slurm.keeper import BEAT_SECONDS
from clusters.backends.slurm.listing import Row, read_accounts, read_queue
from clusters.backends.slurm.look import Look
from clusters.backends.slurm.script import NAME
from clusters.backends.slurm.settings import SlurmSettings
from clusters.backends.slurm.users import pattern

logger = logging.getLogger(__name__)
MIN_INTERVAL_SECONDS = 1.0
SETTLE_SECONDS = 5.0
"""Accounting is about 1 s behind; what only it can tell is waited for this long."""
SUBMIT_SETTLE_SECONDS = 2.0
LAUNCH_SECONDS = 5.0
"""A job Slurm calls running counts so once its wrapper has begun, or after this long: a node may
yet refuse it, and nobody pays for that."""
RELEASE_SECONDS = 10.0
RESTART_SECONDS = 2.0
"""A node refuses, and Slurm then fails, a job that comes back in the second in which it was told to
end it ("Job credential revoked")."""
MAX_KEPT = 50_000
UNKNOWN_LIMIT = 1 << 40


class Watch:
    """Looks at Slurm at most once a second, however often it is asked."""

    def __init__(self, settings: SlurmSettings, tools: Tools, folders: SharedFolder) -> None:
        self._tools = tools
        self._folders = folders
        self._identity = Identity(folders)
        self._is_user = pattern(settings).fullmatch
        self._users_are_ours = "{number}" in settings.user_template
        self._lock = threading.Lock()
        self._look: Look | None = None
        self._looked_at = 0.0
        self._records: dict[str, Record] = {}
        self._started: dict[str, Facts] = {}
        self._settling: dict[str, float] = {}
        self._released: dict[str, float] = {}

    # ---- the queue ----

    def look(self, *, fresh: bool = False) -> Look:
        """What squeue says, at most a second old; `fresh`: of now. Raises BackendUnavailable."""
        with self._lock:
            now = time.monotonic()
            if fresh or self._look is None or now - self._looked_at >= MIN_INTERVAL_SECONDS:
                taken_at = time.time()
                self._look = Look.of(taken_at, read_queue(self._tools))
                # From when it was asked: an answer is as old as its question.
                self._looked_at = now
            return self._look

    def row_of(self, record: Record, look: Look) -> Row | None:
        """The job of an attempt, unless the id is another job's by now."""
        if record.job_id:
            row = look.by_id.get((record.job_id, record.task))
            return row if row is not None and self._identity.is_same(record, row) else None
        rows = [row for row in look.by_name[record.job_name] if row.user == record.user]
        return best([row for row in rows if row.task == record.task])

    def name_of(self, record: Record) -> str | None:
        """What the attempt's job is called now; None where its id is another job's by now."""
        row = self.look().by_id.get((record.job_id, record.task))
        if row is None:
            return record.job_name
        return row.name if self._identity.is_same(record, row) else None

    # ---- the survey ----

    def survey(self, handles: Iterable[Handle], *, fresh: bool = False) -> Survey:
        """See Backend.observe."""
        asked = list(handles)
        look = self.look(fresh=fresh)
        records = [record for handle in asked if (record := self._record(handle, look))]
        self._ask_accounts(look, records)
        seen = {}
        for record in records:
            observation = self._observe(record, look)
            if observation is not None:
                seen[record.name] = observation
        names = {handle.external_name for handle in asked}
        extra = self._duplicates(look, records)
        strays = self._strays(look, records, names) | {row.name for row in extra}
        for row in extra:
            logger.warning("job %s is a second %s: cancelling it", row.job_id, row.name)
        self._cancel(extra)
        taken_at = datetime.fromtimestamp(look.taken_at, UTC)
        return Survey(taken_at, seen, tuple(sorted(strays)))

    def _record(self, handle: Handle, look: Look) -> Record | None:
        name = handle.external_name
        record = self._records.get(name)
        if record is None and NAME.fullmatch(name):
            record = self._folders.load(name)
            if record is not None and record.job_id:
                if len(self._records) >= MAX_KEPT:
                    self._records.clear()
                    self._started.clear()
                self._records[name] = record
        return record or self._record_of_row(handle, look)

    def _record_of_row(self, handle: Handle, look: Look) -> Record | None:
        """Something to judge a job by whose folder was lost: it is ours by name and user."""
        rows = [row for row in look.by_name[handle.external_name] if self._is_user(row.user)]
        row = best(rows)
        if row is None:
            return None
        name, at = handle.external_name, row.submitted or look.taken_at
        return Record(name, row.user, -1, UNKNOWN_LIMIT, 1, at, origin=name, job_id=row.job_id)

    def _observe(self, record: Record, look: Look) -> Observation | None:
        row = self.row_of(record, look)
        if row is not None and row.restarts == record.restart and row.phase is not Phase.ENDED:
            self._settling.pop(record.name, None)
            self._let_start(record, row, look)
            facts = self._facts(record, row)
            if facts.started is None and _is_being_launched(row, look):
                return verdict.launching(record, row)
            return verdict.alive(record, row, facts)
        if row is not None and row.restarts < record.restart:
            # Slurm has yet to count the restart we were told of.
            return None
        known = self._folders.load_end(record)
        if known is not None:
            return known
        end = self._end(record, row, look)
        if end is not None and end.phase is Phase.ENDED:
            self._settling.pop(record.name, None)
            self._records.pop(record.name, None)
            self._started.pop(record.name, None)
            if record.uid >= 0:
                self._folders.save_end(record, end)
        return end

    def _end(self, record: Record, row: Row | None, look: Look) -> Observation | None:
        account = self._account(record, look)
        facts, stop = self._folders.facts(record), self._folders.stop_request(record)
        evidence = verdict.Evidence(facts, stop, account)
        if row is None:
            return self._end_without_row(record, evidence, look)
        put_back = row.restarts > record.restart
        wants_account = put_back or (row.state == "CANCELLED" and evidence.stop is None)
        if wants_account and account is None and self._may_settle(record, look):
            return Observation(
                record.name, Phase.RUNNING, verdict.moment(facts.started), engine_id=record.job_id
            )
        if put_back:
            if account is not None:
                evidence = self._with_absence(account, evidence, look)
            end = verdict.put_back(record, row, evidence)
            if end.reason not in (EndReason.NODE_LOST, EndReason.PREEMPTED):
                logger.warning("%s had ended and was put back: cancelling it", record.name)
                self._cancel([row])
            return end
        return verdict.ended(record, row, self._with_absence(row, evidence, look))

    def _with_absence(self, row: Row, evidence: verdict.Evidence, look: Look) -> verdict.Evidence:
        """Asks who was away, where Slurm has an end long after the wrapper's last sign."""
        facts = evidence.facts
        sign, silence = facts.ended, verdict.SLACK_SECONDS
        if sign is None and evidence.stop is not None:
            sign, silence = facts.alive, BEAT_SECONDS
        if sign is None or not row.ended or row.ended - sign <= silence:
            return evidence
        if look.daemons is None:
            look.daemons = read_daemons(self._tools)
        was_away = look.daemons.any_was_away(row.node, sign=sign, ended=row.ended)
        return replace(evidence, was_away=was_away)

    def _end_without_row(
        self, record: Record, evidence: verdict.Evidence, look: Look
    ) -> Observation | None:
        if evidence.account is not None:
            account = evidence.account
            return verdict.ended(record, account, self._with_absence(account, evidence, look))
        if record.job_id and look.taken_at > record.tried_at + SUBMIT_SETTLE_SECONDS:
            if look.accounts_error is not None and evidence.facts.ended is None:
                raise look.accounts_error
            return verdict.forgotten(record, evidence)
        return None

    def _facts(self, record: Record, row: Row) -> Facts:
        if row.phase is Phase.PENDING:
            return Facts()
        found = self._started.get(record.name)
        if found is None:
            found = self._folders.facts(record)
            if found.started is not None:
                self._started[record.name] = found
        return found

    def _may_settle(self, record: Record, look: Look) -> bool:
        """Whether to wait a little longer for what accounting will say."""
        first = self._settling.setdefault(record.name, time.monotonic())
        return look.accounts_on and time.monotonic() - first < SETTLE_SECONDS

    # ---- accounting ----

    def _ask_accounts(self, look: Look, records: Iterable[Record]) -> None:
        """One bounded call for what squeue does not tell: forgotten, put back, cancelled."""
        wanted = {}
        for record in records:
            if record.job_id and record.job_id not in look.asked and self._wants(record, look):
                wanted[record.job_id] = record.tried_at
        if not wanted:
            return
        look.asked |= wanted.keys()
        try:
            answer = read_accounts(self._tools, since=min(wanted.values()), ids=wanted)
        except BackendUnavailable as error:
            logger.warning("accounting does not answer: %s", error)
            look.accounts_error = error
        else:
            look.add_accounts(answer)

    def _wants(self, record: Record, look: Look) -> bool:
        row = self.row_of(record, look)
        if row is None:
            settled = look.taken_at > record.tried_at + SUBMIT_SETTLE_SECONDS
            return settled and self._folders.load_end(record) is None
        if row.restarts <= record.restart and row.state != "CANCELLED":
            return False
        if self._folders.load_end(record) is not None:
            return False
        return row.restarts > record.restart or self._folders.stop_request(record) is None

    def _account(self, record: Record, look: Look) -> Row | None:
        """The final row of this very start."""
        rows = look.accounts.get((record.job_id, record.task), ())
        # Rows of a reused id are other jobs, not more starts of one.
        ours = [row for row in rows if self._identity.is_same_account(record, row)]
        if record.restart >= len(ours):
            return None
        row = ours[record.restart]
        is_final = row.ended is not None and row.state not in ("RUNNING", "PENDING")
        return row if is_final else None

    def _let_start(self, record: Record, row: Row, look: Look) -> None:
        """Let a job that was put back start at once.

        Slurm makes it wait two minutes from when its last node is clean, whatever was said before,
        and holds for good what a node refused, as one does on which the job still runs.
        """
        if row.job_id in look.nudged or row.phase is not Phase.PENDING:
            return
        look.nudged.add(row.job_id)
        # Slurm counts what it puts back as submitted then.
        was_just_put_back = look.taken_at - (row.submitted or 0.0) < RESTART_SECONDS
        if record.restart > 0 and row.reason == "BeginTime" and not was_just_put_back:
            self._tools.run("scontrol", "update", f"JobId={row.job_id}", "StartTime=now")
        elif row.reason.replace(" ", "_") == "launch_failed_requeued_held":
            now = time.monotonic()
            if now - self._released.get(row.job_id, -RELEASE_SECONDS) >= RELEASE_SECONDS:
                self._released[row.job_id] = now
                self._tools.run("scontrol", "release", row.job_id)

    # ---- what should not be there ----

    def _duplicates(self, look: Look, records: Iterable[Record]) -> list[Row]:
        """Live jobs that carry the name of an attempt and are not its job."""
        extra = []
        for record in records:
            own = self.row_of(record, look)
            if own is None or record.uid < 0:
                continue
            extra += [
                row
                for row in look.by_name[record.job_name]
                if row.user == record.user
                and row.job_id != own.job_id
                and row.phase is not Phase.ENDED
            ]
        return extra

    def _cancel(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._tools.run("scancel", "--quiet", f"--user={row.user}", verdict.engine_id(row))

    def _strays(self, look: Look, records: Iterable[Record], names: set[str]) -> set[str]:
        ours = {(record.job_id, record.task) for record in records}
        found = set()
        for row in look.rows:
            name = row.name if row.task < 0 else f"{row.name}.{row.task}"
            is_known = name in names or (row.job_id, row.task) in ours
            if is_known or row.phase is Phase.ENDED or not self._is_user(row.user):
                continue
            if row.name.startswith(PREFIX) and NAME.fullmatch(name):
                found.add(name)
            elif self._users_are_ours:
                # Work of a team that went past the portal: nobody pays for it.
                found.add(f"slurm-job-{row.job_id}")
        return found


def _is_being_launched(row: Row, look: Look) -> bool:
    if row.phase is not Phase.RUNNING or row.started is None:
        return False
    return look.taken_at - row.started < LAUNCH_SECONDS
