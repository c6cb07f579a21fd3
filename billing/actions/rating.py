"""Posts what intervals have come to. The caller has locked the accounts.

What there is to post is worked out and kept where the intervals lie, in one statement for any
number of them; the ledger gets one entry for each account and month.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing.actions.giveback import give_back_time
from billing.actions.ledger import EntryDraft, post_entries
from billing.actions.lots import Share, save_consumption, take, usable_lots_of, usage_postings
from billing.choices import EntryKind
from billing.models import BillingAccount, UsageInterval
from billing.queries.periods import period_of
from portal.lib import clock
from portal.lib.money import MICROSECONDS_PER_HOUR

_OPEN = "i.account_id = ANY(%(accounts)s) AND i.ended_at IS NULL"
_ONE = "i.id = %(interval)s"
_COST = """div(
    {price}.unit_micros::numeric * {price}.quantity
        * round(1000000 * extract(epoch FROM {until} - {price}.started_at)),
    {price}.unit_hours::numeric * %(hour_us)s
)::bigint"""

# Each amount is the cumulative cost less what was billed before it, so that the sum is the same
# for every sequence of ticks. `due`: intervals with something to post, and until when. Time of an
# open one that is not worth a micro-unit yet is left for the next tick. `piece`: that time cut at
# months. `short`: which pieces the credit, used in the order of the pieces, does not cover.
_RATE = """
WITH candidate AS (
    SELECT i.id, i.account_id, i.started_at, i.ended_at, i.rated_until, i.billed_micros, i.quantity,
        p.unit_micros, p.unit_hours, a.closed_until,
        least(i.ended_at, i.billable_until, %(until)s) AS till
    FROM billing_usageinterval i
    JOIN billing_price p ON p.id = i.price_id
    JOIN billing_billingaccount a ON a.id = i.account_id
    WHERE {which}
), due AS MATERIALIZED (
    SELECT * FROM (SELECT c.*, {owed} AS owed FROM candidate c WHERE till > rated_until) AS c
    WHERE owed > billed_micros OR ended_at IS NOT NULL
), month AS MATERIALIZED (
    SELECT first AT TIME ZONE 'UTC' AS first,
        (first + interval '1 month') AT TIME ZONE 'UTC' AS next
    FROM (SELECT min(rated_until) AS low, max(till) AS high FROM due) AS bounds,
        generate_series(date_trunc('month', low AT TIME ZONE 'UTC'), high AT TIME ZONE 'UTC',
            interval '1 month') AS first
), piece AS MATERIALIZED (
    SELECT d.account_id, d.id, piece_start, piece_end, is_late,
        CASE WHEN is_late THEN greatest(%(month)s, d.closed_until) ELSE m.first END AS period_start,
        CASE WHEN is_late THEN piece_start ELSE greatest(d.started_at, m.first) END AS slice_start,
        CASE WHEN piece_end = d.till THEN d.owed ELSE {owed_at_end} END
            - CASE WHEN piece_start = d.rated_until THEN d.billed_micros ELSE {owed_at_start} END
            AS amount
    FROM due d JOIN month m ON m.first < d.till AND m.next > d.rated_until
    CROSS JOIN LATERAL (
        SELECT greatest(d.rated_until, m.first) AS piece_start, least(d.till, m.next) AS piece_end,
            coalesce(m.next <= d.closed_until, false) AS is_late
    ) AS cut
), credit AS (
    SELECT account_id, sum(remaining_micros) AS credit FROM billing_creditlot
    WHERE account_id IN (SELECT account_id FROM due) AND remaining_micros > 0
        AND (expires_at IS NULL OR expires_at > %(now)s)
    GROUP BY account_id
), short AS MATERIALIZED (
    SELECT id, piece_start, least(amount, greatest(0, spent - credit)) AS debt
    FROM (
        SELECT id, piece_start, amount, coalesce(credit, 0) AS credit,
            sum(amount) OVER (PARTITION BY account_id ORDER BY period_start, id, piece_start)
                AS spent
        FROM piece
        JOIN (SELECT account_id, sum(amount) AS total FROM piece GROUP BY account_id) AS sums
            USING (account_id)
        LEFT JOIN credit USING (account_id)
        WHERE total > coalesce(credit, 0)
    ) AS running
    WHERE spent > credit
), moved AS (
    UPDATE billing_usageinterval i SET rated_until = d.till, billed_micros = d.owed
    FROM due d WHERE i.id = d.id
), kept AS (
    INSERT INTO billing_ratedusage AS slice (account_id, interval_id, period_start, segment_start,
        segment_end, amount_micros, debt_micros, is_back)
    SELECT account_id, id, period_start, slice_start, piece_end, amount, coalesce(debt, 0), false
    FROM piece LEFT JOIN short USING (id, piece_start)
    ON CONFLICT (interval_id, segment_start, is_back) DO UPDATE SET
        segment_end = excluded.segment_end,
        amount_micros = slice.amount_micros + excluded.amount_micros,
        debt_micros = slice.debt_micros + excluded.debt_micros
), charge AS (
    SELECT account_id, period_start, count(*) AS pieces, sum(amount)::bigint AS amount,
        min(id) AS first_id, min(piece_start) AS since, bool_or(is_late) AS is_late
    FROM piece GROUP BY account_id, period_start
)
SELECT DISTINCT ON (account_id, period_start)
    account_id, period_start, pieces, charge.amount, since, charge.is_late, first_id, piece_start
