"""The socket of a run's page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from channels.db import database_sync_to_async

from accounts.actor import Actor
from accounts.models import Membership, User
from clusters import consumers
from clusters.actions.apps import note_failure
from clusters.actions.jobs import cancel, launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.set_status import group_of, told
from clusters.backends.base import EndReason
from clusters.models import App, Attempt, Workload, WorkloadEvent
from clusters.tasks import drive_pool
from clusters.telemetry.follow import PIECE_BYTES
from portal.lib.events import publish
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.notebooks import launched, let_answer, starting
from tests.fakes.socket import Socket

pytestmark = pytest.mark.django_db(transaction=True)
Open = Callable[..., Awaitable[Socket]]


@pytest.fixture
def job(actor: Actor, engine: Engine) -> Workload:
    """One that runs."""
    made = launch(actor, JobRequest("digits", "a100", 1, "true", time_limit_seconds=600))
    drive_pool(engine.pool.pk)
    made.refresh_from_db()
    return made


@pytest.fixture
def name(job: Workload) -> str:
    """Its name in the engine."""
    return Attempt.objects.get(workload=job).external_name


@pytest.fixture
async def sockets() -> AsyncIterator[list[Socket]]:
    """What was opened, closed at the end."""
    opened: list[Socket] = []
    yield opened
    for socket in opened:
        await socket.close()


@pytest.fixture
def open_as(job: Workload, sockets: list[Socket]) -> Open:
    """Open the job's socket as somebody."""

    async def opener(user: User | None, query: str = "") -> Socket:
        socket = await Socket.opened(f"/ws/jobs/{job.public_id}/{query}", user)
        if socket.is_open:
            sockets.append(socket)
        return socket

    return opener


async def text_until(socket: Socket, end: int) -> str:
    """The log text up to byte `end`, without hole or overlap."""
    text, at = "", None
    while at != end:
        data = await socket.take("log")
        assert at in {None, data["offset"]}
        at = data["next_offset"]
        text += data["text"]
    return text


async def test_strangers_and_the_anonymous_are_refused(open_as: Open, charlie: User) -> None:
    assert (await open_as(None)).code == 4401
    assert (await open_as(charlie)).code == 4404


async def test_the_log_comes_as_it_grows(
    open_as: Open, alice: User, engine: Engine, name: str
) -> None:
    engine.backend.logs[name] = b"one\n"
    socket = await open_as(alice)
    assert (await socket.take("hello"))["offset"] == 0
    assert await text_until(socket, 4) == "one\n"
    engine.backend.logs[name] += b"two\n"
    assert await text_until(socket, 8) == "two\n"


async def test_who_comes_back_goes_on_at_its_byte(
    open_as: Open, alice: User, engine: Engine, name: str
) -> None:
    engine.backend.logs[name] = b"one\ntwo\n"
    socket = await open_as(alice, "?offset=4&attempt=1")
    assert (await socket.take("hello"))["offset"] == 4
    assert await text_until(socket, 8) == "two\n"


@pytest.mark.parametrize(
    "query", ["?offset=999999", "?offset=4&attempt=7", "?offset=x", "?offset=-1"]
)
async def test_an_offset_beyond_the_log_starts_anew(
    open_as: Open, alice: User, engine: Engine, name: str, query: str
) -> None:
    engine.backend.logs[name] = b"one\ntwo\n"
    socket = await open_as(alice, query)
    assert (await socket.take("hello"))["offset"] == 0
    assert await text_until(socket, 8) == "one\ntwo\n"


async def test_a_character_is_never_cut(
    open_as: Open, alice: User, engine: Engine, name: str
) -> None:
    euro = "\N{EURO SIGN}".encode()
    engine.backend.logs[name] = b"5 " + euro[:1]
    socket = await open_as(alice)
    assert await text_until(socket, 2) == "5 "
    engine.backend.logs[name] += euro[1:]
    assert await text_until(socket, 5) == "\N{EURO SIGN}"


async def test_two_viewers_share_a_log(
    open_as: Open, alice: User, bob: User, engine: Engine, name: str
) -> None:
    engine.backend.logs[name] = b"one\n"
    first, second = await open_as(alice), await open_as(bob, "?offset=0")
    await asyncio.gather(text_until(first, 4), text_until(second, 4))
    engine.backend.logs[name] += b"two\n"
    both = await asyncio.gather(text_until(first, 8), text_until(second, 8))
    assert list(both) == ["two\n", "two\n"]


