"""Disputes: the cardholder's bank takes a charge back until the evidence is judged."""

from __future__ import annotations

from typing import Literal

from billing.sandbox import balance
from billing.sandbox.box import Box
from billing.sandbox.errors import InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.reading import expand, fetch
from billing.sandbox.store import Doc, new_id

_ANSWER_WITHIN_S = 7 * 24 * 3600
_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy",
    "cancellation_policy_disclosure", "cancellation_rebuttal", "customer_communication",
    "customer_email_address", "customer_name", "customer_purchase_ip", "customer_signature",
    "duplicate_charge_documentation", "duplicate_charge_explanation", "duplicate_charge_id",
    "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address",
    "shipping_carrier", "shipping_date", "shipping_documentation", "shipping_tracking_number",
    "uncategorized_file", "uncategorized_text",
)  # fmt: skip
_OPEN = {"needs_response", "warning_needs_response"}


def open_dispute(box: Box, charge: Doc, kind: Literal["fraudulent", "inquiry"]) -> Doc:
    """A charge just made is disputed. An inquiry takes no money."""
    is_inquiry = kind == "inquiry"
    dispute = box.store.add(_blank(box, charge, is_inquiry=is_inquiry))
    box.store.save(charge | {"disputed": True})
    box.events.emit("charge.dispute.created", dispute)
    if is_inquiry:
        return dispute
    taken = balance.record_dispute(box, dispute)
    dispute = box.store.save(dispute | {"balance_transactions": [taken]})
    box.events.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def update(box: Box, params: Params, dispute_id: str) -> Doc:
    """POST /v1/disputes/{id}: `winning_evidence` wins and `losing_evidence` loses at once."""
    dispute = fetch(box, "dispute", dispute_id)
    evidence = params.inner("evidence")
    sent = {name: value for name in _EVIDENCE if (value := evidence.text(name, limit=150_000))}
    metadata = params.metadata(dispute["metadata"])
    submit = params.boolean("submit", default=True)
    paths = params.texts("expand")
    params.finish()
    _check_open(dispute)
    changed = dispute | {"evidence": dispute["evidence"] | sent, "metadata": metadata}
    changed["evidence_details"] = dispute["evidence_details"] | {
        "has_evidence": bool(sent),
        "submission_count": dispute["evidence_details"]["submission_count"] + int(submit),
        "submission_method": "manual" if submit else "not_submitted",
    }
    box.events.emit("charge.dispute.updated", box.store.save(changed))
    verdict = sent.get("uncategorized_text")
    if submit and verdict == "winning_evidence":
        changed = _win(box, changed)
    elif submit and verdict == "losing_evidence":
        changed = _end(box, changed, "lost")
    return expand(box, changed, paths)


def close(box: Box, params: Params, dispute_id: str) -> Doc:
    """POST /v1/disputes/{id}/close: accept it."""
    paths = params.texts("expand")
    params.finish()
    dispute = fetch(box, "dispute", dispute_id)
    _check_open(dispute)
    return expand(box, _end(box, dispute, "lost"), paths)


def _check_open(dispute: Doc) -> None:
    if dispute["status"] not in _OPEN:
        raise InvalidRequest(f"This dispute is closed: its status is {dispute['status']}.")


def _win(box: Box, dispute: Doc) -> Doc:
    if dispute["balance_transactions"]:
        back = balance.record_dispute_won(box, dispute)
        both = [*dispute["balance_transactions"], back]
        dispute = box.store.save(dispute | {"balance_transactions": both})
        box.events.emit("charge.dispute.funds_reinstated", dispute)
    return _end(box, dispute, "won")


def _end(box: Box, dispute: Doc, verdict: str) -> Doc:
    is_inquiry = dispute["status"].startswith("warning_")
    status = "warning_closed" if is_inquiry else verdict
    closed = box.store.save(dispute | {"status": status, "is_charge_refundable": is_inquiry})
    box.events.emit("charge.dispute.closed", closed)
    return closed


def _blank(box: Box, charge: Doc, *, is_inquiry: bool) -> Doc:
    brand = charge["payment_method_details"]["card"]["brand"]
    return {
        "id": new_id("du"),
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": box.clock.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(_EVIDENCE) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": box.clock.now() + _ANSWER_WITHIN_S,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": is_inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": brand,
                "case_type": "inquiry" if is_inquiry else "chargeback",
                "network": brand,
                "network_reason_code": "10.4",
            },
            "type": "card",
        },
        "reason": "general" if is_inquiry else "fraudulent",
        "status": "warning_needs_response" if is_inquiry else "needs_response",
    }
