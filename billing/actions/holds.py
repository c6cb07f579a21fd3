"""Funds set aside for work that is about to be paid for."""

from __future__ import annotations

from django.db import connection, transaction

from billing.actions.accounts import lock_known
from billing.labels import NO_LABELS, CostLabels
from billing.models import BillingAccount, Hold
from billing.queries.funds import funds_of
from portal.lib import clock
from portal.lib.errors import Conflict, InsufficientFunds
from portal.lib.money import MICROS_PER_CENT, format_money


@transaction.atomic(savepoint=False)
def take_hold(
    account: BillingAccount,
    *,
    resource_kind: str,
    resource_id: int,
    amount_micros: int,
    labels: CostLabels = NO_LABELS,
) -> Hold:
    """Set `amount_micros` aside for a resource. Locks the account, so that no two overspend.

    A hold the resource has already is returned as it is; raises Conflict when it is of another
    amount or team, InsufficientFunds when less is available.
    """
    lock_known(account)
    available = funds_of(account).available_micros
    hold = Hold(
        account=account,
        resource_kind=resource_kind,
        resource_id=resource_id,
        amount_micros=amount_micros,
        project=labels.project,
        member_id=labels.member_id,
        api_key_id=labels.api_key_id,
    )
    if amount_micros <= available and _insert(hold):
        return hold
    known = Hold.objects.filter(
        resource_kind=resource_kind, resource_id=resource_id, released_at__isnull=True
    ).first()
    if known is None:
        raise InsufficientFunds(_sentence(available, amount_micros))
    if (known.account_id, known.amount_micros) != (account.pk, amount_micros):
        raise Conflict("Other funds are held for this already.")
    return known


# In SQL, because Django's `ignore_conflicts` does not tell whether the row is new.
_INSERT = """
INSERT INTO billing_hold (
    account_id, resource_kind, resource_id, amount_micros, created_at, project, member_id,
    api_key_id
)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (resource_kind, resource_id) WHERE released_at IS NULL DO NOTHING
RETURNING id
"""


def _insert(hold: Hold) -> bool:
    """Write the hold unless its resource has one."""
    columns = (
        "account_id", "resource_kind", "resource_id", "amount_micros", "created_at", "project",
        "member_id", "api_key_id",
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [getattr(hold, column) for column in columns])
        row = cursor.fetchone()
    if row is None:
        return False
    (hold.pk,) = row
    hold._state.adding = False
    return True


def release_hold(*, resource_kind: str, resource_id: int) -> None:
    """Give back what is held for a resource; nothing where nothing is.

    Without the account's lock: who counts at the same time sees less available, never more.
    """
    Hold.objects.filter(
        resource_kind=resource_kind, resource_id=resource_id, released_at__isnull=True
    ).update(released_at=clock.now())


def _sentence(available: int, needed: int) -> str:
    # The need is rounded up and the rest down, so that topping up what is named is enough.
    need = -(-needed // MICROS_PER_CENT) * MICROS_PER_CENT
    have = available // MICROS_PER_CENT * MICROS_PER_CENT
    return (
        f"This needs {format_money(need)} set aside and {format_money(have)} is available. "
        f"Add {format_money(need - have)} or more of credit, or ask for less."
    )
