"""Samples on their way to the portal: kept while it is away, sent oldest first."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)
KEEP_SECONDS = 600.0
TIMEOUT_SECONDS = 5.0
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0
MAX_ANSWER_BYTES = 65_536
PATH = "/api/v1/agent/samples"


@dataclass(frozen=True, slots=True)
class Letter:
    """One beat, ready to send. `at` is in epoch seconds."""

    at: float
    body: bytes


class NotSent(Exception):
    """The portal did not take a letter; the message says why."""


class Refused(Exception):
    """The portal will never take this letter; the message says why."""


class Courier:
    """Posts letters over one kept connection. Not for several threads."""

    def __init__(self, portal: str, token: str) -> None:
        """Raises ValueError when `portal` is no http or https address."""
        parts = urlsplit(portal)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                f"{portal!r} is no address of a portal, such as https://gpu.example.org"
            )
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def post(self, letter: Letter) -> None:
        """Raises NotSent when it is worth another try, Refused when it is not."""
        is_fresh = self._connection is None
        try:
            status, answer = self._exchange(letter)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            gone = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
            if not is_fresh and isinstance(error, gone):
                # A server may close an idle connection at any time: that says nothing of it.
                self.post(letter)
                return
            raise NotSent(f"the portal does not answer ({error})") from error
        if 200 <= status < 300:
            return
        if status in {401, 403}:
            raise NotSent("the portal does not know this agent: check FASTGPU_AGENT_TOKEN")
        if status in {400, 413, 422}:
            raise Refused(f"the portal refused a sample: {answer[:300]}")
        raise NotSent(f"the portal answers {status}")

    def _exchange(self, letter: Letter) -> tuple[int, str]:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=TIMEOUT_SECONDS)
        self._connection.request("POST", self._path, letter.body, self._headers)
        response = self._connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES)
        if not response.isclosed():
            self.close()
        return response.status, answer.decode("utf-8", "replace")

    def close(self) -> None:
        """Give up the connection; the next letter opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Outbox:
    """A bounded queue and the thread that empties it. The thread ends with the process."""

    def __init__(self, courier: Courier, *, keep_seconds: float = KEEP_SECONDS) -> None:
        self._courier = courier
        self._keep_seconds = keep_seconds
        self._letters: deque[Letter] = deque()
        self._changed = threading.Condition()
        self._trouble = ""

    def start(self) -> None:
        """Begin to send."""
        threading.Thread(target=self._run, name="outbox", daemon=True).start()

    def put(self, letter: Letter) -> None:
        """Queue a letter; those older than `keep_seconds` before it are given up."""
        with self._changed:
            while self._letters and self._letters[0].at < letter.at - self._keep_seconds:
                self._letters.popleft()
            self._letters.append(letter)
            self._changed.notify()

    def _run(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._letters)
                letter = self._letters[0]
            try:
                self._courier.post(letter)
            except NotSent as error:
                self._tell(str(error))
                time.sleep(wait)
                wait = min(LONGEST_WAIT_SECONDS, wait * 2)
                continue
            except Refused as error:
                logger.warning("%s", error)
            else:
                self._recovered()
                wait = FIRST_WAIT_SECONDS
            with self._changed:
                # It may have been given up meanwhile.
                if self._letters and self._letters[0] is letter:
                    self._letters.popleft()

    def _tell(self, trouble: str) -> None:
        """Say a trouble once, not at every beat."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning("%s; the last %d s are kept", trouble, self._keep_seconds)

    def _recovered(self) -> None:
        if self._trouble:
            self._trouble = ""
            with self._changed:
                waiting = len(self._letters)
            logger.warning("the portal answers again, %d samples to send", waiting)
