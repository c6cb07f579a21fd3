"""`python -m tests.chaos.books`: the ledger's invariants over a stack's own database."""

from __future__ import annotations

import django


def main() -> None:
    """Raises AssertionError where the books are wrong."""
    django.setup()
    from billing.models import BillingAccount
    from tests.billing.books import assert_books

    for account in BillingAccount.objects.all():
        assert_books(account)
    print("balanced")


if __name__ == "__main__":
    main()