async def test_who_does_not_acknowledge_is_sent_no_more_than_the_window(
    open_as: Open, alice: User, engine: Engine, name: str
) -> None:
    size = 2 * consumers.WINDOW_BYTES
    engine.backend.logs[name] = b"x" * size
    socket = await open_as(alice, "?offset=0")
    got = 0
    while not await socket.is_quiet():
        message = await socket.next()
        got = message["data"]["next_offset"] if message["kind"] == "log" else got
    assert got <= consumers.WINDOW_BYTES + PIECE_BYTES
    await socket.send(f'{{"ack": {got}}}')
    assert (await socket.take("log"))["offset"] == got


async def test_a_long_log_opens_near_its_end(
    open_as: Open, alice: User, engine: Engine, name: str
) -> None:
    engine.backend.logs[name] = b"x" * 3_000_000
    socket = await open_as(alice)
    assert (await socket.take("hello"))["offset"] == 3_000_000 - consumers.TAIL_BYTES


async def test_gpu_samples_are_passed_on(open_as: Open, alice: User, job: Workload) -> None:
    socket = await open_as(alice)
    await socket.take("hello")
    await database_sync_to_async(publish)(group_of(job.pk), "gpu", {"attempt": 1, "gpus": []})
    assert await socket.take("gpu") == {"attempt": 1, "gpus": []}


async def test_the_end_comes_after_the_whole_log(
    open_as: Open, alice: User, engine: Engine, name: str
) -> None:
    engine.backend.logs[name] = b"one\n"
    socket = await open_as(alice)
    assert await text_until(socket, 4) == "one\n"
    engine.backend.logs[name] += b"last words\n"
    engine.backend.end(name, EndReason.COMPLETED)
    await database_sync_to_async(tick)()
    assert await text_until(socket, 15) == "last words\n"
    assert await socket.take("end") == {"status": "succeeded", "offset": 15}


@pytest.mark.parametrize("sent", ["x", "[]", '{"ack": -1}', '{"ack": true}', "1" * 2000])
async def test_what_makes_no_sense_closes_the_socket(open_as: Open, alice: User, sent: str) -> None:
    socket = await open_as(alice)
    await socket.take("hello")
    await socket.send(sent)
    assert await socket.closed_with() == 4400


