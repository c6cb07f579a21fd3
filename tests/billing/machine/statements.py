"""What must be true of the books, as statements that find what is not."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

# The cost of an interval `i` at the price `p`, rounded down once, up to an instant.
_COST = """div(p.unit_micros::numeric * i.quantity
    * round(1000000 * extract(epoch FROM {} - i.started_at)), p.unit_hours * 3600000000::numeric)"""
_BETWEEN = "round(1000000 * extract(epoch FROM {} - {}))"
_USAGE = "('usage', 'reversal', 'service_credit')"

# Each finds the rows that break it; the key begins with the number of the invariant.
STATEMENTS = {
    "I1 entry that is no balance of two or more": """
        SELECT e.id FROM billing_journalentry e LEFT JOIN billing_posting p ON p.entry_id = e.id
        GROUP BY e.id, p.currency HAVING sum(p.amount_micros) IS DISTINCT FROM 0 OR count(*) < 2""",
    "I5 line on the wrong side of zero": """
        SELECT id FROM billing_ledgeraccount
        WHERE (code IN ('customer_credit', 'promo_credit', 'refunds_pending')
            AND balance_micros > 0)
        OR (code IN ('accounts_receivable', 'dispute_receivable') AND balance_micros < 0)""",
    "I7 intervals that overlap": """
        SELECT a.id FROM billing_usageinterval a JOIN billing_usageinterval b
        ON a.id < b.id AND (a.resource_kind, a.resource_id, a.sku_id)
            = (b.resource_kind, b.resource_id, b.sku_id)
        AND tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)""",
    "I7 interval that ends before it starts or is rated where nobody saw it": """
        SELECT id FROM billing_usageinterval
        WHERE ended_at < started_at OR rated_until < started_at OR rated_until > billable_until
            OR ended_at > billable_until OR ended_at <> rated_until""",
    "I8 interval not billed as in one go": f"""
        SELECT i.id FROM billing_usageinterval i JOIN billing_price p ON p.id = i.price_id
        WHERE i.billed_micros <> {_COST.format("i.rated_until")}""",
    "I9 slices that lose or make time or money": f"""
        SELECT i.id FROM billing_usageinterval i LEFT JOIN billing_ratedusage r
            ON r.interval_id = i.id
        GROUP BY i.id
        HAVING coalesce(sum({_BETWEEN.format("r.segment_end", "r.segment_start")}), 0)
                <> {_BETWEEN.format("i.rated_until", "i.started_at")}
            OR coalesce(sum(r.amount_micros), 0) <> i.billed_micros""",
    "I9 slice that is not the cost between its ends": f"""
        SELECT r.id FROM billing_ratedusage r JOIN billing_usageinterval i ON i.id = r.interval_id
        JOIN billing_price p ON p.id = i.price_id
        WHERE r.amount_micros <>
            {_COST.format("r.segment_end")} - {_COST.format("r.segment_start")}""",
    "I10 list prices that leave a gap or overlap": """
        SELECT id FROM (SELECT p.id, upper(p.valid_during) AS upper, lead(lower(p.valid_during))
            OVER (PARTITION BY p.sku_id ORDER BY lower(p.valid_during)) AS next
        FROM billing_price p JOIN billing_pricebook b ON b.id = p.book_id WHERE b.is_default
        ) AS prices WHERE upper IS DISTINCT FROM next""",
    "I11 month that did not earn what was rated less what was given back": f"""
        SELECT NULL::bigint FROM (
            SELECT account_id, period_start AS at, amount_micros FROM billing_ratedusage
            UNION ALL SELECT account_id, period_start, -amount_micros FROM billing_usagecredit
            UNION ALL SELECT (SELECT max(t.account_id) FROM billing_posting q
                JOIN billing_ledgeraccount t ON t.id = q.account_id WHERE q.entry_id = e.id),
                e.effective_at, p.amount_micros
            FROM billing_posting p JOIN billing_journalentry e ON e.id = p.entry_id
            JOIN billing_ledgeraccount a ON a.id = p.account_id
            WHERE a.code = 'revenue_usage' AND e.kind IN {_USAGE}
        ) AS rows GROUP BY account_id, date_trunc('month', at AT TIME ZONE 'UTC')
        HAVING sum(amount_micros) <> 0""",
    "I12 invoice that does not add up": """
        SELECT v.id FROM billing_invoice v WHERE v.status <> 'draft' AND (
            v.net_micros <> (SELECT coalesce(sum(amount_micros), 0) FROM billing_invoiceline
                WHERE invoice_id = v.id)
            OR (v.net_micros, v.tax_micros) <> (
                SELECT coalesce(sum(base_micros), 0), coalesce(sum(tax_micros), 0)
                FROM billing_invoicetax WHERE invoice_id = v.id)
            OR v.net_micros + v.tax_micros <> v.total_micros
            OR v.credit_micros + v.due_micros <> v.total_micros)""",
    "I12 tax that is not the rate of its base, rounded once": """
        SELECT id FROM billing_invoicetax WHERE tax_micros
            <> round(base_micros::numeric * rate_ppm / 1000000 / 10000) * 10000""",
    "I12 credit notes above their invoice": """
        SELECT v.id FROM billing_invoice v JOIN billing_creditnote n ON n.invoice_id = v.id
        LEFT JOIN billing_refund r ON r.id = n.refund_id
        WHERE r.status IS DISTINCT FROM 'failed'
        GROUP BY v.id HAVING sum(n.net_micros) > v.net_micros
            OR sum(n.tax_micros) > greatest(0, v.tax_micros)""",
    "I12 credit notes above a line": """
        SELECT l.id FROM billing_invoiceline l
        JOIN billing_creditnoteline c ON c.invoice_line_id = l.id
        JOIN billing_creditnote n ON n.id = c.credit_note_id
        LEFT JOIN billing_refund r ON r.id = n.refund_id
        WHERE r.status IS DISTINCT FROM 'failed' GROUP BY l.id
        HAVING abs(sum(c.amount_micros)) > abs(l.amount_micros)
            OR sum(c.amount_micros) * sign(l.amount_micros) < 0""",
    "I14 payment that was not credited just once": """
        SELECT p.id FROM billing_payment p
        LEFT JOIN billing_journalentry e ON e.id = p.entry_id
            AND e.idempotency_key = 'top_up:' || p.payment_intent_id
            AND e.kind IN ('top_up', 'invoice_payment')
        WHERE (p.status = 'succeeded') <> (e.id IS NOT NULL)""",
    "I14 credit that nobody paid": """
        SELECT e.id FROM billing_journalentry e LEFT JOIN billing_payment p
            ON p.entry_id = e.id AND p.status = 'succeeded'
        WHERE e.kind IN ('top_up', 'invoice_payment')
        GROUP BY e.id HAVING count(p.id) <> 1""",
    "I15 refunds above what was paid": """
        SELECT p.id FROM billing_payment p
        LEFT JOIN billing_refund r ON r.payment_id = p.id AND r.status <> 'failed'
        GROUP BY p.id HAVING p.refunded_micros <> coalesce(sum(r.amount_micros), 0)
            OR coalesce(sum(r.net_micros), 0) > p.net_micros
            OR coalesce(sum(r.tax_micros), 0) > p.tax_micros""",
    "I16 lot out of bounds": """
        SELECT id FROM billing_creditlot
        WHERE remaining_micros < 0 OR remaining_micros > amount_micros""",
    "I18 automatic top-ups at once or within an hour": """
        SELECT a.id FROM billing_payment a JOIN billing_payment b
        ON a.id < b.id AND a.account_id = b.account_id
        WHERE a.purpose = 'auto_top_up' AND b.purpose = 'auto_top_up' AND (
            abs(extract(epoch FROM a.created_at - b.created_at)) < 3600
            OR (a.status IN ('draft', 'submitted', 'requires_action', 'processing')
                AND b.status IN ('draft', 'submitted', 'requires_action', 'processing')))""",
    "I20 reversal that is no mirror": """
        SELECT DISTINCT id FROM (
            SELECT e.id FROM billing_journalentry e
            JOIN billing_posting p ON p.entry_id IN (e.id, e.reverses_id)
            JOIN billing_ledgeraccount a ON a.id = p.account_id
            WHERE e.reverses_id IS NOT NULL
            GROUP BY e.id, a.account_id, CASE WHEN a.code IN
                ('customer_credit', 'promo_credit', 'accounts_receivable') THEN '' ELSE a.code END
            HAVING sum(p.amount_micros) <> 0) AS off""",
    "I20 reversal that says nothing of what it reverses, or one of two": """
        SELECT e.id FROM billing_journalentry e
        LEFT JOIN billing_journalentry o ON o.id = e.reverses_id
        LEFT JOIN billing_journalentry also ON also.reverses_id = o.id AND also.id <> e.id
        WHERE also.id IS NOT NULL OR (e.kind, coalesce(o.kind, '')) IN (
            ('refund_failed', ''), ('refund_returned', ''), ('dispute_won', ''),
            ('payout_failed', ''))""",
}
_ALL = " UNION ALL ".join(
    f"(SELECT '{name}', id::text FROM ({sql}) AS found (id))" for name, sql in STATEMENTS.items()
)


def broken() -> list[tuple[str, str]]:
    """Everything that breaks a statement: its name and a row."""
    with connection.cursor() as cursor:
        cursor.execute(_ALL)
        return [(name, row) for name, row in cursor.fetchall()]


def judge_now() -> None:
    """Let the deferred triggers judge what the commit would."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


