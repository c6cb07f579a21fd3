"""`python -m tests.bench.one_closing`: prints the seconds of closing a month, of the same rows in
bare SQL, and of a PDF.

Run with the environment of the stack it is for.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from statistics import median

import django

django.setup()

from django.db import connection, transaction  # noqa: E402
from django.db.models import Count  # noqa: E402

from billing.actions.month_close import close_due_months  # noqa: E402
from billing.documents.invoice import invoice_html  # noqa: E402
from billing.documents.printer import print_pdf  # noqa: E402
from billing.models import BillingAccount, Invoice, Price  # noqa: E402
from billing.queries.periods import period_of  # noqa: E402
from portal.lib import clock  # noqa: E402
from tests.bench.closing import CSV_LINES, PDF_LINES, ROWS, TEAMS  # noqa: E402
from tests.bench.seed import SKU, make_pool  # noqa: E402

# Slices of an interval in the month: as many as late proofs of life make at the very most.
SLICES = 10
PDFS = 7

_TEAMS = """
WITH team AS (
    INSERT INTO accounts_team (public_id, name, created_at)
    SELECT 'team_close' || n, 'Close ' || n, %(start)s FROM generate_series(0, %(teams)s) AS n
    RETURNING id
)
INSERT INTO billing_billingaccount (team_id, currency, price_book_id, created_at)
SELECT id, 'usd', %(book)s, %(start)s FROM team
"""

# The first team has the lines of the CSV; the month close is measured over the others.
_USAGE = """
WITH payer AS (
    SELECT a.id, t.public_id = 'team_close0' AS is_big
    FROM billing_billingaccount a JOIN accounts_team t ON t.id = a.team_id
    WHERE t.public_id LIKE 'team\\_close%%'
), interval_of AS (
    INSERT INTO billing_usageinterval (account_id, sku_id, price_id, resource_kind, resource_id,
        resource_attempt, resource_public_id, resource_label, quantity, project, started_at,
        ended_at, rated_until, billed_micros, created_at)
    SELECT p.id, %(sku)s, %(price)s, 'bench', p.id * 100000 + n, 1, 'bench_' || n, 'bench run',
        8, 'vision', %(start)s, %(start)s + interval '600 seconds' * %(slices)s,
        %(start)s + interval '600 seconds' * %(slices)s, 0, %(start)s
    FROM payer p, generate_series(1, CASE WHEN is_big THEN %(big)s ELSE %(each)s END) AS n
    RETURNING id, account_id, price_id, quantity
)
INSERT INTO billing_ratedusage (account_id, interval_id, period_start, segment_start, segment_end,
    amount_micros, debt_micros, is_back)
SELECT i.account_id, i.id, %(start)s, %(start)s + interval '600 seconds' * n,
    %(start)s + interval '600 seconds' * (n + 1), p.unit_micros * i.quantity / 6, 0, false
FROM interval_of i JOIN billing_price p ON p.id = i.price_id,
    generate_series(0, %(slices)s - 1) AS n
"""

# What a close must write, as shortly as SQL can say it: no debt, no tax, no rounding to post.
_BARE = (
    "CREATE TABLE bare_invoice (LIKE billing_invoice INCLUDING ALL)",
    "CREATE TABLE bare_line (LIKE billing_invoiceline INCLUDING ALL)",
    """INSERT INTO bare_invoice (public_id, account_id, kind, status, period_start, period_end,
        currency, reference, seller, buyer, tax_point, net_micros, tax_micros, total_micros,
        credit_micros, due_micros, created_at)
    SELECT 'bare_' || a.id, a.id, 'usage', 'draft', %(start)s, %(end)s, 'usd', '', '{}', '{}', '',
        0, 0, 0, 0, 0, %(start)s
    FROM billing_billingaccount a JOIN accounts_team t ON t.id = a.team_id
    WHERE t.public_id LIKE 'team\\_close%%' AND t.public_id <> 'team_close0'""",
    """INSERT INTO bare_line (invoice_id, kind, interval_id, label, sku_label, quantity,
        unit_micros, unit_hours, started_at, ended_at, microseconds, amount_micros)
    SELECT v.id, 'usage', i.id, i.resource_label, s.label, i.quantity, p.unit_micros, p.unit_hours,
        r.segment_start, r.segment_end,
        (extract(epoch FROM r.segment_end - r.segment_start) * 1000000)::bigint, r.amount_micros
    FROM bare_invoice v JOIN billing_ratedusage r ON r.account_id = v.account_id
        AND r.period_start = v.period_start
    JOIN billing_usageinterval i ON i.id = r.interval_id
    JOIN billing_sku s ON s.id = i.sku_id JOIN billing_price p ON p.id = i.price_id
    ORDER BY v.id, r.segment_start""",
    """UPDATE bare_invoice v SET net_micros = s.total, total_micros = s.total,
        credit_micros = s.total
    FROM (SELECT invoice_id, sum(amount_micros) AS total FROM bare_line GROUP BY 1) AS s
    WHERE s.invoice_id = v.id""",
)


def seed() -> None:
    """Teams, and what they used last month."""
    make_pool()
    price = Price.objects.select_related("sku").get(sku__code=SKU)
    # All others are closed already: the figure is of these teams alone.
    BillingAccount.objects.update(closed_until=this_month())
    values: dict[str, datetime | int] = {
        "start": last_month(),
        "teams": TEAMS,
        "book": price.book_id,
        "sku": price.sku_id,
        "price": price.pk,
        "slices": SLICES,
        "each": ROWS // TEAMS // SLICES,
        "big": CSV_LINES // SLICES,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TEAMS, values)
        cursor.execute(_USAGE, values)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def this_month() -> datetime:
    """When it began."""
    return period_of(clock.now())[0]


def last_month() -> datetime:
    """When the one before it began."""
    return period_of(this_month() - timedelta(seconds=1))[0]


def big_account() -> BillingAccount:
    """The one whose invoice has the lines of the CSV."""
    return BillingAccount.objects.get(team__public_id="team_close0")


def ours() -> float:
    """Seconds of closing last month."""
    BillingAccount.objects.filter(pk=big_account().pk).update(closed_until=this_month())
    began = time.monotonic()
    written = close_due_months()
    took = time.monotonic() - began
    if written != TEAMS:
        raise RuntimeError(f"{written} invoices were written")
    BillingAccount.objects.filter(pk=big_account().pk).update(closed_until=None)
    close_due_months()
    return took


def bare() -> float:
    """Seconds of the same rows in SQL alone."""
    began = time.monotonic()
    values = {"start": last_month(), "end": this_month()}
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in _BARE:
            cursor.execute(statement, values)
    took = time.monotonic() - began
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM bare_line")
        (count,) = cursor.fetchone()
        cursor.execute("DROP TABLE bare_line, bare_invoice")
    if count != ROWS:
        raise RuntimeError(f"{count} lines were written")
    return took


def pdf() -> float:
    """Seconds of the median PDF; the first loads the printer and does not count."""
    counted = Invoice.objects.exclude(number=None).annotate(size=Count("lines"))
    invoice = counted.filter(size__gte=PDF_LINES).exclude(account=big_account()).earliest("pk")
    times = []
    for _ in range(PDFS):
        began = time.monotonic()
        print_pdf(invoice_html(invoice, lines=PDF_LINES), identifier=invoice.public_id)
        times.append(time.monotonic() - began)
    return median(times[1:])


def main() -> None:
    """Seed, then bare SQL, then ours."""
    seed()
    theirs = bare()
    mine = ours()
    print(mine, theirs, pdf())


if __name__ == "__main__":
    main()
