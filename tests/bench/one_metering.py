"""`python -m tests.bench.one_metering`: prints the seconds of a metering tick, of the same rows in
bare SQL, and of a balance read.

Run with the environment of the stack it is for.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from statistics import median

import django

django.setup()

from django.db import connection, transaction  # noqa: E402

from billing.actions.metering import rate_open_intervals  # noqa: E402
from billing.models import BillingAccount, Price, UsageInterval  # noqa: E402
from billing.queries.funds import funds_of  # noqa: E402
from portal.lib import clock  # noqa: E402
from tests.bench.metering import OPEN  # noqa: E402
from tests.bench.seed import SKU, make_pool  # noqa: E402

TEAMS = 1_000
ROUNDS = 3
READS = 200

_TEAMS = """
WITH team AS (
    INSERT INTO accounts_team (public_id, name, created_at)
    SELECT 'team_bench' || n, 'Bench ' || n, %(now)s FROM generate_series(1, %(teams)s) AS n
    RETURNING id
), account AS (
    INSERT INTO billing_billingaccount (team_id, currency, price_book_id, created_at)
    SELECT id, 'usd', %(book)s, %(now)s FROM team RETURNING id
), entry AS (
    INSERT INTO billing_journalentry (kind, idempotency_key, effective_at, recorded_at, memo, actor)
    SELECT 'grant', 'bench-tick:' || id, %(now)s, %(now)s, '', 'bench' FROM account
    RETURNING id, idempotency_key
), house AS (
    INSERT INTO billing_ledgeraccount (code, currency, balance_micros)
    VALUES ('promo_expense', 'usd', 0)
    ON CONFLICT (code, account_id, currency) DO UPDATE
        SET balance_micros = billing_ledgeraccount.balance_micros
    RETURNING id
), line AS (
    INSERT INTO billing_ledgeraccount (code, account_id, currency, balance_micros)
    SELECT 'promo_credit', id, 'usd', -%(each)s FROM account RETURNING id, account_id
), leg AS (
    INSERT INTO billing_posting (entry_id, account_id, amount_micros, currency)
    SELECT e.id, x.id, x.amount, 'usd' FROM entry e
    JOIN line l ON e.idempotency_key = 'bench-tick:' || l.account_id
    CROSS JOIN LATERAL (
        SELECT l.id, -%(each)s::bigint AS amount UNION ALL SELECT id, %(each)s FROM house
    ) AS x
)
INSERT INTO billing_creditlot (account_id, kind, amount_micros, remaining_micros, entry_id,
    created_at)
SELECT l.account_id, 'promotional', %(each)s, %(each)s, e.id, %(now)s
FROM line l JOIN entry e ON e.idempotency_key = 'bench-tick:' || l.account_id
"""

_INTERVALS = """
INSERT INTO billing_usageinterval (account_id, sku_id, price_id, resource_kind, resource_id,
    resource_attempt, resource_public_id, resource_label, quantity, project, started_at,
    rated_until, billable_until, billed_micros, created_at)
SELECT a.id, %(sku)s, %(price)s, 'bench', a.id * 1000 + n, 1, 'bench_' || n, 'bench', 8, 'vision',
    %(start)s, %(start)s, %(now)s + interval '1 day', 0, %(now)s
FROM billing_billingaccount a JOIN accounts_team t ON t.id = a.team_id,
    generate_series(1, %(each)s) AS n
