"""What the frame of every page shows. Nothing is looked up before a template asks for it.

An anonymous page, and an error page, touch neither session nor database through this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject

from accounts.actor import Actor
from accounts.models import Team
from billing.actions.accounts import ensure_account
from billing.models import BillingAccount
from billing.queries.funds import Funds, funds_of, runway_text
from clusters.access import workloads_of
from clusters.choices import WorkloadStatus
from portal.lib.money import format_money

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "theme"
LIVE = (WorkloadStatus.STARTING, WorkloadStatus.RUNNING, WorkloadStatus.STOPPING)
_KEPT = "_frame_facts"


@dataclass(frozen=True, slots=True)
class Area:
    """A line of the navigation; `prefix` is what the addresses below it start with."""

    label: str
    url_name: str
    icon: str
    shortcut: str
    prefix: str


AREAS = (
    Area("Dashboard", "dashboard", "dashboard", "g d", "/dashboard/"),
    Area("Jobs", "jobs", "jobs", "g j", "/jobs/"),
    Area("Notebooks", "notebooks", "notebooks", "g n", "/notebooks/"),
    Area("Volumes", "volumes", "volumes", "g v", "/volumes/"),
    Area("Billing", "billing", "billing", "g b", "/billing/"),
    Area("Team", "team", "team", "g t", "/team/"),
    Area("Settings", "settings", "settings", "g s", "/settings/"),
)


class FrameFacts:
    """What an actor's frame shows; each fact is read once a request, when it is asked for."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    @cached_property
    def account(self) -> BillingAccount | None:
        """The account of the actor's team; None without a team."""
        return ensure_account(self.actor.team) if self.actor.team else None

    @cached_property
    def money(self) -> Funds | None:
        """Balance, holds, burn and runway of the account."""
        return funds_of(self.account) if self.account else None

    @cached_property
    def running_count(self) -> int:
        """How many of the team's jobs and notebooks hold GPUs now."""
        if self.actor.team is None:
            return 0
        return workloads_of(self.actor).filter(status__in=LIVE).count()

    @cached_property
    def teams(self) -> list[Team]:
        """The teams the person belongs to, by name."""
        user = self.actor.user
        return list(user.teams.order_by("name", "pk")) if user else []

    def running(self) -> dict[str, Any]:
        """What runs now and what it costs an hour."""
        burn = self.money.burn_micros_per_hour if self.money else 0
        return {"count": self.running_count, "per_hour_text": f"{format_money(burn)}/h"}

    def funds(self) -> dict[str, Any] | None:
        """The strip in the top bar."""
        if self.money is None:
            return None
        runway = self.money.runway_seconds
        running = self.running()
        return {
            "balance_text": format_money(self.money.balance_micros),
            "runway_text": "" if runway is None else f"{runway_text(runway)} left",
            "level": str(self.money.level),
            "url": reverse("billing"),
            "running_count": running["count"],
            "burn_text": running["per_hour_text"],
            "running_url": reverse("dashboard"),
        }


def facts_of(request: HttpRequest) -> FrameFacts | None:
    """The facts of the request's actor, the same object all request long; None without one."""
    actor = getattr(request, "actor", None)
    if not isinstance(actor, Actor):
        return None
    kept = getattr(request, _KEPT, None)
    if not isinstance(kept, FrameFacts):
        kept = FrameFacts(actor)
        setattr(request, _KEPT, kept)
    return kept


def frame(request: HttpRequest) -> dict[str, Any]:
    """The context processor. See docs/reference/components.md for what each name is."""
    facts = facts_of(request)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    mailbox_url = reverse("mailbox") if settings.DEMO else ""
    context: dict[str, Any] = {
        "site_name": settings.SITE_NAME,
        "theme": theme if theme in THEMES else "auto",
        "request_id": getattr(request, "request_id", ""),
        "is_demo": settings.DEMO,
        "mailbox_url": mailbox_url,
        "demo_url": mailbox_url,
        "demo_link_text": "Open the mailbox",
        "demo_notice": _DEMO_NOTICE if settings.DEMO else "",
        "insecure_banner": _INSECURE_NOTICE if settings.LOCAL_ALLOW_INSECURE else "",
        "menu_items": _lazy(lambda: _menu(request)),
    }
    if facts:
        context |= {
            "team": facts.actor.team,
            "teams": _lazy(lambda: facts.teams),
            "team_switch_url": reverse("team_switch"),
            "nav_items": _lazy(lambda: _nav(request.path)),
            "launch_url": launch_url(),
            "funds": _lazy(facts.funds),
            "running": _lazy(facts.running),
        }
    return context


_DEMO_NOTICE = "Demo: cards are test cards, and mail never leaves this machine."
_INSECURE_NOTICE = (
    "LOCAL_ALLOW_INSECURE is set: work runs on this machine without any isolation. "
    "Install bubblewrap and unset it."
)


def _lazy(read: Callable[[], Any]) -> Any:
    return SimpleLazyObject(read)


def _nav(path: str) -> list[dict[str, Any]]:
    return [
        {
            "label": area.label,
            "url": url,
            "icon": area.icon,
            "shortcut": area.shortcut,
            "is_active": path.startswith(area.prefix),
        }
        for area in AREAS
        if (url := _url_if_any(area.url_name))
    ]


def launch_url() -> str:
    """Where a job is launched."""
    return _url_if_any("job_new")


def _url_if_any(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""  # an area this installation does not have


def _menu(request: HttpRequest) -> list[dict[str, str]]:
    items = [
        {"label": "Settings", "url": reverse("settings"), "icon": "settings"},
        {"label": "API keys", "url": reverse("api_keys"), "icon": "key"},
    ]
    if getattr(request.user, "is_staff", False):
        items.append({"label": "Staff console", "url": reverse("admin:index"), "icon": "user"})
    return items
