"""What the invoice of a month says of usage: the same rows for the draft and the month close."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from django.db import connection
from django.db.models import prefetch_related_objects

from billing.choices import InvoiceKind, InvoiceStatus, LineKind
from billing.models import BillingAccount, Invoice, InvoiceLine

# Time that begins in an earlier month than it is counted in corrects that month. A credit for a
# fault of ours takes back what a line before, of this month or of an earlier one, has charged.
_ROWS = """
SELECT r.account_id,
    CASE WHEN least(r.segment_start, r.segment_end) < r.period_start
        THEN 'adjustment' ELSE 'usage' END AS kind,
    r.interval_id, i.resource_label AS label, s.label AS sku_label, i.quantity,
    p.unit_micros, p.unit_hours, r.segment_start AS started_at, r.segment_end AS ended_at,
    round(1000000 * extract(epoch FROM r.segment_end - r.segment_start))::bigint AS microseconds,
    r.amount_micros, (use.busy_ppm / use.units)::int AS utilization_ppm,
    -- Never more than the amount: the last second that was measured may lie half outside it.
    CASE WHEN use.units > 0 THEN least(r.amount_micros, div(
        use.idle * p.unit_micros::numeric, p.unit_hours * 3600))::bigint END AS idle_micros
FROM billing_ratedusage r
JOIN billing_usageinterval i ON i.id = r.interval_id
JOIN billing_sku s ON s.id = i.sku_id
JOIN billing_price p ON p.id = i.price_id
LEFT JOIN LATERAL (
    SELECT sum(m.unit_seconds) AS units, sum(m.busy_ppm_seconds) AS busy_ppm,
        sum(m.idle_seconds) AS idle
    FROM billing_usagemeasure m
    WHERE m.interval_id = i.id AND m.hour > r.segment_start - interval '1 hour'
        AND m.hour < r.segment_end
) AS use ON NOT r.is_back
WHERE r.account_id = ANY(%(accounts)s) AND r.period_start = %(month)s
    AND r.segment_end <> r.segment_start
UNION ALL
SELECT c.account_id, 'service', c.interval_id, c.words, s.label, i.quantity,
    p.unit_micros, p.unit_hours, i.started_at, i.ended_at, -c.microseconds, -c.amount_micros,
    NULL, NULL
FROM billing_usagecredit c
JOIN billing_usageinterval i ON i.id = c.interval_id
JOIN billing_sku s ON s.id = i.sku_id
JOIN billing_price p ON p.id = i.price_id
WHERE c.account_id = ANY(%(accounts)s) AND c.period_start = %(month)s
"""
_COLUMNS = (
    "kind, interval_id, label, sku_label, quantity, unit_micros, unit_hours, started_at, ended_at, "
    "microseconds, amount_micros, utilization_ppm, idle_micros"
)
_ORDER = "array_position(ARRAY['usage', 'adjustment', 'service'], kind), started_at, interval_id"

_WRITE = f"""
INSERT INTO billing_invoiceline (invoice_id, {_COLUMNS})
SELECT draft_id, {_COLUMNS}
FROM ({_ROWS}) AS rows
-- Arrays, whose length the planner sees: of drafts made a moment ago it thinks there are none, and
-- would read all rows again for each.
JOIN unnest(%(accounts)s::bigint[], %(drafts)s::bigint[]) AS draft (account_id, draft_id)
    USING (account_id)
ORDER BY draft_id, {_ORDER}
"""  # noqa: S608  # constants of this module
_READ = f"SELECT {_COLUMNS} FROM ({_ROWS}) AS rows ORDER BY {_ORDER}"  # noqa: S608
_SUMS = f"""
SELECT kind, count(*), sum(amount_micros)::bigint FROM ({_ROWS}) AS rows GROUP BY kind
"""  # noqa: S608


def write_lines(accounts: Collection[BillingAccount], month: datetime) -> None:
    """Copy the rows of `month` into the drafts of `accounts`, in one statement."""
    drafts = dict(
        Invoice.objects.filter(
            kind=InvoiceKind.USAGE,
            status=InvoiceStatus.DRAFT,
            period_start=month,
            account__in=[account.pk for account in accounts],
        ).values_list("account_id", "pk")
    )
    values: dict[str, list[int] | datetime] = {
        "accounts": list(drafts),
        "drafts": list(drafts.values()),
        "month": month,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, values)


def draft_lines(
    invoice: Invoice, *, offset: int = 0, limit: int | None = None
) -> list[InvoiceLine]:
    """The lines a draft would have if the month were closed now, with their intervals; unsaved."""
    assert invoice.period_start is not None  # noqa: S101  # usage has a period
    values: dict[str, list[int] | datetime] = {
        "accounts": [invoice.account_id],
        "month": invoice.period_start,
    }
    page = f" OFFSET {offset:d}" + ("" if limit is None else f" LIMIT {limit:d}")
    with connection.cursor() as cursor:
        cursor.execute(_READ + page, values)
        rows = cursor.fetchall()
    names = _COLUMNS.split(", ")
    lines = [InvoiceLine(invoice=invoice, **dict(zip(names, row, strict=True))) for row in rows]
    prefetch_related_objects(lines, "interval")
    return lines


def draft_sums(invoice: Invoice) -> dict[LineKind, tuple[int, int]]:
    """How many lines of each kind a draft has, and their sum in micro-units."""
    assert invoice.period_start is not None  # noqa: S101  # usage has a period
    values: dict[str, list[int] | datetime] = {
        "accounts": [invoice.account_id],
        "month": invoice.period_start,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, values)
        return {LineKind(kind): (count, total) for kind, count, total in cursor.fetchall()}


def lines_of(invoice: Invoice) -> Iterator[InvoiceLine]:
    """All lines in their order, streamed, with what they are lines of."""
    found = InvoiceLine.objects.filter(invoice=invoice).order_by("pk")
    return found.select_related("interval").iterator(chunk_size=2000)
