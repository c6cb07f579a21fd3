"""The payer's account: made once, locked first."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from accounts.models import Team
from billing.models import BillingAccount, PriceBook, UsageInterval


def ensure_account(team: Team) -> BillingAccount:
    """The billing account of `team`, made with the default price book when there is none."""
    account = BillingAccount.objects.filter(team=team).first()
    if account is not None:
        return account
    with transaction.atomic():
        book = default_book()
        account, _ = BillingAccount.objects.get_or_create(
            team=team, defaults={"price_book": book, "currency": book.currency}
        )
    return account


def lock_account(account_id: int) -> BillingAccount:
    """The account, locked until the caller's transaction ends.

    Whatever moves the team's money locks this row before any other of the team.
    """
    return BillingAccount.objects.select_for_update(no_key=True).get(pk=account_id)


def lock_accounts(account_ids: Collection[int]) -> list[BillingAccount]:
    """`lock_account` for many, in the one order in which all are locked."""
    rows = BillingAccount.objects.select_for_update(no_key=True).filter(pk__in=account_ids)
    return list(rows.order_by("pk"))


def lock_known(account: BillingAccount) -> None:
    """`lock_account` for one that was read before; its columns stay as they were read then."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM billing_billingaccount WHERE id = %s FOR NO KEY UPDATE", [account.pk]
        )


def lock_payer(resource_kind: str, resource_id: int) -> BillingAccount | None:
    """`lock_account` for whoever pays for a resource; None for one that was never metered."""
    return (
        BillingAccount.objects.select_for_update(no_key=True, of=("self",))
        .filter(
            Exists(
                UsageInterval.objects.filter(
                    account=OuterRef("pk"), resource_kind=resource_kind, resource_id=resource_id
                )
            )
        )
        .first()
    )


def default_book() -> PriceBook:
    """The book of list prices, made when there is none."""
    book, _ = PriceBook.objects.get_or_create(
        is_default=True, defaults={"name": "List", "currency": settings.CURRENCY}
    )
    return book
