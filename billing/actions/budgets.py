"""Budgets: set by owners, watched by a sweep, kept to at launch."""

from __future__ import annotations

from django.db import transaction

from accounts.access import require_owner, team_of
from accounts.actions import audit
from accounts.actor import Actor
from accounts.models import ApiKey, Membership
from billing.access import account_of
from billing.actions.accounts import lock_account
from billing.actions.telling import tell_once
from billing.choices import BudgetScope
from billing.emails import send_budget_crossing
from billing.labels import CostLabels
from billing.models import BillingAccount, Budget, BudgetCrossing, UsageInterval
from billing.queries.budgets import BudgetUse, covers, reached_caps, use_of
from billing.queries.periods import period_of
from portal.lib import clock
from portal.lib.errors import Conflict, InsufficientFunds, InvalidInput, NotFound
from portal.lib.money import MICROS, MICROS_PER_CENT, format_money

THRESHOLDS = (50, 80, 95, 100)
MAX_BUDGET_MICROS = 10_000_000 * MICROS
MOST = 200


def set_budget(
    actor: Actor, scope: BudgetScope, target: str, *, amount_micros: int, is_hard: bool
) -> Budget:
    """Set the budget of a scope, replacing the one it has. Only an owner may.

    `target` is a project's name, a member's address, the id of an API key or of a run, and empty
    for the team. Raises InvalidInput for an amount that cannot be or a target nobody knows.
    """
    require_owner(actor)
    account = account_of(actor)
    _check_amount(amount_micros)
    what = _target(account, scope, target.strip())
    with transaction.atomic():
        lock_account(account.pk)
        known = Budget.objects.filter(account=account, scope=scope, removed_at__isnull=True)
        budget = known.filter(**what).first()
        if budget is None:
            if known.count() >= MOST:
                raise Conflict(f"A team has at most {MOST} budgets of a kind. Remove one.")
            budget = Budget(account=account, scope=scope, **what)
        budget.amount_micros, budget.is_hard = amount_micros, is_hard
        budget.save()
        audit.record(
            actor,
            "budget.set",
            team=team_of(actor),
            object_id=budget.public_id,
            amount_micros=amount_micros,
        )
    return budget


@transaction.atomic
def cap_run(account: BillingAccount, run: str, *, amount_micros: int) -> Budget:
    """The hard budget that a run was launched with."""
    _check_amount(amount_micros)
    return Budget.objects.create(
        account=account,
        scope=BudgetScope.RUN,
        run=run,
        amount_micros=amount_micros,
        is_hard=True,
    )


@transaction.atomic
def remove_budget(actor: Actor, budget_id: str) -> None:
    """Watch it no more. Only an owner may. Raises NotFound."""
    require_owner(actor)
    account = lock_account(account_of(actor).pk)
    found = Budget.objects.filter(
        account=account, public_id=budget_id.replace("\0", "")[:60], removed_at__isnull=True
    ).first()
    if found is None:
        raise NotFound("There is no such budget.")
    found.removed_at = clock.now()
    found.save(update_fields=["removed_at"])
    audit.record(actor, "budget.removed", team=team_of(actor), object_id=found.public_id)


def check_caps(account: BillingAccount, labels: CostLabels) -> None:
    """Raises InsufficientFunds, naming the budget, where new work is under one that is used up."""
    for use in reached_caps(account):
        if use.budget.scope != BudgetScope.RUN and covers(use.budget, labels):
            raise InsufficientFunds(
                f"The budget of {name_of(use.budget)} is used up: "
                f"{format_money(use.spent_micros)} of {format_money(use.budget.amount_micros)} "
                "this month. An owner can raise it under Billing, Budgets."
            )


def name_of(budget: Budget) -> str:
    """What it is about, in words."""
    match BudgetScope(budget.scope):
        case BudgetScope.TEAM:
            return "the team"
        case BudgetScope.PROJECT:
            return f"project {budget.project}"
        case BudgetScope.MEMBER:
            return str(budget.member)
        case BudgetScope.API_KEY:
            return f"API key {budget.api_key.name if budget.api_key else ''}"
        case BudgetScope.RUN:
            return f"run {budget.run}"


def watch_budgets() -> int:
    """Note every threshold that was crossed and tell of it once; returns how many mails went."""
    budgets = Budget.objects.filter(removed_at__isnull=True).select_related("account__team")
    crossed = [row for use in use_of(list(budgets)) for row in _crossings(use)]
    BudgetCrossing.objects.bulk_create(crossed, ignore_conflicts=True)
    untold = BudgetCrossing.objects.filter(told_at__isnull=True).order_by("budget", "-percent")
    told: set[int] = set()
    sent = 0
    for key, budget_id in list(untold.values_list("pk", "budget_id")):
        # Of several at once only the highest is news.
        sent += _tell(key, is_news=budget_id not in told)
        told.add(budget_id)
    return sent


def _crossings(use: BudgetUse) -> list[BudgetCrossing]:
    now = clock.now()
    budget = use.budget
    start = budget.created_at if budget.scope == BudgetScope.RUN else period_of(now)[0]
    return [
        BudgetCrossing(
            budget=budget,
            period_start=start,
            percent=percent,
            amount_micros=budget.amount_micros,
            spent_micros=use.spent_micros,
            at=now,
        )
        for percent in THRESHOLDS
        if use.percent >= percent
    ]


def _tell(crossing_id: int, *, is_news: bool) -> bool:
    row = BudgetCrossing.objects.filter(pk=crossing_id)
    if not is_news:
        row.filter(told_at__isnull=True).update(told_at=clock.now())
        return False

    def send() -> None:
        crossing = row.select_related(
            "budget__account__team", "budget__member", "budget__api_key"
        ).get()
        send_budget_crossing(crossing, name_of(crossing.budget))

    return tell_once(row, send)


def _check_amount(amount_micros: int) -> None:
    if not MICROS_PER_CENT <= amount_micros <= MAX_BUDGET_MICROS:
        most = format_money(MAX_BUDGET_MICROS)
        raise InvalidInput.of(amount=f"Choose an amount from $0.01 to {most}.")


def _target(account: BillingAccount, scope: BudgetScope, target: str) -> dict[str, object]:
    nobody: dict[str, object] = {"project": "", "member": None, "api_key": None, "run": ""}
    if scope == BudgetScope.TEAM:
        return nobody
    if not target or "\0" in target or not target.isprintable():
        raise InvalidInput.of(target=f"Say which one: {scope.label.lower()}.")
    if scope == BudgetScope.PROJECT:
        if len(target) > 60:
            raise InvalidInput.of(target="A project has at most 60 characters.")
        return nobody | {"project": target}
    if scope == BudgetScope.MEMBER:
        found = Membership.objects.filter(team=account.team, user__email__iexact=target).first()
        if found is None:
            raise InvalidInput.of(target="No member of the team has this address.")
        return nobody | {"member": found.user}
    if scope == BudgetScope.API_KEY:
        key = ApiKey.objects.filter(team=account.team, public_id=target).first()
        if key is None:
            raise InvalidInput.of(target="The team has no such API key.")
        return nobody | {"api_key": key}
    runs = UsageInterval.objects.filter(account=account, resource_public_id=target)
    if not runs.exists():
        raise InvalidInput.of(target="The team has no run of this id that was ever billed.")
    return nobody | {"run": target}
