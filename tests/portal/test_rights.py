"""The rights matrix: every route and socket x every role x own or other team's object.

`tests/rights.csv` is the reviewed table. Each route of the URL conf and each WebSocket route must
have a row per method; what the product answers must be what the row says. A route without a row
fails, and so does a row without a route.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.apps import apps
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.access import actor_of_user
from accounts.actions.teams import create_api_key
from accounts.actor import Actor
from accounts.models import Team, User
from billing.actions.drafts import ensure_draft
from billing.actions.payments import new_payment
from billing.actions.prices import add_sku
from billing.choices import Meter, PaymentPurpose
from billing.models import BillingAccount, Invoice, PaymentMethod
from clusters.actions.apps import name_of
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.notebook_shares import share_notebook
from clusters.actions.sides import board_of_run
from clusters.actions.trees import open_tree
from clusters.actions.volumes import create_volume
from clusters.choices import Service
from clusters.models import Attempt, Workload
from clusters.routing import websocket_urlpatterns
from clusters.tasks import drive_pool
from portal.asgi import application
from tests.conftest import Engine
from tests.fakes.notebooks import running
from tests.fakes.schedules import make_schedule, make_volume

TABLE = Path(__file__).resolve().parents[1] / "rights.csv"
ROLES = ["anonymous", "stranger", "member", "owner", "staff", "api_key", "api_key_stranger"]


@dataclass(frozen=True)
class Row:
    """One line of the table: the status each role gets. `own` rows act on alice's objects."""

    route: str
    method: str
    statuses: dict[str, str]


def rows() -> list[Row]:
    """The table."""
    with TABLE.open(newline="") as stream:
        lines = csv.DictReader(line for line in stream if not line.startswith("#"))
        return [
            Row(line["route"], line["method"], {role: line[role] for role in ROLES})
            for line in lines
        ]


HTTP_ROWS = [row for row in rows() if not row.route.startswith("ws:")]
DEED_ROWS = [row for row in HTTP_ROWS if row.method != "GET"]
SOCKET_ROWS = [row for row in rows() if row.route.startswith("ws:")]


def routes() -> Iterator[str]:
    """Every route of ours, as Django writes it, and every socket as `ws:...`."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[str]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            elif isinstance(pattern, URLPattern):
                yield route

    yield from walk(get_resolver().url_patterns, "")
    for pattern in websocket_urlpatterns:
        yield f"ws:{pattern.pattern}"


def test_every_route_has_a_row() -> None:
    assert {row.route for row in rows()} == set(routes())


@dataclass
class World:
    """Alice's objects, whose ids the routes are filled with, and a client per role."""

    clients: dict[str, Client]
    people: dict[str, User]
    ids: dict[str, str]


@pytest.fixture
def world(alice: User, bob: User, charlie: User, dora: User, team: Team, engine: Engine) -> World:
    actor = actor_of_user(alice)
    request = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)
    job = launch(actor, request)
    drive_pool(engine.pool.pk)
    engine.backend.files[Attempt.objects.get(workload=job).external_name] = {"model.bin": b"x"}
    schedule = make_schedule(actor, make_volume(actor, "reports"))
    account = BillingAccount.objects.get(team=team)
    ensure_draft(account)
    key, _ = create_api_key(actor, name="another")
    notebook = running(actor)
    board = board_of_run(actor, job.public_id)
    share, link = share_notebook(actor, notebook.public_id)
    payment = new_payment(account, purpose=PaymentPurpose.TOP_UP, net_cents=10_00)
    card = PaymentMethod.objects.create(
        account=account, stripe_id="pm_1", brand="visa", last4="4242", exp_month=1, exp_year=2040
    )
    add_sku(Actor.system(), "storage", label="Storage", unit_micros=1, meter=Meter.STORAGE)
    volume = create_volume(actor, name="data", size_gib=1)
    open_tree(volume).close()
    (engine.backend.volume_path(volume.public_id) / "model.bin").write_bytes(b"x")
    people = {"stranger": charlie, "member": bob, "owner": alice, "staff": dora}
    clients = {"anonymous": Client()}
    for role, user in people.items():
        clients[role] = Client()
        clients[role].force_login(user)
    for role, user in (("api_key", alice), ("api_key_stranger", charlie)):
        secret = create_api_key(actor_of_user(user), name=role)[1]
        clients[role] = Client(headers={"Authorization": f"Bearer {secret}"})
    ids = {
        "job_id": Workload.objects.get(pk=job.pk).public_id,
        "path": "model.bin",
        "side_id": board.public_id,
        "schedule_id": schedule.public_id,
        "notebook_id": notebook.public_id,
        "run_id": notebook.public_id,
        "name": name_of(Service.LAB, notebook.public_id),
        "share_id": share.public_id,
        "app_id": "1",
        "secret": link,
        "volume_id": volume.public_id,
        "key_id": key.public_id,
        "invoice_id": Invoice.objects.get(account=account).public_id,
        "note_id": "nothing",
        "budget_id": "nothing",
        "resource_id": "nothing",
        "payment_id": payment.public_id,
        "card_id": card.public_id,
        "message_id": "nothing",
        "key": "nothing",
        "uidb36": "1",
        "url": "nothing",
        "app_label": "clusters",
        "content_type_id": "1",
        "object_id": "1",
    }
    return World(clients, people, ids)


