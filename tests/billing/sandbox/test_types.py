"""Each object the sandbox shows is what the `stripe` package says such an object is."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

import httpx
import pytest
import stripe

from tests.billing.sandbox.harness import GOOD_CARD, Receiver, Server, until

CLASSES: dict[str, type[stripe.StripeObject]] = {
    "balance": stripe.Balance,
    "balance_transaction": stripe.BalanceTransaction,
    "charge": stripe.Charge,
    "checkout.session": stripe.checkout.Session,
    "customer": stripe.Customer,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "payout": stripe.Payout,
    "refund": stripe.Refund,
    "setup_intent": stripe.SetupIntent,
}


def problems(value: Any, wanted: Any, path: str) -> list[str]:  # noqa: PLR0911  # a case each
    """What is wrong with `value` as a `wanted`, deep down."""
    if wanted is Any or (wanted is None.__class__ and value is None):
        return []
    origin = get_origin(wanted)
    if origin in {Union, types.UnionType}:
        found = [problems(value, one, path) for one in get_args(wanted)]
        return [] if any(not one for one in found) else min(found, key=len)
    if origin is Literal:
        return [] if value in get_args(wanted) else [f"{path}: {value!r} is none of {wanted}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: {value!r} is no list"]
        return [
            wrong
            for index, one in enumerate(value)
            for wrong in problems(one, get_args(wanted)[0], f"{path}[{index}]")
        ]
    if origin is dict or wanted is dict:
        return [] if isinstance(value, dict) else [f"{path}: {value!r} is no object"]
    if isinstance(origin, type) and issubclass(origin, stripe.StripeObject):
        return [] if isinstance(value, dict) else [f"{path}: {value!r} is no object"]
    if isinstance(wanted, type) and issubclass(wanted, stripe.StripeObject):
        return object_problems(value, wanted, path)
    if wanted is float and isinstance(value, int):
        return []
    fits = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
    return [] if fits else [f"{path}: {value!r} is no {wanted}"]


def object_problems(value: Any, kind: type[stripe.StripeObject], path: str) -> list[str]:
    """Fields that are unknown to `kind`, missing where it needs them, or of another type."""
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no {kind.__name__}"]
    fields = hints(kind)
    if not fields:
        return []
    wrong = [f"{path}.{name}: {kind.__name__} has no such field" for name in value.keys() - fields]
    for name, wanted in fields.items():
        if name in value:
            wrong += problems(value[name], wanted, f"{path}.{name}")
        elif type(None) not in get_args(wanted):
            wrong.append(f"{path}.{name}: missing")
    return wrong


class Names(dict[str, Any]):
    """The package's classes by name; it loads them when they are asked for.

    Where a class has an inner one of the same name, the package calls it `...Resource`.
    """

    def __missing__(self, name: str) -> Any:
        for place in (stripe, stripe.test_helpers, stripe.issuing):
            found = getattr(place, name.removeprefix("Issuing").removesuffix("Resource"), None)
            if found is not None:
                return found
        raise KeyError(name)


def hints(kind: type[stripe.StripeObject]) -> dict[str, Any]:
    """The fields of a class of the package with their types."""
    found = typing.get_type_hints(kind, localns=Names())
    return {
        name: hint
        for name, hint in found.items()
        if name == name.lower()
        and not name.startswith("_")
        and get_origin(hint) is not typing.ClassVar
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Every object that a tour of all operations leaves behind, and all that events told."""
    receiver = Receiver()
    server = Server(tmp_path_factory.mktemp("stripe"), receiver.url)
    try:
        tour(server)
        until(lambda: not pending(server), "all webhooks are delivered")
        return collect(server, receiver)
    finally:
        server.stop()
        receiver.close()


def pending(server: Server) -> bool:
    return bool(server.client.v1.events.list({"delivery_success": False}).data)


