"""Pools: operators add and change them, open and close them, and close the breaker."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.enums import ActionVariant

from clusters.actions import pools
from clusters.actions.pool_settings import Saved, add_pool, change_pool, settings_of
from clusters.admin.pool_columns import PoolColumns
from clusters.admin.pool_form import PoolForm
from clusters.admin.reasons import Question, ask_why, staff_actor
from clusters.models import Node, Pool
from clusters.queries.engines import engine_choices
from portal.lib.errors import InvalidInput
from portal.lib.staff import LookOnlyInline


class NodesOfPool(LookOnlyInline):
    """A pool's machines."""

    model = Node
    fields = ("name", "problem", "drain_reason", "gpus_in_use", "last_seen_at")
    readonly_fields = fields
    ordering = ("name",)
    per_page = 50


@admin.register(Pool)
class PoolAdmin(PoolColumns):
    """Pools."""

    list_display = ("name", "slug", "state", "engine", "gpu_model", "gpus", "per_hour")
    list_filter = ("backend", "is_open", "is_virtual")
    search_fields = ("name", "slug", "public_id")
    ordering = ("name",)
    readonly_fields = ("state", "engine", "gpus", "per_hour", "of_a_job", "of_a_gpu")
    fieldsets = (
        (None, {"fields": ("name", "slug", "public_id", "state", "gpus", "per_hour")}),
        ("Engine", {"fields": ("engine", "options", "may_start", "isolation", "health_detail",
                               "observed_at")}),
        ("Circuit breaker", {"fields": ("breaker_opened_at", "breaker_detail",
                                        "breaker_closed_at")}),
        ("Limits", {"fields": ("environments", "has_network", "of_a_job", "of_a_gpu")}),
        ("Other", {"fields": ("gpu_model", "is_virtual", "sku_code", "created_at")}),
    )  # fmt: skip
    inlines = (NodesOfPool,)
    actions_list: ClassVar[list[str]] = ["add_one"]
    actions_detail: ClassVar[list[str]] = ["close_breaker", "open_one", "close_one", "change_one"]

    def has_opening_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff, for one that is closed."""
        pool = _pool(object_id)
        return self.has_view_permission(request) and (pool is None or not pool.is_open)

    def has_closing_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff, for one that is open."""
        pool = _pool(object_id)
        return self.has_view_permission(request) and (pool is None or pool.is_open)

    def has_breaker_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff, where it is open."""
        pool = _pool(object_id)
        opened = pool is None or pool.breaker_opened_at is not None
        return self.has_view_permission(request) and opened

    @action(  # type: ignore[untyped-decorator]
        description="Add a pool",
        url_path="new",
        permissions=["view"],
        variant=ActionVariant.PRIMARY,
    )
    def add_one(self, request: HttpRequest) -> HttpResponse:
        """Ask for all of it; then make it and ask its engine."""
        return self._form_page(request, None)

    @action(  # type: ignore[untyped-decorator]
        description="Change", url_path="settings", permissions=["view"]
    )
    def change_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Change it, with a reason; then ask its engine."""
        return self._form_page(request, _found(object_id))

    def _form_page(self, request: HttpRequest, pool: Pool | None) -> HttpResponse:
        form = PoolForm(
            request.POST if request.method == "POST" else None,
            engines=engine_choices(),
            settings=settings_of(pool) if pool else None,
        )
        if form.is_valid():
            saved = _save(request, pool, form)
            if saved is not None:
                tell = messages.warning if saved.problem else messages.success
                tell(request, f"{saved.pool.name} is saved. {saved.words}")
                return HttpResponseRedirect(_page(saved.pool))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change {pool.name}" if pool else "Add a pool",
            "opts": self.model._meta,
            "pool": pool,
            "form": form,
            "back": _page(pool) if pool else reverse("admin:clusters_pool_changelist"),
        }
        return TemplateResponse(
            request, "admin/clusters/pool/form.html", context, status=400 if form.errors else 200
        )

    @action(  # type: ignore[untyped-decorator]
        description="Open the pool", url_path="open", permissions=["view", "opening"]
    )
    def open_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why, then let people launch in it."""
        pool = _found(object_id)
        asked = Question(
            title=f"Open {pool.name}",
            text="People can launch in it, and what waits in it is started.",
            button="Open",
            done=f"{pool.name} is open.",
            back=_page(pool),
        )
        return ask_why(request, self, asked, lambda actor, why: pools.open_pool(actor, pool, why))

    @action(  # type: ignore[untyped-decorator]
        description="Close the pool", url_path="close", permissions=["view", "closing"]
    )
    def close_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why, then start nothing more in it."""
        pool = _found(object_id)
        asked = Question(
            title=f"Close {pool.name}",
            text="Nothing more is launched or started in it. What runs goes on to its end; "
            "what waits keeps its place until the pool is opened again.",
            button="Close",
            is_harsh=True,
            done=f"{pool.name} is closed.",
            back=_page(pool),
        )
        return ask_why(request, self, asked, lambda actor, why: pools.close_pool(actor, pool, why))

    @action(  # type: ignore[untyped-decorator]
        description="Close the breaker", url_path="close-breaker", permissions=["view", "breaker"]
    )
    def close_breaker(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why, then start work again."""
        pool = _found(object_id)
        asked = Question(
            title=f"Close the breaker of {pool.name}",
            text="Work is started again at once. Failures before now count no more; drain the "
            "machines that failed first, if they still would.",
            facts=(pool.breaker_detail,) if pool.breaker_detail else (),
            button="Close the breaker",
            done=f"{pool.name} starts work again.",
            back=_page(pool),
        )
        return ask_why(
            request, self, asked, lambda actor, why: pools.close_breaker(actor, pool, why)
        )


def _save(request: HttpRequest, pool: Pool | None, form: PoolForm) -> Saved | None:
    data = form.cleaned_data
    try:
        if pool is None:
            return add_pool(
                staff_actor(request), data["slug"], form.wanted, is_open=data["is_open"]
            )
        return change_pool(staff_actor(request, data["reason"]), pool, form.wanted)
    except InvalidInput as error:
        form.refuse(error)
        return None


def _page(pool: Pool) -> str:
    return reverse("admin:clusters_pool_change", args=[pool.pk])


def _pool(key: Any) -> Pool | None:
    return Pool.objects.filter(pk=key).first() if str(key).isdecimal() else None


def _found(key: Any) -> Pool:
    pool = _pool(key)
    if pool is None:
        raise Http404
    return pool
