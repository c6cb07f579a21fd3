"""/webhooks/stripe/: deliveries from Stripe."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.actions.webhooks import names_unknown
from billing.choices import WebhookStatus
from billing.gateways.webhooks import receive
from portal.lib.errors import PortalError
from portal.lib.rest import error_body
from portal.lib.tasks import hint_on_commit


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Verify, store, acknowledge; what it means is worked out after the answer."""
    try:
        event = receive(request.body, request.headers.get("Stripe-Signature", ""))
    except PortalError as error:
        return JsonResponse(error_body(error.code, error.message), status=error.http_status)
    if event.status in {WebhookStatus.RECEIVED, WebhookStatus.FAILED}:
        hint_on_commit("billing.tasks.process_webhooks")
    if names_unknown(event):
        # Money may be on its way to nobody: Stripe is to tell us again, and staff to look.
        message = "It names something of ours that does not exist."
        return JsonResponse(error_body("unknown_object", message), status=503)
    return JsonResponse({"received": True})