# I2 and I13: what was written stays. Of an invoice only its status moves.
_KEPT = {
    "billing_journalentry": "t::text",
    "billing_posting": "t::text",
    "billing_lotconsumption": "t::text",
    "billing_usagecredit": "t::text",
    "billing_invoice": "(to_jsonb(t) - 'status' - 'paid_at')::text",
    "billing_invoiceline": "t::text",
    "billing_invoicetax": "t::text",
    "billing_creditnote": "t::text",
    "billing_creditnoteline": "t::text",
}
# Drafts come and go: a document counts from its number on.
_FROM = {"billing_invoice": "billing_invoice t WHERE t.status <> 'draft'"}
_DIGEST = " UNION ALL ".join(
    f"SELECT '{table}', coalesce(max(t.id), 0), md5(string_agg({row}, '|' ORDER BY t.id)),"
    f" md5(string_agg({row}, '|' ORDER BY t.id) FILTER (WHERE t.id <= %s))"
    f" FROM {_FROM.get(table, f'{table} t')}"
    for table, row in _KEPT.items()
)


class Digest:
    """Remembers all that is written for ever and finds whether it has changed."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.known: dict[str, str | None] = {}

    def changed(self) -> Sequence[str]:
        """Tables in which something that was there at the last call is no more as it was."""
        with connection.cursor() as cursor:
            cursor.execute(_DIGEST, [self.last.get(table, 0) for table in _KEPT])
            rows = cursor.fetchall()
        off = [table for table, _, _, before in rows if before != self.known.get(table)]
        self.last = {table: last for table, last, _, _ in rows}
        self.known = {table: digest for table, _, digest, _ in rows}
        return off
