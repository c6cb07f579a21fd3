"""The staff console's view of pools and runs, and the one thing staff do to a run: stop it."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.jobs import cancel
from clusters.choices import WORKLOAD_TRANSITIONS, WorkloadStatus
from clusters.models import Attempt, Gpu, Node, Pool, Workload, WorkloadEvent
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
}
STOPPABLE = [
    status
    for status in WorkloadStatus
    if WORKLOAD_TRANSITIONS.may(status, WorkloadStatus.CANCELLED)
    and status != WorkloadStatus.STOPPING
]
MOST_STOPPED_AT_ONCE = 200


class NodesOfPool(LookOnlyInline):
    """A pool's machines."""

    model = Node
    fields = ("name", "last_seen_at")
    readonly_fields = fields


class GpusOfNode(LookOnlyInline):
    """A machine's GPUs."""

    model = Gpu
    fields = ("index", "uuid", "model", "memory_bytes", "is_virtual", "is_present")
    readonly_fields = fields
    ordering = ("index",)


@admin.register(Pool)
class PoolAdmin(LookOnlyAdmin):
    """Pools."""

    list_display = ("name", "slug", "gpu_model", "is_virtual", "is_open", "may_start", "isolation")
    list_filter = ("backend", "is_open", "is_virtual")
    search_fields = ("name", "slug", "public_id")
    ordering = ("name",)
    inlines = (NodesOfPool,)


@admin.register(Node)
class NodeAdmin(LookOnlyAdmin):
    """Machines."""

    list_display = ("name", "pool_name", "gpu_count", "last_seen_at")
    list_select_related = ("pool",)
    search_fields = ("name", "pool__name")
    ordering = ("name",)
    fields = ("name", "pool_name", "last_seen_at")
    readonly_fields = ("pool_name",)
    inlines = (GpusOfNode,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        """With the number of GPUs present."""
        nodes: QuerySet[Node] = super().get_queryset(request)
        return nodes.annotate(present=Count("gpus", filter=Q(gpus__is_present=True)))

    @admin.display(description="Pool")
    def pool_name(self, node: Node) -> str:
        """The pool it belongs to."""
        return node.pool.name

    @admin.display(description="GPUs")
    def gpu_count(self, node: Any) -> int:
        """GPUs it reports now."""
        return int(node.present)


@admin.register(Gpu)
class GpuAdmin(LookOnlyAdmin):
    """GPUs."""

    list_display = ("uuid", "model", "node_name", "index", "is_virtual", "is_present")
    list_select_related = ("node__pool",)
    list_filter = ("is_virtual", "is_present", "model")
    search_fields = ("uuid", "node__name")
    ordering = ("node__name", "index")
    fields = (
        "uuid",
        "model",
        "node_name",
        "index",
        "memory_bytes",
        "is_virtual",
        "is_present",
    )
    readonly_fields = ("node_name",)

    @admin.display(description="Node")
    def node_name(self, gpu: Gpu) -> str:
        """Pool and machine."""
        return f"{gpu.node.pool.name} / {gpu.node.name}"


class AttemptsOfRun(LookOnlyInline):
    """A run's placements."""

    model = Attempt
    fields = (
        "number",
        "external_name",
        "state",
        "node",
        "placed_at",
        "started_at",
        "ended_at",
        "exit_code",
        "reason",
        "detail",
    )
    readonly_fields = fields
    ordering = ("number",)


class EventsOfRun(LookOnlyInline):
    """A run's timeline."""

    model = WorkloadEvent
    fields = ("at", "attempt_number", "status", "reason", "message", "actor")
    readonly_fields = fields
    ordering = ("pk",)


class StopForm(forms.Form):
    """Why staff stops a run."""

    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Goes into the audit trail with your name.",
    )


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
        form = StopForm(request.POST if request.method == "POST" else None)
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
                cancel(actor, job.public_id)
            except PortalError as error:
                messages.warning(request, f"{job.public_id}: {error.message}")
            else:
                messages.success(request, f"{job.public_id} was asked to stop.")


def _ask_why(names: QuerySet[Workload, str]) -> HttpResponse:
    query = "&".join(f"job={name}" for name in names)
    return HttpResponseRedirect(f"{reverse('admin:clusters_workload_stop')}?{query}")
