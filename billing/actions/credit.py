"""Credit given away, always with a reason."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Sum

from accounts.access import require_staff
from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.accounts import lock_account
from billing.actions.ledger import post_entry
from billing.actions.lots import incoming_postings, open_lot
from billing.choices import AccountCode, EntryKind, LotKind
from billing.models import BillingAccount, JournalEntry
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput
from portal.lib.money import MICROS, format_money

MAX_GRANT_MICROS = 10_000 * MICROS
MAX_REASON = 300
GIVEN = (LotKind.PROMOTIONAL, LotKind.GOODWILL)


@transaction.atomic
def grant_credit(
    actor: Actor,
    account: BillingAccount,
    *,
    amount_micros: int,
    reason: str,
    idempotency_key: str,
    kind: LotKind = LotKind.PROMOTIONAL,
    expires_at: datetime | None = None,
) -> JournalEntry:
    """Give the team credit, until it is used or `expires_at`; once for each key.

    Raises NotAllowed unless FastGPU or staff gives it, InvalidInput for a bad amount, reason, kind
    or end, Conflict when the key gave another amount or to another team.
    """
    _check(actor, amount_micros, reason)
    if kind not in GIVEN:
        raise InvalidInput.of(kind="Credit that is given is promotional or goodwill.")
    if expires_at is not None and expires_at <= clock.now():
        raise InvalidInput.of(expires_at="Choose a time to come, or none.")
    locked = lock_account(account.pk)
    key = f"grant:{idempotency_key}"
    known = JournalEntry.objects.filter(idempotency_key=key).first()
    if known is not None:
        return _same_grant(known, locked, amount_micros)
    postings, rest = incoming_postings(
        locked,
        source=AccountCode.PROMO_EXPENSE,
        kind=kind,
        amount_micros=amount_micros,
    )
    entry = post_entry(
        kind=EntryKind.GRANT,
        idempotency_key=key,
        effective_at=clock.now(),
        postings=postings,
        memo=reason.strip(),
        actor=str(actor.user or actor.kind),
    )
    open_lot(locked, entry, kind=kind, amount_micros=rest, expires_at=expires_at)
    audit.record(
        actor,
        "credit.granted",
        team=locked.team,
        object_id=str(entry.pk),
        amount_micros=amount_micros,
        memo=reason.strip(),
    )
    return entry


def _check(actor: Actor, amount_micros: int, reason: str) -> None:
    require_staff(actor)
    if not 0 < amount_micros <= MAX_GRANT_MICROS:
        raise InvalidInput.of(
            amount=f"Give more than $0 and at most {format_money(MAX_GRANT_MICROS)} at once."
        )
    if not reason.strip() or len(reason.strip()) > MAX_REASON or "\0" in reason:
        raise InvalidInput.of(reason=f"Say why, in at most {MAX_REASON} characters.")


def _same_grant(entry: JournalEntry, account: BillingAccount, amount_micros: int) -> JournalEntry:
    given = entry.postings.filter(account__code=AccountCode.PROMO_EXPENSE).aggregate(
        total=Sum("amount_micros")
    )["total"]
    to_them = entry.postings.filter(account__account=account).exists()
    if entry.kind != EntryKind.GRANT or given != amount_micros or not to_them:
        raise Conflict("This key was used to give other credit. Use a new one.")
    return entry
