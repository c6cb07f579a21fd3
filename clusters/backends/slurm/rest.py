"""Submits through slurmrestd: quicker than sbatch, and refused in numbers instead of words."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import httpx
import jwt

from clusters.backends.base import BackendUnavailable
from clusters.backends.slurm.cli import raise_for_submission
from clusters.backends.slurm.settings import SlurmSettings

logger = logging.getLogger(__name__)
TOKEN_SECONDS = 300
TIMEOUT_SECONDS = 5.0
REST_AWAY_SECONDS = 30.0
"""How long the command line tools are used alone after slurmrestd did not answer."""


NUMBERS = ("error_number", "error_code", "errno")
"""What the versions call the number of an error; the HTTP status says nothing (500 for a "no")."""


class NotSent(Exception):
    """slurmrestd was not reached: nothing was asked of Slurm, another way may be tried."""


class Rest:
    """slurmrestd with tokens made by us, each for the Unix user the work is of."""

    def __init__(self, settings: SlurmSettings) -> None:
        self._url = settings.rest_url.rstrip("/")
        self._version = settings.api_version
        self._key_file = settings.jwt_key
        # A connection a call: slurmrestd is restarted now and then, and it is near.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, limits=limits)
        self._away_until = 0.0

    @property
    def is_configured(self) -> bool:
        """Whether there is a slurmrestd to use at all."""
        return bool(self._url and self._key_file)

    def submit(self, user: str, script: bytes, job: dict[str, Any]) -> str:
        """The new job's id.

        Raises NotSent when slurmrestd is not there, LaunchRefused, and BackendUnavailable when
        the outcome is unknown.
        """
        if time.monotonic() < self._away_until:
            raise NotSent("slurmrestd did not answer a moment ago")
        body = {"script": script.decode(), "job": job}
        try:
            response = self._client.post(
                f"{self._url}/slurm/{self._version}/job/submit",
                json=body,
                headers=self._headers(user),
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            self._away_until = time.monotonic() + REST_AWAY_SECONDS
            logger.warning("slurmrestd does not answer, sbatch is used instead: %s", error)
            raise NotSent(str(error)) from error
        except httpx.HTTPError as error:
            raise BackendUnavailable(f"slurmrestd did not answer: {error}") from error
        return self._job_id(response)

    def _job_id(self, response: httpx.Response) -> str:
        if response.status_code in (401, 403, 404):
            # Nothing was asked of Slurm: the token or the version's path is not taken.
            logger.warning("slurmrestd answers %d; sbatch is used", response.status_code)
            raise NotSent(f"slurmrestd answers {response.status_code}")
        try:
            answer = response.json()
            errors = answer.get("errors") or []
        except (ValueError, AttributeError) as error:
            raise BackendUnavailable("slurmrestd's answer cannot be read.") from error
        job_id = answer.get("job_id")
        if isinstance(job_id, int) and job_id > 0:
            # What else it says is why the job has to wait.
            return str(job_id)
        failed = [one for one in errors if any(one.get(name) for name in NUMBERS)]
        if failed:
            words = str(failed[0].get("error") or failed[0].get("description") or failed[0])
            raise_for_submission(f"submission failed: {words}")
        raise BackendUnavailable(f"slurmrestd answers {response.status_code} and no job.")

    def _headers(self, user: str) -> dict[str, str]:
        now = int(time.time())
        claims = {"sun": user, "iat": now, "exp": now + TOKEN_SECONDS}
        return {
            "X-SLURM-USER-NAME": user,
            "X-SLURM-USER-TOKEN": jwt.encode(claims, self._key(), algorithm="HS256"),
        }

    def _key(self) -> bytes:
        try:
            return Path(self._key_file or "").read_bytes()
        except OSError as error:
            raise NotSent(f"the key for slurmrestd cannot be read: {error}") from error
