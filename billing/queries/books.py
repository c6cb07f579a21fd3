"""Whether the books agree with each other: cached sums against what they are the sums of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection

from billing.choices import BreakKind


@dataclass(frozen=True, slots=True)
class Difference:
    """Two books that disagree on `subject`."""

    kind: BreakKind
    subject: str
    expected: str
    actual: str


_BALANCES = """
SELECT a.code || ' ' || a.currency || coalesce(' of account ' || a.account_id, ''),
    coalesce(sum(p.amount_micros), 0), a.balance_micros
FROM billing_ledgeraccount a LEFT JOIN billing_posting p ON p.account_id = a.id
GROUP BY a.id HAVING coalesce(sum(p.amount_micros), 0) <> a.balance_micros
"""
_SUM = """
SELECT currency, 0, sum(amount_micros) FROM billing_posting
GROUP BY currency HAVING sum(amount_micros) <> 0
"""
_LOTS = """
WITH credit AS (
    SELECT account_id, -sum(balance_micros) AS total FROM billing_ledgeraccount
    WHERE code IN ('customer_credit', 'promo_credit') AND account_id IS NOT NULL GROUP BY 1
), lots AS (
    SELECT account_id, sum(remaining_micros) AS total FROM billing_creditlot GROUP BY 1
)
SELECT 'account ' || coalesce(c.account_id, l.account_id),
    coalesce(c.total, 0), coalesce(l.total, 0)
FROM credit c FULL JOIN lots l USING (account_id)
WHERE coalesce(c.total, 0) <> coalesce(l.total, 0)
"""
_CONSUMED = """
SELECT 'lot ' || l.id, l.amount_micros - coalesce(sum(c.amount_micros), 0), l.remaining_micros
FROM billing_creditlot l LEFT JOIN billing_lotconsumption c ON c.lot_id = l.id
GROUP BY l.id HAVING l.amount_micros - coalesce(sum(c.amount_micros), 0) <> l.remaining_micros
"""
_RATED = """
SELECT 'interval ' || i.id, i.billed_micros, coalesce(sum(r.amount_micros), 0)
FROM billing_usageinterval i LEFT JOIN billing_ratedusage r ON r.interval_id = i.id
GROUP BY i.id HAVING i.billed_micros <> coalesce(sum(r.amount_micros), 0)
"""
# I11 over months that are closed: what is rated less what is credited is what the lines say.
_INVOICED = """
WITH posted AS (
    SELECT account_id, period_start, sum(amount) AS total FROM (
        SELECT account_id, period_start, amount_micros AS amount FROM billing_ratedusage
        UNION ALL SELECT account_id, period_start, -amount_micros FROM billing_usagecredit
    ) AS rows GROUP BY 1, 2
), said AS (
    SELECT v.account_id, v.period_start, sum(l.amount_micros) AS total
    FROM billing_invoice v JOIN billing_invoiceline l ON l.invoice_id = v.id
    WHERE v.kind = 'usage' AND v.status <> 'draft' AND l.kind <> 'rounding' GROUP BY 1, 2
)
SELECT 'account ' || coalesce(p.account_id, s.account_id) || ', '
        || to_char(coalesce(p.period_start, s.period_start) AT TIME ZONE 'UTC', 'YYYY-MM'),
    coalesce(p.total, 0), coalesce(s.total, 0)
FROM posted p FULL JOIN said s USING (account_id, period_start)
JOIN billing_billingaccount a ON a.id = account_id
WHERE period_start < a.closed_until AND coalesce(p.total, 0) <> coalesce(s.total, 0)
"""
# I13: as many documents as numbers were taken, and the last one is the one before the next.
_NUMBERS = """
SELECT 'series ' || s.prefix, s.next_number - 1, count(d.number)
FROM billing_invoiceseries s LEFT JOIN (
    SELECT series_id, number FROM billing_invoice WHERE number IS NOT NULL
    UNION ALL SELECT series_id, number FROM billing_creditnote
) AS d ON d.series_id = s.id
GROUP BY s.id
HAVING count(d.number) <> s.next_number - 1 OR coalesce(max(d.number), 0) <> s.next_number - 1
"""
_CHECKS = (
    (BreakKind.LEDGER_BALANCE, _BALANCES),
    (BreakKind.LEDGER_SUM, _SUM),
    (BreakKind.LOTS, _LOTS),
    (BreakKind.LOTS, _CONSUMED),
    (BreakKind.USAGE, _RATED),
    (BreakKind.INVOICE, _INVOICED),
    (BreakKind.INVOICE, _NUMBERS),
)


def differences() -> Iterator[Difference]:
    """I3, I6, I11, I13 and I16 over all accounts, each in one statement."""
    for kind, sql in _CHECKS:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            for subject, expected, actual in cursor.fetchall():
                yield Difference(kind, str(subject), str(expected), str(actual))