async def test_a_removed_member_loses_the_socket(
    open_as: Open, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LOOK_SECONDS", 0.1)
    socket = await open_as(bob)
    await socket.take("hello")
    await database_sync_to_async(Membership.objects.filter(user=bob).delete)()
    assert await socket.closed_with() == 4404


# --- steps of the timeline ---


def steps_of(run: Workload) -> list[int]:
    """Their numbers."""
    return list(
        WorkloadEvent.objects.filter(workload=run).order_by("pk").values_list("pk", flat=True)
    )


async def numbers_from(socket: Socket, count: int) -> list[int]:
    """The numbers of the next steps that are told."""
    return [(await socket.take("status"))["event"] for _ in range(count)]


async def test_who_comes_back_is_told_the_steps_that_were_missed_and_then_the_next(
    open_as: Open, alice: User, actor: Actor, job: Workload
) -> None:
    first, *missed = await database_sync_to_async(steps_of)(job)
    socket = await open_as(alice, f"?after={first}")
    assert await numbers_from(socket, len(missed)) == missed
    await database_sync_to_async(cancel)(actor, job.public_id)
    data = await socket.take("status")
    assert (data["status"], data["reason"], data["event"] > missed[-1]) == (
        "stopping", "stop_requested", True,
    )  # fmt: skip


@pytest.mark.parametrize("query", ["", "?after=999999999", "?after=x", "?after=-1"])
async def test_who_missed_nothing_is_told_what_comes_only(
    open_as: Open, alice: User, actor: Actor, job: Workload, query: str
) -> None:
    known = await database_sync_to_async(steps_of)(job)
    socket = await open_as(alice, query)
    assert (await socket.take("hello"))["event"] == known[-1]
    await database_sync_to_async(cancel)(actor, job.public_id)
    assert (await socket.take("status"))["event"] > known[-1]


async def test_a_step_that_is_told_twice_is_sent_once(
    open_as: Open, alice: User, job: Workload
) -> None:
    last = await database_sync_to_async(
        WorkloadEvent.objects.filter(workload=job).order_by("-pk").first
    )()
    assert last is not None
    socket = await open_as(alice, f"?after={last.pk - 1}")
    assert (await socket.take("status"))["event"] == last.pk
    await socket.take("hello")
    await database_sync_to_async(publish)(group_of(job.pk), "status", told(last))
    await database_sync_to_async(publish)(group_of(job.pk), "gpu", {"attempt": 1, "gpus": []})
    assert (await socket.next())["kind"] == "gpu"


async def test_a_step_whose_event_was_lost_is_told_at_the_next_look(
    open_as: Open, alice: User, job: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LOOK_SECONDS", 0.1)
    socket = await open_as(alice)
    await socket.take("hello")
    await database_sync_to_async(Workload.objects.filter(pk=job.pk).update)(status="stopping")
    step = await database_sync_to_async(WorkloadEvent.objects.create)(
        workload=job, status="stopping", reason="stop_requested"
    )
    assert (await socket.take("status"))["event"] == step.pk


async def test_a_notebooks_socket_tells_each_step_until_it_is_ready(
    alice: User, actor: Actor, engine: Engine, sockets: list[Socket]
) -> None:
    notebook = await database_sync_to_async(launched)(actor)
    socket = await Socket.opened(f"/ws/notebooks/{notebook.public_id}/?after=0", alice)
    sockets.append(socket)
    await database_sync_to_async(tick)()
    await database_sync_to_async(let_answer)(notebook)
    told_reasons = [(await socket.take("status"))["reason"] for _ in range(4)]
    assert told_reasons == ["waiting_for_gpus", "starting", "server_starting", "running"]


async def test_what_a_starting_server_answers_lets_its_page_look_again(
    alice: User, actor: Actor, engine: Engine, sockets: list[Socket]
) -> None:
    notebook = await database_sync_to_async(starting)(actor)
    socket = await Socket.opened(f"/ws/notebooks/{notebook.public_id}/", alice)
    sockets.append(socket)
    await socket.take("hello")
    app = await database_sync_to_async(App.objects.get)(workload=notebook)
    await database_sync_to_async(note_failure)(app.pk, "It answers 500.")
    data = await socket.take("status")
    assert (data["reason"], data["event"]) == ("server_starting", 0)


async def test_a_job_has_no_notebooks_socket_and_the_other_way_round(
    alice: User, actor: Actor, job: Workload
) -> None:
    assert (await Socket.opened(f"/ws/notebooks/{job.public_id}/", alice)).code == 4404
    notebook = await database_sync_to_async(launched)(actor)
    assert (await Socket.opened(f"/ws/jobs/{notebook.public_id}/", alice)).code == 4404


# --- attempts ---


def lose(engine: Engine, name: str) -> None:
    """The machine of this attempt goes away; the next attempt starts."""
    engine.backend.end(name, EndReason.NODE_LOST)
    tick()


async def test_a_retry_begins_with_its_own_hello(
    open_as: Open, alice: User, engine: Engine, job: Workload, name: str
) -> None:
    engine.backend.logs[name] = b"one\n"
    socket = await open_as(alice)
    assert await text_until(socket, 4) == "one\n"
    await database_sync_to_async(lose)(engine, name)
    assert await socket.take("complete") == {"attempt": 1, "offset": 4}
    hello = await socket.take("hello")
    assert (hello["attempt"], hello["offset"]) == (2, 0)
    second = await database_sync_to_async(Attempt.objects.get)(workload=job, number=2)
    engine.backend.logs[second.external_name] = b"two two\n"
    assert await text_until(socket, 8) == "two two\n"


async def test_a_chosen_attempt_is_shown_while_another_runs(
    open_as: Open, alice: User, engine: Engine, name: str
) -> None:
    engine.backend.logs[name] = b"one\n"
    await database_sync_to_async(lose)(engine, name)
    socket = await open_as(alice, "?chosen=1")
    assert (await socket.take("hello"))["attempt"] == 1
    assert await text_until(socket, 4) == "one\n"
    assert await socket.take("complete") == {"attempt": 1, "offset": 4}
    second = name.removesuffix("-1") + "-2"
    engine.backend.end(second, EndReason.COMPLETED)
    await database_sync_to_async(tick)()
    assert (await socket.take("end"))["status"] == "succeeded"


async def test_an_attempt_whose_log_is_gone_with_its_machine_holds_nobody_up(
    open_as: Open, alice: User, engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "LOOK_SECONDS", 0.1)
    socket = await open_as(alice)
    assert (await socket.take("hello"))["attempt"] == 1
    await database_sync_to_async(lose)(engine, name)
    del engine.backend.seen[name]  # it never says that the log is complete
    assert (await socket.take("hello"))["attempt"] == 2


async def test_an_attempt_that_is_none_is_refused(open_as: Open, alice: User) -> None:
    assert (await open_as(alice, "?chosen=2")).code == 4404
