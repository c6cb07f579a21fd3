"""/billing/payments/: what was paid, what waits, what can go back."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.access import require_owner
from accounts.choices import Role
from accounts.forms import add_refusal
from accounts.pages.base import PortalRequest, signed_in
from billing.access import account_of, payment_for
from billing.actions.confirming import confirm_payment
from billing.actions.payments import settle_intent
from billing.actions.refunds import refund_payment
from billing.choices import PaymentStatus, RefundStatus
from billing.forms import RefundForm
from billing.models import Payment
from billing.queries.refunds import refundable_cents
from portal.lib.errors import Conflict, InvalidInput, Unavailable
from portal.lib.money import from_cents

PAGE_SIZE = 25
TONES = {
    PaymentStatus.SUCCEEDED: "ok",
    PaymentStatus.SUBMITTED: "warn",
    PaymentStatus.PROCESSING: "info",
    PaymentStatus.REQUIRES_ACTION: "warn",
    PaymentStatus.FAILED: "bad",
}


@require_safe
@signed_in
def payments(request: PortalRequest) -> HttpResponse:
    """All of them, newest first."""
    found = account_of(request.actor).payments.exclude(status=PaymentStatus.DRAFT)
    page = Paginator(found.select_related("card").order_by("-pk"), PAGE_SIZE).get_page(
        request.GET.get("page", "1")
    )
    rows = [(one, TONES.get(PaymentStatus(one.status), "")) for one in page]
    return render(request, "billing/payments.html", {"page": page, "rows": rows})


@require_safe
@signed_in
def payment(request: PortalRequest, payment_id: str) -> HttpResponse:
    """One, with its refunds; who comes back from their bank sees at once what came of it."""
    found = payment_for(request.actor, payment_id)
    if "payment_intent" in request.GET and found.payment_intent_id:
        try:
            found = settle_intent(found.payment_intent_id)
        except Unavailable as error:
            messages.error(request, error.message)
    return _page(request, found, None, 200)


@require_POST
@signed_in
def refund(request: PortalRequest, payment_id: str) -> HttpResponse:
    """Send unused credit back to the card."""
    found = payment_for(request.actor, payment_id)
    require_owner(request.actor)
    form = RefundForm(request.POST)
    if not form.is_valid():
        return _page(request, found, form, 400)
    try:
        made = refund_payment(
            request.actor,
            found,
            net_cents=form.amount_cents,
            reason=form.cleaned_data["reason"],
        )
    except InvalidInput as error:
        add_refusal(form, error)
        return _page(request, found, form, 400)
    except (Conflict, Unavailable) as error:
        messages.error(request, error.message)
    else:
        _tell(request, RefundStatus(made.status))
    return redirect("payment", found.public_id)


@require_POST
@signed_in
def confirm(request: PortalRequest, payment_id: str) -> HttpResponse:
    """Leads to the bank's question."""
    found = payment_for(request.actor, payment_id)
    back = settings.SITE_URL + reverse("payment", args=[found.public_id])
    try:
        url = confirm_payment(request.actor, found, return_url=back)
    except (Conflict, Unavailable) as error:
        messages.error(request, error.message)
        url = None
    return HttpResponseRedirect(url or back, status=303)


def _page(
    request: PortalRequest, found: Payment, form: RefundForm | None, status: int
) -> HttpResponse:
    left = refundable_cents(found)
    context = {
        "payment": found,
        "tone": TONES.get(PaymentStatus(found.status), ""),
        "refunds": found.refunds.order_by("-pk"),
        "disputes": found.disputes.order_by("-pk"),
        "left_micros": from_cents(left),
        "is_owner": request.actor.role == Role.OWNER,
        "form": form or RefundForm(initial={"amount": f"{left / 100:.2f}"}),
        "needs_owner": found.status == PaymentStatus.REQUIRES_ACTION,
    }
    response = render(request, "billing/payment.html", context, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _tell(request: PortalRequest, status: RefundStatus) -> None:
    if status == RefundStatus.FAILED:
        messages.error(request, "Stripe refused the refund. The credit is yours again.")
    elif status == RefundStatus.SUCCEEDED:
        messages.success(request, "Refunded. It is on the card in 5 to 10 days.")
    else:
        messages.success(request, "The refund is on its way.")