WHERE t.public_id LIKE 'team\\_bench%%'
"""

# What a tick must write, as shortly as SQL can say it: all credit is there, no month is crossed.
_BARE = (
    """CREATE TEMP TABLE bare ON COMMIT DROP AS
    SELECT i.id, i.account_id, i.billed_micros AS before,
        p.unit_micros * i.quantity
            * (extract(epoch FROM %(until)s - i.started_at) * 1000000)::bigint / 3600000000 AS owed
    FROM billing_usageinterval i JOIN billing_price p ON p.id = i.price_id
    WHERE i.ended_at IS NULL AND i.resource_kind = 'bench'""",
    """UPDATE billing_usageinterval i SET rated_until = %(until)s, billed_micros = b.owed
    FROM bare b WHERE b.id = i.id""",
    """UPDATE billing_ratedusage r SET segment_end = %(until)s,
        amount_micros = r.amount_micros + b.owed - b.before
    FROM bare b WHERE b.id = r.interval_id AND r.period_start = %(month)s""",
    """CREATE TEMP TABLE due ON COMMIT DROP AS
    SELECT account_id, sum(owed - before)::bigint AS amount FROM bare GROUP BY 1""",
    """INSERT INTO billing_journalentry (kind, idempotency_key, effective_at, recorded_at, memo,
        actor)
    SELECT 'usage', 'bare:' || account_id || %(key)s, %(until)s, %(until)s, '', 'bench' FROM due""",
    """INSERT INTO billing_posting (entry_id, account_id, amount_micros, currency)
    SELECT e.id, l.id, CASE WHEN l.account_id IS NULL THEN -amount ELSE amount END, 'usd'
    FROM due d JOIN billing_journalentry e
        ON e.idempotency_key = 'bare:' || d.account_id || %(key)s
    JOIN billing_ledgeraccount l ON l.code = 'promo_credit' AND l.account_id = d.account_id
        OR l.code = 'revenue_usage' AND l.account_id IS NULL""",
    """INSERT INTO billing_lotconsumption (lot_id, entry_id, amount_micros)
    SELECT c.id, e.id, amount FROM due d JOIN billing_creditlot c USING (account_id)
    JOIN billing_journalentry e ON e.idempotency_key = 'bare:' || d.account_id || %(key)s""",
    """UPDATE billing_creditlot c SET remaining_micros = remaining_micros - amount
    FROM due d WHERE d.account_id = c.account_id""",
    """UPDATE billing_ledgeraccount l SET balance_micros = balance_micros + amount
    FROM due d WHERE d.account_id = l.account_id AND l.code = 'promo_credit'""",
    """UPDATE billing_ledgeraccount SET balance_micros = balance_micros
        - (SELECT sum(amount) FROM due) WHERE code = 'revenue_usage' AND account_id IS NULL""",
)


def seed() -> None:
    """Teams with credit for ever, and what each has open."""
    make_pool()
    price = Price.objects.select_related("sku").get(sku__code=SKU)
    now = clock.now()
    each = 10**15
    values: dict[str, datetime | int] = {
        "now": now,
        "teams": TEAMS,
        "book": price.book_id,
        "each": each,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TEAMS, values)
        if not cursor.rowcount:
            raise RuntimeError("no team was made")
        cursor.execute(
            "UPDATE billing_ledgeraccount l SET balance_micros = s.total FROM ("
            " SELECT account_id, sum(amount_micros) AS total FROM billing_posting GROUP BY 1"
            ") AS s WHERE s.account_id = l.id AND l.code = 'promo_expense'"
        )
        cursor.execute(
            _INTERVALS,
            {
                "sku": price.sku_id,
                "price": price.pk,
                "start": now - timedelta(minutes=1),
                "now": now,
                "each": OPEN // TEAMS,
            },
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def ours() -> float:
    """Seconds of one tick."""
    until = clock.now()
    began = time.monotonic()
    posted = rate_open_intervals(until=until)
    took = time.monotonic() - began
    if posted < OPEN:
        raise RuntimeError(f"{posted} were rated")
    return took


def bare(number: int) -> float:
    """Seconds of the same in SQL alone."""
    until = clock.now()
    month = until.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    values: dict[str, datetime | str] = {"until": until, "month": month, "key": f"-{number}"}
    began = time.monotonic()
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in _BARE:
            cursor.execute(statement, values)
    return time.monotonic() - began


def read() -> float:
    """Seconds of the median balance read of a team with a hundred open intervals."""
    (account_id,) = UsageInterval.objects.filter(resource_kind="bench").values_list(
        "account_id", flat=True
    )[:1]
    account = BillingAccount.objects.get(pk=account_id)
    times = []
    for _ in range(READS):
        began = time.monotonic()
        funds_of(account)
        times.append(time.monotonic() - began)
    return median(times)


def main() -> None:
    """Seed, warm up, then take turns."""
    seed()
    ours()
    mine, theirs = [], []
    for number in range(ROUNDS):
        theirs.append(bare(number))
        mine.append(ours())
    print(median(mine), median(theirs), read())


if __name__ == "__main__":
    main()
