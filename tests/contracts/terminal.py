"""What every engine that gives terminals must do, as a class of tests to inherit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from clusters.backends.base import Backend, BackendError, Endpoint, EndReason
from clusters.backends.capabilities import Terminals
from tests.clusters.backends.browser import looking
from tests.contracts.backend import ended, log_holds, log_of, make_spec, wait_for

JOB = "trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
# Longer than anybody here waits for an end.
GRACE_SECONDS = 600


class TerminalEngine(Backend, Terminals):
    """What the contract is about."""


def started(
    engine: TerminalEngine, command: str = JOB, *, environment: str = "", gpus: int = 0
) -> str:
    """The name of an attempt that has said `ready`."""
    spec = make_spec(
        command, environment=environment, env={"COLOUR": "blue and green"}, seconds=100
    )
    engine.submit(replace(spec, gpus=gpus))
    log_holds(engine, spec.external_name, b"ready\n")
    return spec.external_name


def opened(engine: TerminalEngine, name: str) -> Endpoint:
    """Ask for a terminal; where it is."""
    wait_for(lambda: _is_opened(engine, name))
    endpoint = engine.endpoint(name, "terminal")
    assert endpoint is not None
    return endpoint


def _is_opened(engine: TerminalEngine, name: str) -> bool:
    """An engine may not know yet that what has said something runs."""
    try:
        engine.open_terminal(name)
    except BackendError as error:
        if "Only what runs" in str(error):
            return False
        raise
    return True


class TerminalContract:
    """Tests of `engine` in its `environment`.

    `servers` tells of an attempt which processes serve its terminal.
    """

    @pytest.fixture
    def engine(self) -> TerminalEngine:
        raise NotImplementedError

    @pytest.fixture
    def environment(self) -> str:
        return ""

    @pytest.fixture
    def servers(self) -> Callable[[str], list[int]]:
        raise NotImplementedError

    def test_its_shell_begins_where_the_command_did(
        self, engine: TerminalEngine, environment: str
    ) -> None:
        name = started(engine, f"pwd; {JOB}", environment=environment)
        folder = log_of(engine, name).decode().splitlines()[0]
        with looking(opened(engine, name)) as browser:
            assert (
                browser.asks("pwd; echo $COLOUR; echo ~") == f"{folder}\nblue and green\n{folder}\n"
            )
        engine.stop(name, grace_seconds=0)

    def test_the_log_and_the_exit_code_are_the_commands(
        self, engine: TerminalEngine, environment: str, servers: Callable[[str], list[int]]
    ) -> None:
        waits = "echo ready; until [ -e go ]; do sleep 0.05; done; exit 5"
        name = started(engine, waits, environment=environment)
        with looking(opened(engine, name)) as browser:
            # Until it has become a shell, a child of the server looks like another server.
            wait_for(lambda: len(servers(name)) == 1)
            browser.type("trap '' TERM HUP; sleep 600 & touch go\r")
            end = ended(engine, name)
        assert (end.reason, end.exit_code) == (EndReason.USER_ERROR, 5)
        assert log_of(engine, name) == b"ready\n"
        assert engine.endpoint(name, "terminal") is None
        wait_for(lambda: not servers(name))

    def test_it_does_not_hold_up_a_stop(self, engine: TerminalEngine, environment: str) -> None:
        name = started(engine, environment=environment)
        with looking(opened(engine, name)) as browser:
            assert browser.asks("echo $((6 * 7))") == "42\n"
            engine.stop(name, grace_seconds=GRACE_SECONDS)
            end = ended(engine, name)
        assert end.reason is EndReason.STOPPED
        assert b"saved\n" in log_of(engine, name)

    def test_an_attempt_that_was_never_asked_runs_nothing_for_it(
        self, engine: TerminalEngine, environment: str, servers: Callable[[str], list[int]]
    ) -> None:
        name = started(engine, environment=environment)
        assert servers(name) == []
        engine.stop(name, grace_seconds=0)

    def test_asking_again_starts_no_second_one(
        self, engine: TerminalEngine, environment: str, servers: Callable[[str], list[int]]
    ) -> None:
        name = started(engine, environment=environment)
        endpoint = opened(engine, name)
        with looking(endpoint) as browser:
            pid = browser.asks("echo $$")
            for _ in range(3):
                assert opened(engine, name) == endpoint
            with looking(endpoint) as other:
                other.sees(pid.strip())
                assert other.asks("echo $$") == pid
            wait_for(lambda: len(servers(name)) == 1)
        engine.stop(name, grace_seconds=0)

    def test_one_that_was_killed_is_started_again(
        self, engine: TerminalEngine, environment: str
    ) -> None:
        name = started(engine, environment=environment)
        with looking(opened(engine, name)) as browser:
            browser.type("old=1; kill -9 $PPID\r")
            with pytest.raises(ConnectionClosed):
                browser.sees("never")
        with looking(opened(engine, name)) as browser:
            assert browser.asks("echo $((old + 41))") == "41\n"
        engine.stop(name, grace_seconds=0)

    def test_who_does_not_know_its_token_is_let_in_nowhere(
        self, engine: TerminalEngine, environment: str
    ) -> None:
        name = started(engine, environment=environment)
        endpoint = opened(engine, name)
        with looking(endpoint):
            for token in ("", "guess"):
                with pytest.raises(InvalidStatus), looking(endpoint, token=token):
                    pass
        engine.stop(name, grace_seconds=0)

    @pytest.mark.parametrize("name", ["fg-never", "../fg-x"])
    def test_what_does_not_run_has_none(self, engine: TerminalEngine, name: str) -> None:
        with pytest.raises(BackendError, match="Only what runs"):
            engine.open_terminal(name)
        assert engine.endpoint(name, "terminal") is None
