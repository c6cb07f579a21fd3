"""Engines as the control loop knows them, and the page that shows how the loop does."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.decorators import action, display

from clusters.models import Engine
from clusters.queries.loop import loop_status
from portal.lib.staff import LookOnlyAdmin

ANSWER_COLOURS = {"Answers": "success", "Does not answer": "danger", "Never seen": "default"}

ENGINE_HEADS = ("Engine", "State", "Survey", "Took", "Failing since", "Next try", "Lease")
POOL_HEADS = ("Pool", "State", "Engine asked", "Waiting", "Placed", "In its queue", "Running")


@admin.register(Engine)
class EngineAdmin(LookOnlyAdmin):
    """Engines."""

    list_display = ("name", "answers", "surveyed_at", "took", "failing_since", "retry_at")
    search_fields = ("name", "error")
    ordering = ("name",)
    fields = (
        "name", "answers", "surveyed_at", "took", "failing_since", "failures", "error",
        "retry_at", "lease_owner", "lease_expires_at", "strays",
    )  # fmt: skip
    readonly_fields = ("answers", "took", "lease_owner", "lease_expires_at")
    actions_list: ClassVar[list[str]] = ["loop_page"]

    @display(description="State", label=ANSWER_COLOURS)  # type: ignore[untyped-decorator]
    def answers(self, engine: Engine) -> str:
        """Whether it answered last."""
        if engine.failing_since is not None:
            return "Does not answer"
        return "Answers" if engine.surveyed_at else "Never seen"

    @admin.display(description="Survey took", ordering="survey_ms")
    def took(self, engine: Engine) -> str:
        """How long the last survey took."""
        return f"{engine.survey_ms:.0f} ms"

    @action(  # type: ignore[untyped-decorator]
        description="Control loop", url_path="loop", permissions=["view"]
    )
    def loop_page(self, request: HttpRequest) -> HttpResponse:
        """Engines, pools, workers, leases, and what is stuck."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Control loop",
            "opts": self.model._meta,
            "is_fullwidth": True,
            "status": loop_status(),
            "engine_heads": ENGINE_HEADS,
            "pool_heads": POOL_HEADS,
        }
        return TemplateResponse(request, "admin/clusters/engine/loop.html", context)
