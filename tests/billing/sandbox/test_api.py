"""The HTTP API as the real `stripe` client sees it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import stripe

from billing.sandbox.settings import API_VERSION
from tests.billing.sandbox.conftest import Starter
from tests.billing.sandbox.harness import SECRET_KEY, Server


def test_our_version_is_the_clients() -> None:
    assert stripe.api_version == API_VERSION


def test_a_customer_is_made_changed_and_read_back(shared: Server) -> None:
    customers = shared.client.v1.customers
    made = customers.create({"email": "ada@example.org", "metadata": {"team": "t1"}})
    customers.update(made.id, {"name": "Ada", "address": {"country": "GB"}, "email": ""})
    read = customers.retrieve(made.id)
    assert isinstance(read, stripe.Customer)
    assert (read.name, read.email) == ("Ada", None)
    assert read.metadata is not None
    assert read.metadata["team"] == "t1"


def test_lists_are_newest_first_and_page(shared: Server) -> None:
    customers = shared.client.v1.customers
    made = [customers.create({"email": "page@example.org"}).id for _ in range(5)]
    first = customers.list({"email": "page@example.org", "limit": 2})
    assert first.has_more
    assert [customer.id for customer in first.auto_paging_iter()] == made[::-1]
    before = customers.list({"email": "page@example.org", "ending_before": made[3], "limit": 1})
    assert [customer.id for customer in before.data] == [made[4]]


@pytest.mark.parametrize("key", ["sk_test_wrong", "sk_test_é"])
def test_a_wrong_key_is_refused(shared: Server, key: str) -> None:
    answer = httpx.get(
        f"{shared.url}/v1/balance", headers={b"Authorization": f"Bearer {key}".encode()}
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["request-id"].startswith("req_")


def test_the_client_turns_a_wrong_key_into_its_error(shared: Server) -> None:
    client = stripe.StripeClient("sk_test_wrong", base_addresses={"api": shared.url})
    with pytest.raises(stripe.AuthenticationError):
        client.v1.balance.retrieve()


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("PUT", "/v1/customers")])
def test_unknown_routes_answer_in_stripes_shape(shared: Server, method: str, path: str) -> None:
    answer = httpx.request(method, shared.url + path)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_missing_object_is_404(shared: Server) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shared.client.v1.payment_intents.retrieve("pi_none")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


def test_an_id_of_another_kind_is_missing(shared: Server) -> None:
    customer = shared.client.v1.customers.create({})
    with pytest.raises(stripe.InvalidRequestError, match="No such charge"):
        shared.client.v1.charges.retrieve(customer.id)


def test_unknown_parameters_are_refused(shared: Server) -> None:
    answer = shared.post("/v1/customers", {"emial": "x@example.org"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "parameter_unknown"


def test_the_version_asked_for_is_echoed(shared: Server) -> None:
    answer = shared.post("/v1/customers", {}, **{"Stripe-Version": "2022-11-15"})
    assert answer.headers["stripe-version"] == "2022-11-15"


def test_the_same_key_gives_the_same_answer(shared: Server) -> None:
    answers = [
        shared.post("/v1/customers", {"name": "A"}, **{"Idempotency-Key": "same"}) for _ in "12"
    ]
    assert answers[0].content == answers[1].content
    assert "idempotent-replayed" not in answers[0].headers
    assert answers[1].headers["idempotent-replayed"] == "true"


def test_the_same_key_with_other_parameters_is_refused(shared: Server) -> None:
    customers = shared.client.v1.customers
    customers.create({"name": "A"}, {"idempotency_key": "other"})
    with pytest.raises(stripe.IdempotencyError) as caught:
        customers.create({"name": "B"}, {"idempotency_key": "other"})
    assert caught.value.http_status == 400


def test_a_refused_request_does_not_use_its_key_up(shared: Server) -> None:
    bad = shared.post("/v1/customers", {"email": "no"}, **{"Idempotency-Key": "retry"})
    good = shared.post("/v1/customers", {"email": "a@b.example"}, **{"Idempotency-Key": "retry"})
    assert (bad.status_code, good.status_code) == (400, 200)


def test_a_key_is_forgotten_after_24_hours(start: Starter) -> None:
    server = start()
    key = {"Idempotency-Key": "old"}
    first = server.post("/v1/customers", {}, **key).json()["id"]
    server.advance(24 * 3600 - 60)
    assert server.post("/v1/customers", {}, **key).json()["id"] == first
    server.advance(120)
    assert server.post("/v1/customers", {}, **key).json()["id"] != first


def test_a_key_in_flight_is_409_and_one_object_is_made(start: Starter) -> None:
    server = start("", "--latency", "0.5")
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda _: server.post("/v1/customers", {}, **{"Idempotency-Key": "race"}), range(4)
            )
        )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 409, 409, 409]
    assert len(server.client.v1.customers.list().data) == 1


def test_state_survives_a_kill(start: Starter) -> None:
    server = start()
    made = server.client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    server.kill()
    server.start()
    again = server.client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    assert again.id == made.id


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_the_process_is_small(start: Starter) -> None:
    server = start()
    for _ in range(50):
        server.client.v1.customers.create({})
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    resident_kib = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kib < 45 * 1024, sys.version


def test_real_keys_are_not_taken(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended at start"):
        Server(tmp_path, "", "--secret-key", SECRET_KEY.replace("test", "live"))


def test_it_loads_nothing_of_the_portal() -> None:
    code = "import sys, billing.sandbox.app; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"django", "celery", "stripe", "portal"} & set(loaded)
