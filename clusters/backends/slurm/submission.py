"""Hands an attempt to Slurm exactly once.

Slurm takes two jobs of one name. So an attempt is written down before it is handed over, its
job's id after; what was written down without an id has an unknown outcome and is looked for
before it is handed over again. Should two jobs come of one attempt all the same, one waits for
the other (`singleton`), and the wrapper finds that this start has been made.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from dataclasses import replace

from clusters.backends import volumes
from clusters.backends.base import BackendUnavailable, LaunchRefused, LaunchSpec, Phase
from clusters.backends.slurm import jobs, script, users
from clusters.backends.slurm.cli import Tools, last_line, raise_for_submission
from clusters.backends.slurm.folders import Record, SharedFolder
from clusters.backends.slurm.listing import Row, read_accounts
from clusters.backends.slurm.rest import NotSent, Rest
from clusters.backends.slurm.script import Ground
from clusters.backends.slurm.settings import SlurmSettings
from clusters.backends.slurm.survey import Watch

logger = logging.getLogger(__name__)
UNKNOWN_SECONDS = 3.0
"""A job that squeue and sacct still do not show this long after it was tried is not there:
accounting is about 1 s behind, a submission on its way takes less."""


class Submission:
    """Submits, adopts and takes over."""

    def __init__(
        self, settings: SlurmSettings, tools: Tools, folders: SharedFolder, rest: Rest, watch: Watch
    ) -> None:
        self._settings = settings
        self._tools = tools
        self._folders = folders
        self._rest = rest
        self._watch = watch

    def submit(self, spec: LaunchSpec, *, array: str = "", tasks: int = 0) -> Record:
        """The record of the attempt's job, new or found. `array` as for sbatch --array.

        Raises LaunchRefused and BackendUnavailable.
        """
        script.validate(spec)
        jobs.checked(spec.options)
        prefix = script.prefix_of(self._settings.environments, spec.environment)
        user = users.resolve(self._settings, spec.team_number)
        try:
            self._folders.create_tree()
            workspace = volumes.folder_for(
                self._settings.root, spec.volume, user.pw_uid, where="this cluster"
            )
            token = secrets.token_urlsafe(32) if spec.serves else ""
            ground = Ground(user, prefix, workspace, self._tools.path, token)
            with self._folders.turn(spec.external_name):
                known = self._folders.load(spec.external_name)
                if known is not None:
                    # Should there be two jobs in the end, both know the same token.
                    ground = replace(ground, token=known.token or token)
                    known = self._settle(known)
                if known is not None and known.restart > 0:
                    self._hand_over(spec, known)
                if known is not None:
                    return known
                taken = self._take_over(spec, ground) if spec.previous_name else None
                if taken is not None:
                    return taken
                script.prepare(spec, self._folders, ground)
                return self._start(spec, ground, array, tasks)
        except OSError as error:
            raise BackendUnavailable(f"The shared folder cannot be used: {error}") from error

    # ---- a new job ----

    def _start(self, spec: LaunchSpec, ground: Ground, array: str, tasks: int) -> Record:
        user = ground.user
        record = Record(
            name=spec.external_name,
            user=user.pw_name,
            uid=user.pw_uid,
            time_limit=spec.time_limit_seconds,
            nodes=spec.nodes,
            tried_at=time.time(),
            origin=spec.external_name,
            tasks=tasks,
            token=ground.token,
        )
        self._folders.save(record)
        try:
            job_id = self._hand_in(spec, ground, array)
        except LaunchRefused:
            self._folders.forget(spec.external_name)
            raise
        record = replace(record, job_id=job_id)
        self._folders.save(record)
        return record

    def _hand_in(self, spec: LaunchSpec, ground: Ground, array: str) -> str:
        user = ground.user
        folder = self._folders.attempt(spec.external_name)
        if self._rest.is_configured and not array:
            try:
                body = jobs.rest(spec, folder, self._tools.path)
                return self._rest.submit(user.pw_name, script.BATCH, body)
            except NotSent as error:
                logger.info("%s goes through sbatch: %s", spec.external_name, error)
        argv = jobs.sbatch(spec, user, folder, as_root=os.geteuid() == 0, array=array)
        env = jobs.environment(folder, self._tools.path)
        answer = self._tools.run(*argv, stdin=script.BATCH, env=env)
        if answer.status != 0:
            raise_for_submission(answer.error)
        job_id = answer.out.decode(errors="replace").strip().partition(";")[0]
        if not job_id.isdigit():
            raise BackendUnavailable(f"sbatch answered {job_id[:80]!r} instead of a job id.")
        return job_id

    # ---- one whose outcome is unknown ----

    def _settle(self, record: Record) -> Record | None:
        """The record with its job's id; None where there is no job, so it is to be started."""
        if record.job_id:
            return record
        row = self._watch.row_of(record, self._watch.look(fresh=True))
        row = row or self._row_in_accounts(record)
        if row is not None:
            found = replace(record, job_id=row.job_id)
            self._folders.save(found)
            return found
        if self._folders.has_begun(record):
            raise BackendUnavailable("It has run, but Slurm does not say as which job.")
        if time.time() - record.tried_at < UNKNOWN_SECONDS:
            raise BackendUnavailable("Whether Slurm has it already is not known yet.")
        return None

    def _row_in_accounts(self, record: Record) -> Row | None:
        answer = read_accounts(self._tools, since=record.tried_at, names=[record.job_name])
        ours = [row for row in answer.rows if row.user == record.user]
        return ours[-1] if ours else None

    # ---- a job Slurm has put back into its queue ----

    def _take_over(self, spec: LaunchSpec, ground: Ground) -> Record | None:
        """The next start of the previous attempt's job; None where a new job is needed."""
        before = self._folders.load(spec.previous_name)
        if before is None or not before.job_id or before.user != ground.user.pw_name:
            return None
        if before.successor not in ("", spec.external_name):
            return None
        row = self._watch.row_of(before, self._watch.look(fresh=True))
        if row is None or row.restarts <= before.restart or row.phase is Phase.ENDED:
            return None
        record = replace(
            before,
            name=spec.external_name,
            restart=before.restart + 1,
            time_limit=spec.time_limit_seconds,
            tried_at=time.time(),
            successor="",
        )
        self._folders.save(replace(before, successor=spec.external_name))
        self._folders.save(record)
        self._hand_over(spec, record)
        return record

    def _hand_over(self, spec: LaunchSpec, record: Record) -> None:
        """Give the job its new name and limits and let it start; safe to repeat."""
        row = self._watch.row_of(record, self._watch.look(fresh=True))
        if row is None or row.phase is Phase.ENDED or row.name == spec.external_name:
            return
        origin = self._folders.attempt(record.origin)
        changed = {"limit": str(spec.time_limit_seconds), "grace": str(spec.grace_seconds)}
        script.write_plan(origin, script.read_plan(origin) | changed)
        self._scontrol(record, f"TimeLimit={jobs.minutes(spec)}")
        if row.phase is Phase.PENDING:
            # Slurm holds back what it has put back for two minutes, or altogether.
            if row.reason.replace(" ", "_").startswith(("JobHeld", "launch_failed")):
                self._tools.run("scontrol", "release", record.job_id)
            self._scontrol(record, "StartTime=now", is_needed=False)
        # The name last: it says that all of this has been done.
        self._scontrol(record, f"JobName={spec.external_name}")

    def _scontrol(self, record: Record, word: str, *, is_needed: bool = True) -> None:
        answer = self._tools.run("scontrol", "update", f"JobId={record.job_id}", word)
        if answer.status != 0 and is_needed:
            raise BackendUnavailable(f"job {record.job_id}: {last_line(answer.error)}")