def tour(server: Server) -> None:
    """Everything that can happen, once."""
    api = server.client.v1
    customer = api.customers.create({"name": "Ada", "email": "ada@example.org"}).id
    api.customers.update(customer, {"metadata": {"team": "1"}})
    server.pay(server.session())
    server.pay(server.session(customer=customer), number="4000 0000 0000 0002")
    api.checkout.sessions.expire(server.session().id)
    setup = api.checkout.sessions.create(
        {
            "mode": "setup",
            "currency": "usd",
            "customer": customer,
            "success_url": "http://127.0.0.1:9/",
            "cancel_url": "http://127.0.0.1:9/",
        }
    )
    httpx.post(f"{server.url}/c/pay/{setup.id}", data=GOOD_CARD)
    card = api.customers.payment_methods.list(customer).data[0].id
    for token in ("pm_card_visa", "pm_card_authenticationRequired", "pm_card_visa_chargeDeclined"):
        refused(
            lambda token=token: api.setup_intents.create(
                {
                    "customer": customer,
                    "payment_method": token,
                    "confirm": True,
                    "return_url": "http://127.0.0.1:9/",
                }
            )
        )
    api.setup_intents.cancel(api.setup_intents.create({"customer": customer}).id)
    for token in (
        "pm_card_visa",
        "pm_card_visa_chargeDeclined",
        "pm_card_authenticationRequired",
        "pm_card_createDispute",
        "pm_card_createDisputeInquiry",
        "pm_card_refundFail",
        "pm_card_pendingRefund",
    ):
        refused(lambda token=token: pay(server, token))
    api.payment_intents.create(
        {
            "amount": 5_00,
            "currency": "usd",
            "customer": customer,
            "payment_method": card,
            "off_session": True,
            "confirm": True,
        }
    )
    api.payment_intents.cancel(api.payment_intents.create({"amount": 500, "currency": "usd"}).id)
    for intent in api.payment_intents.list({"limit": 100}).data:
        if intent.status == "succeeded":
            refused(
                lambda intent=intent: api.refunds.create(
                    {"payment_intent": intent.id, "amount": 1_00}
                )
            )
    first, second = api.disputes.list({}).data
    api.disputes.update(first.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    api.disputes.update(second.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    api.payment_methods.detach(card)
    server.advance(3 * 24 * 3600)
    server.post("/_sandbox/payout", {})


def pay(server: Server, token: str) -> None:
    server.client.v1.payment_intents.create(
        {
            "amount": 5_00,
            "currency": "usd",
            "payment_method": token,
            "confirm": True,
            "return_url": "http://127.0.0.1:9/",
        }
    )


def refused(deed: Any) -> None:
    """A refusal is part of the tour."""
    try:
        deed()
    except (stripe.CardError, stripe.InvalidRequestError):
        return


def collect(server: Server, receiver: Receiver) -> dict[str, list[dict[str, Any]]]:
    api = server.client.v1
    lists: list[Any] = [
        api.balance_transactions, api.charges, api.checkout.sessions, api.customers, api.disputes,
        api.events, api.payment_intents, api.payment_methods, api.payouts, api.refunds,
        api.setup_intents,
    ]  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {"balance": [api.balance.retrieve().to_dict()]}
    for one in lists:
        for obj in one.list({"limit": 100}).auto_paging_iter():
            found.setdefault(obj.object, []).append(obj.to_dict())
    for event in receiver.events():
        told = event.to_dict()["data"]["object"]
        found[told["object"]].append(told)
    return found


def test_tour_meets_every_kind_of_object(seen: dict[str, list[dict[str, Any]]]) -> None:
    assert seen.keys() == CLASSES.keys()


@pytest.mark.parametrize("kind", CLASSES)
def test_object_is_what_the_package_says(seen: dict[str, list[dict[str, Any]]], kind: str) -> None:
    wrong = {wrong for found in seen[kind] for wrong in object_problems(found, CLASSES[kind], kind)}
    assert not wrong


def test_checker_finds_what_is_wrong() -> None:
    good = {"object": "balance", "livemode": False, "available": [], "pending": []}
    assert object_problems(good, stripe.Balance, "b") == []
    assert object_problems(good | {"livemode": "no"}, stripe.Balance, "b")
    assert object_problems(good | {"livmode": False}, stripe.Balance, "b")
    assert object_problems({"object": "balance"}, stripe.Balance, "b")
    assert object_problems(good | {"available": [{"amount": "1"}]}, stripe.Balance, "b")
