"""A deed of money, lived in a process that may die at any step of it.

Besides the steps of the database there is one before and one after each call to Stripe.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
from django.conf import settings

from accounts.access import actor_of_user
from accounts.models import User
from billing.actions.auto_top_up import request
from billing.actions.payments import settle_session
from billing.actions.refunds import refund_payment
from billing.models import Payment
from tests.billing.sandbox.harness import SECRET_KEY
from tests.chaos import steps


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: `charge` an account, `settle` or `refund` a payment."""

    deed: str
    user: int
    account: int
    payment: int
    stripe: str
    folder: str
    die_at: int | None

    @property
    def trace(self) -> Path:
        """Where the steps are written."""
        return Path(self.folder) / "trace"

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


class SteppingAdapter(requests.adapters.HTTPAdapter):
    """HTTP with a step before and after each call."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """One call."""
        name = f"{request.method} {request.path_url.partition('?')[0]}"
        steps.reach(f"before {name}")
        answer = super().send(request, **kwargs)
        steps.reach(f"after {name}")
        return answer


def live(order: Order) -> None:
    """Do it to the end, or to the step at which to die."""
    counted = steps.Steps(die_at=order.die_at, trace=order.trace)
    settings.STRIPE_API_BASE, settings.STRIPE_SECRET_KEY = order.stripe, SECRET_KEY
    requests.Session.get_adapter = lambda self, url: SteppingAdapter()  # type: ignore[method-assign]
    actor = actor_of_user(User.objects.get(pk=order.user))
    steps.arm(counted)
    if order.deed == "charge":
        request(order.account)
    elif order.deed == "settle":
        settle_session(Payment.objects.get(pk=order.payment).checkout_session_id or "")
    else:
        refund_payment(actor, Payment.objects.get(pk=order.payment))
    counted.write()
