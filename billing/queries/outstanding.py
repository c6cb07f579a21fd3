"""What of invoices is still to be paid. Money that comes in pays the oldest debt first."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connection

# What is owed for months that are still open is the newest debt: it is paid last. What is left of
# the debt belongs to the invoices, the newest first.
_OUTSTANDING = """
WITH unpaid AS (
    SELECT v.id, v.account_id, v.due_micros, sum(v.due_micros) OVER (
        PARTITION BY v.account_id ORDER BY v.period_start DESC) - v.due_micros AS newer
    FROM billing_invoice v WHERE v.status = 'final' AND v.account_id = ANY(%(accounts)s)
), owed AS (
    SELECT a.id AS account_id,
        coalesce((SELECT sum(l.balance_micros) FROM billing_ledgeraccount l
            WHERE l.account_id = a.id AND l.code = 'accounts_receivable'), 0)
        - coalesce((SELECT sum(r.debt_micros) FROM billing_ratedusage r
            WHERE r.account_id = a.id AND r.period_start >= a.closed_until), 0) AS amount
    FROM billing_billingaccount a
    WHERE a.id IN (SELECT account_id FROM unpaid)
)
SELECT u.id, greatest(0, least(u.due_micros, o.amount - u.newer))::bigint
FROM unpaid u JOIN owed o USING (account_id)
"""


def outstanding(account_ids: Collection[int]) -> dict[int, int]:
    """Micro-units still owed on each open invoice of these accounts, by invoice."""
    with connection.cursor() as cursor:
        cursor.execute(_OUTSTANDING, {"accounts": list(account_ids)})
        return dict(cursor.fetchall())