def fill(route: str, ids: dict[str, str]) -> str:
    """The route with alice's ids in it; in the console, with the first object of its model."""
    if found := re.match(r"admin/(\w+)/(\w+)/<path:object_id>", route):
        first = apps.get_model(found[1], found[2])._default_manager.first()
        ids = {**ids, "object_id": str(first.pk) if first else "0"}
    path = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"<\1>", route)
    path = re.sub(r"<\w+:", "<", path.replace("^", "").replace("$", ""))
    for name, value in ids.items():
        path = path.replace(f"<{name}>", value)
    assert "<" not in path, f"no id for {route}"
    return "/" + path


async def read_all(response: Any) -> None:
    async for _piece in response:
        pass


def ask(row: Row, world: World) -> dict[str, str]:
    """What each role is answered: a status, or `login` where it is sent to sign in."""
    got = {}
    for role, client in world.clients.items():
        response = client.generic(row.method, fill(row.route, world.ids))
        if getattr(response, "is_async", False) and "Content-Disposition" in response.headers:
            async_to_sync(read_all)(response)  # a file that is read is closed
        target = response.headers.get("Location", "")
        got[role] = "login" if "/login/" in target else str(response.status_code)
    return got


def test_each_role_reads_what_the_table_says(world: World) -> None:
    table = {row.route: row.statuses for row in HTTP_ROWS if row.method == "GET"}
    got = {row.route: ask(row, world) for row in HTTP_ROWS if row.method == "GET"}
    wrong = [
        f"{route}: the product answers {got[route]}"
        for route in table
        if got[route] != table[route]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("row", DEED_ROWS, ids=lambda row: f"{row.method} {row.route}")
def test_each_role_does_what_the_table_says(row: Row, world: World) -> None:
    got = ask(row, world)
    assert got == row.statuses, f"the product answers {got}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "row", [r for r in rows() if r.route.startswith("ws:")], ids=lambda r: r.route
)
async def test_each_role_gets_the_socket_the_table_says(row: Row, world: World) -> None:
    got = {}
    for role, client in world.clients.items():
        path = fill(row.route.removeprefix("ws:"), world.ids)
        got[role] = await knock(path, client)
    assert got == row.statuses, f"the product answers {got}"


async def knock(path: str, client: Client) -> str:
    """`open`, or the code the socket is closed with."""
    cookie = "; ".join(f"{key}={value.value}" for key, value in client.cookies.items())
    headers = [
        (b"origin", b"http://localhost"),
        (b"host", b"localhost"),
        (b"cookie", cookie.encode()),
        (b"authorization", client.defaults.get("HTTP_AUTHORIZATION", "").encode()),
    ]
    scope = {
        "type": "websocket", "path": path, "query_string": b"", "headers": headers,
        "subprotocols": [], "client": ("127.0.0.1", 5), "server": ("localhost", 80),
    }  # fmt: skip
    communicator: Any = ApplicationCommunicator  # asgiref types it half
    socket = communicator(application, scope)
    await socket.send_input({"type": "websocket.connect"})
    answer = await socket.receive_output(timeout=30)
    if answer["type"] == "websocket.accept":
        answer = await first_close(socket) or answer
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(timeout=30)
    return str(answer["code"]) if answer["type"] == "websocket.close" else "open"


async def first_close(socket: Any) -> dict[str, Any] | None:
    """The close that follows an accept at once: browsers show codes only of accepted sockets."""
    answer: dict[str, Any] = await socket.receive_output(timeout=30)
    return answer if answer["type"] == "websocket.close" else None
