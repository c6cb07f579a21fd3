"""Runs, with every attempt, and the one thing staff do to them: stop them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import action, display

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import cancel
from clusters.actions.notebooks import stop_notebook
from clusters.admin.reasons import ReasonForm
from clusters.choices import AT_REST, WorkloadKind, WorkloadStatus
from clusters.models import Attempt, Workload, WorkloadEvent
from portal.lib.errors import PortalError
from portal.lib.staff import LookOnlyAdmin, LookOnlyInline

STATUS_COLOURS = {
    WorkloadStatus.QUEUED.label: "default",
    WorkloadStatus.STARTING.label: "warning",
    WorkloadStatus.RUNNING.label: "info",
    WorkloadStatus.STOPPING.label: "warning",
    WorkloadStatus.SUCCEEDED.label: "success",
    WorkloadStatus.FAILED.label: "danger",
    WorkloadStatus.CANCELLED.label: "default",
    WorkloadStatus.STOPPED.label: "default",
}
STOPPABLE = sorted(set(WorkloadStatus) - AT_REST - {WorkloadStatus.STOPPING})
MOST_STOPPED_AT_ONCE = 200
_STOPS: dict[WorkloadKind, Callable[[Actor, str], Workload]] = {
    WorkloadKind.JOB: cancel,
    WorkloadKind.NOTEBOOK: stop_notebook,
}


class AttemptsOfRun(LookOnlyInline):
    """A run's placements."""

    model = Attempt
    fields = (
        "number", "state", "reason", "detail", "node", "engine_id", "started_at", "ended_at",
        "exit_code", "missing_since", "external_name", "not_before", "placed_at",
        "submitted_at", "stop_sent_at",
    )  # fmt: skip
    readonly_fields = fields
    ordering = ("number",)


class EventsOfRun(LookOnlyInline):
    """A run's timeline."""

    model = WorkloadEvent
    fields = ("at", "attempt_number", "status", "reason", "message", "actor")
    readonly_fields = fields
    ordering = ("pk",)


@admin.register(Workload)
class WorkloadAdmin(LookOnlyAdmin):
    """Runs."""

    list_display = ("public_id", "name", "team", "status_label", "pool_name", "gpus", "created_at")
    list_select_related = ("team", "pool")
    list_filter = ("status", "reason", "kind")
    search_fields = ("public_id", "name", "team__name", "created_by__email")
    ordering = ("-pk",)
    exclude = ("env", "price", "pool")
    readonly_fields = ("pool_name", "variable_names")
    inlines = (AttemptsOfRun, EventsOfRun)
    actions = ("stop_chosen",)
    actions_detail: ClassVar[list[str]] = ["stop_one"]

    @display(description="Status", ordering="status", label=STATUS_COLOURS)  # type: ignore[untyped-decorator]
    def status_label(self, job: Workload) -> str:
        """The status in colour."""
        return job.get_status_display()

    @admin.display(description="Pool", ordering="pool__name")
    def pool_name(self, job: Workload) -> str:
        """The pool it was sent to."""
        return job.pool.name

    @admin.display(description="Environment variables")
    def variable_names(self, job: Workload) -> str:
        """Names only: values are often secrets of the team's."""
        return ", ".join(sorted(job.env)) or "-"

    def get_urls(self) -> list[URLPattern]:
        """The page that asks for the reason, ahead of the catch-all."""
        own = path(
            "stop/", self.admin_site.admin_view(self.stop_page), name="clusters_workload_stop"
        )
        return [own, *super().get_urls()]

    @admin.action(description="Stop, with a reason")
    def stop_chosen(self, request: HttpRequest, jobs: QuerySet[Workload]) -> HttpResponse:
        """Ask for the reason to stop the chosen runs."""
        return _ask_why(jobs.values_list("public_id", flat=True)[:MOST_STOPPED_AT_ONCE])

    @action(  # type: ignore[untyped-decorator]
        description="Stop this run", url_path="ask-to-stop", permissions=["view"]
    )
    def stop_one(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Ask for the reason to stop this run."""
        return _ask_why(Workload.objects.filter(pk=object_id).values_list("public_id", flat=True))

    def stop_page(self, request: HttpRequest) -> HttpResponse:
        """Ask for a reason; with one, stop the runs named by `job` as staff."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        names = request.GET.getlist("job")[:MOST_STOPPED_AT_ONCE]
        jobs = list(
            Workload.objects.filter(public_id__in=[name.replace("\0", "") for name in names])
            .select_related("team")
            .order_by("-pk")
        )
        if not jobs:
            raise Http404
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            self._stop(request, jobs, form.cleaned_data["reason"])
            return HttpResponseRedirect(reverse("admin:clusters_workload_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Stop runs" if len(jobs) > 1 else "Stop a run",
            "opts": self.model._meta,
            "form": form,
            "jobs": [(job, job.status in STOPPABLE) for job in jobs],
        }
        return TemplateResponse(
            request,
            "admin/clusters/workload/stop.html",
            context,
            status=400 if form.errors else 200,
        )

    def _stop(self, request: HttpRequest, jobs: list[Workload], reason: str) -> None:
        assert isinstance(request.user, User)  # noqa: S101  # admin_view let only staff in
        for job in jobs:
            actor = Actor.staff(request.user, team=job.team, reason=reason)
            try:
                _STOPS[WorkloadKind(job.kind)](actor, job.public_id)
            except PortalError as error:
                messages.warning(request, f"{job.public_id}: {error.message}")
            else:
                messages.success(request, f"{job.public_id} was asked to stop.")


def _ask_why(names: QuerySet[Workload, str]) -> HttpResponse:
    query = "&".join(f"job={name}" for name in names)
    return HttpResponseRedirect(f"{reverse('admin:clusters_workload_stop')}?{query}")
