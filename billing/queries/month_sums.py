"""What the months of many accounts came to, in one statement."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing.choices import USAGE_KINDS


@dataclass(frozen=True, slots=True)
class MonthSums:
    """Micro-units of one account and month.

    `amount_micros` is the sum of its lines, `debt_micros` what of it no credit covered,
    `given_micros` what of it promotional and goodwill credit paid. `receivable_micros` is what the
    account owes in all, now; `later_debt_micros` what of that came after the month.
    """

    amount_micros: int = 0
    debt_micros: int = 0
    given_micros: int = 0
    receivable_micros: int = 0
    later_debt_micros: int = 0


_SUMS = """
SELECT a.id,
    coalesce(rated.amount, 0) - coalesce(credited.amount, 0), coalesce(rated.debt, 0),
    coalesce(given.amount, 0), coalesce(owed.amount, 0), coalesce(rated.later_debt, 0)
FROM billing_billingaccount a
LEFT JOIN (
    SELECT account_id,
        sum(amount_micros) FILTER (WHERE period_start = %(start)s) AS amount,
        sum(debt_micros) FILTER (WHERE period_start = %(start)s) AS debt,
        sum(debt_micros) FILTER (WHERE period_start >= %(end)s) AS later_debt
    FROM billing_ratedusage
    WHERE account_id = ANY(%(accounts)s) AND period_start >= %(start)s GROUP BY 1
) AS rated ON rated.account_id = a.id
LEFT JOIN (
    SELECT account_id, sum(amount_micros) AS amount FROM billing_usagecredit
    WHERE account_id = ANY(%(accounts)s) AND period_start = %(start)s GROUP BY 1
) AS credited ON credited.account_id = a.id
LEFT JOIN (
    SELECT l.account_id, sum(c.amount_micros) AS amount
    FROM billing_creditlot l
    JOIN billing_lotconsumption c ON c.lot_id = l.id
    JOIN billing_journalentry e ON e.id = c.entry_id
    WHERE l.account_id = ANY(%(accounts)s) AND l.kind <> 'purchased' AND e.kind = ANY(%(kinds)s)
        AND e.effective_at >= %(start)s AND e.effective_at < %(end)s
    GROUP BY 1
) AS given ON given.account_id = a.id
LEFT JOIN (
    SELECT account_id, sum(balance_micros) AS amount FROM billing_ledgeraccount
    WHERE account_id = ANY(%(accounts)s) AND code = 'accounts_receivable' GROUP BY 1
) AS owed ON owed.account_id = a.id
WHERE a.id = ANY(%(accounts)s)
"""


def month_sums(
    account_ids: Collection[int], start: datetime, end: datetime
) -> dict[int, MonthSums]:
    """The sums of `[start, end)`, one month, for each account."""
    values: dict[str, list[int] | list[str] | datetime] = {
        "accounts": list(account_ids),
        "start": start,
        "end": end,
        "kinds": [kind.value for kind in USAGE_KINDS],
    }
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, values)
        return {key: MonthSums(*map(int, sums)) for key, *sums in cursor.fetchall()}