FROM charge JOIN piece USING (account_id, period_start)
WHERE piece.id = first_id
ORDER BY account_id, period_start, piece_start
"""


def _sql(which: str) -> str:
    """The statement for the intervals that `which` selects."""
    return _RATE.format(
        which=which,
        owed=_COST.format(price="c", until="c.till"),
        owed_at_end=_COST.format(price="d", until="piece_end"),
        owed_at_start=_COST.format(price="d", until="piece_start"),
    )


_RATE_OPEN, _RATE_ONE = _sql(_OPEN), _sql(_ONE)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one account came to in one month since it was last rated: `pieces` of intervals."""

    account_id: int
    period_start: datetime
    pieces: int
    amount_micros: int
    since: datetime
    is_late: bool
    first_interval: int
    first_start: datetime

    @property
    def key(self) -> str:
        """Names the deed for ever: no interval is rated twice from the same instant."""
        month = f"{self.period_start:%Y-%m}"
        first = f"{self.first_interval}:{self.first_start.isoformat()}"
        return f"usage:{self.account_id}:{month}:{first}"


def rate_open(accounts: Sequence[BillingAccount], until: datetime) -> int:
    """Post what the open intervals of `accounts` have come to by `until`.

    Returns the number of pieces of intervals, cut at months, that were posted.
    """
    return _rate(accounts, _RATE_OPEN, until)


def rate_closed(account: BillingAccount, interval: UsageInterval) -> None:
    """Bring a just closed interval, saved as such, to its true end, forwards or backwards."""
    assert interval.ended_at is not None  # noqa: S101  # the caller closed it
    if interval.ended_at < interval.rated_until:
        give_back_time(account, interval)
        return
    _rate([account], _RATE_ONE, interval.ended_at, interval_id=interval.pk)
    interval.refresh_from_db(fields=["rated_until", "billed_micros"])


def _rate(
    accounts: Sequence[BillingAccount],
    sql: str,
    until: datetime,
    *,
    interval_id: int | None = None,
) -> int:
    now = clock.now()
    values = {
        "accounts": [account.pk for account in accounts],
        "interval": interval_id,
        "until": until,
        "now": now,
        "month": period_of(now)[0],
        "hour_us": MICROSECONDS_PER_HOUR,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        charges = [Charge(*row) for row in cursor.fetchall()]
    _post(accounts, charges, now)
    return sum(charge.pieces for charge in charges)


def _post(accounts: Sequence[BillingAccount], charges: Sequence[Charge], now: datetime) -> None:
    """One entry a charge, in the order in which the statement has shared out the credit."""
    charges = [charge for charge in charges if charge.amount_micros]
    by_id = {account.pk: account for account in accounts}
    lots = usable_lots_of([charge.account_id for charge in charges], at=now)
    drafts: list[EntryDraft] = []
    taken: list[Sequence[Share]] = []
    for charge in charges:
        account = by_id[charge.account_id]
        shares, uncovered = take(lots.get(account.pk, []), charge.amount_micros)
        taken.append(shares)
        drafts.append(
            EntryDraft(
                kind=EntryKind.USAGE,
                idempotency_key=charge.key,
                # The clock may have been set back into a month that is closed.
                effective_at=max(now, charge.period_start) if charge.is_late else charge.since,
                postings=usage_postings(account, shares, uncovered),
                memo=f"Usage of {charge.pieces} run{'' if charge.pieces == 1 else 's'}",
            )
        )
    save_consumption(list(zip(post_entries(drafts), taken, strict=True)))
