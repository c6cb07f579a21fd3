"""What of budgets is spent, in one statement however many there are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing.choices import BudgetScope
from billing.labels import CostLabels
from billing.models import BillingAccount, Budget
from billing.queries.periods import period_of
from portal.lib import clock
from portal.lib.money import MICROSECONDS_PER_HOUR

# The labels of an interval that a budget asks for; a team's asks for none.
_MATCH = """CASE b.scope
    WHEN 'team' THEN true
    WHEN 'project' THEN i.project = b.project
    WHEN 'member' THEN i.member_id = b.member_id
    WHEN 'api_key' THEN i.api_key_id = b.api_key_id
    ELSE i.resource_public_id = b.run END"""

_SPENT = f"""
WITH open_cost AS (
    SELECT i.id, greatest(0, div(
        p.unit_micros::numeric * i.quantity * greatest(0, round(1000000 * extract(
            epoch FROM least(i.billable_until, %(now)s) - i.started_at))),
        p.unit_hours * %(hour_us)s) - i.billed_micros) AS unposted
    FROM billing_usageinterval i JOIN billing_price p ON p.id = i.price_id
    WHERE i.ended_at IS NULL
        AND i.account_id IN (SELECT account_id FROM billing_budget WHERE id = ANY(%(budgets)s))
)
SELECT b.id, coalesce((
    SELECT sum(r.amount_micros) FROM billing_ratedusage r
    JOIN billing_usageinterval i ON i.id = r.interval_id
    WHERE r.account_id = b.account_id AND (b.scope = 'run' OR r.period_start = %(month)s)
        AND {_MATCH}
), 0) - coalesce((
    SELECT sum(c.amount_micros) FROM billing_usagecredit c
    JOIN billing_usageinterval i ON i.id = c.interval_id
    WHERE c.account_id = b.account_id AND (b.scope = 'run' OR c.period_start = %(month)s)
        AND {_MATCH}
), 0) + coalesce((
    SELECT sum(o.unposted) FROM open_cost o JOIN billing_usageinterval i ON i.id = o.id
    WHERE i.account_id = b.account_id AND {_MATCH}
), 0)
FROM billing_budget b WHERE b.id = ANY(%(budgets)s)
"""  # noqa: S608  # a constant of this module


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """A budget and what of it is spent, posted or not, micro-units."""

    budget: Budget
    spent_micros: int

    @property
    def percent(self) -> int:
        """Whole percent, rounded down: 100 only when all of it is spent."""
        return max(0, self.spent_micros * 100 // self.budget.amount_micros)

    @property
    def left_micros(self) -> int:
        """What may still be spent; 0 when it is used up."""
        return max(0, self.budget.amount_micros - self.spent_micros)

    @property
    def is_reached(self) -> bool:
        """Whether nothing is left."""
        return self.spent_micros >= self.budget.amount_micros


def use_of(budgets: Collection[Budget]) -> list[BudgetUse]:
    """What is spent of each, in their order, in one query."""
    if not budgets:
        return []
    now = clock.now()
    values: dict[str, list[int] | datetime | int] = {
        "budgets": [budget.pk for budget in budgets],
        "now": now,
        "month": period_of(now)[0],
        "hour_us": MICROSECONDS_PER_HOUR,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SPENT, values)
        spent = dict(cursor.fetchall())
    return [BudgetUse(budget, int(spent[budget.pk])) for budget in budgets]


def budgets_of(account: BillingAccount) -> list[BudgetUse]:
    """The account's budgets and their use, the widest first."""
    found = Budget.objects.filter(account=account, removed_at__isnull=True)
    order = list(BudgetScope)
    budgets = sorted(
        found.select_related("member", "api_key"),
        key=lambda budget: (order.index(BudgetScope(budget.scope)), budget.pk),
    )
    return use_of(budgets)


def cap_of(run: str) -> int:
    """The cost at which a run is stopped, micro-units; 0 where it has no limit of its own."""
    found = Budget.objects.filter(scope=BudgetScope.RUN, run=run, removed_at__isnull=True)
    return found.values_list("amount_micros", flat=True).first() or 0


def reached_caps(account: BillingAccount | None = None) -> list[BudgetUse]:
    """Hard budgets of which nothing is left, of one account or of all."""
    hard = Budget.objects.filter(removed_at__isnull=True, is_hard=True)
    if account is not None:
        hard = hard.filter(account=account)
    return [use for use in use_of(list(hard.select_related("account"))) if use.is_reached]


def covers(budget: Budget, labels: CostLabels, run: str = "") -> bool:
    """Whether a run with these labels is under the budget."""
    match BudgetScope(budget.scope):
        case BudgetScope.TEAM:
            return True
        case BudgetScope.PROJECT:
            return budget.project == labels.project
        case BudgetScope.MEMBER:
            return budget.member_id == labels.member_id
        case BudgetScope.API_KEY:
            return budget.api_key_id == labels.api_key_id
        case BudgetScope.RUN:
            return budget.run == run
