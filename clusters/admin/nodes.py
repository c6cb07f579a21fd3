"""Machines and their GPUs; operators drain a machine and give it back."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display

from clusters.actions import nodes
from clusters.admin.reasons import Question, ask_why
from clusters.models import Gpu, Node
from portal.lib.staff import LookOnlyAdmin, LookOnlyInline

STATE_COLOURS = {"Takes work": "success", "Drained": "warning", "Problem": "danger"}


class GpusOfNode(LookOnlyInline):
    """A machine's GPUs."""

    model = Gpu
    fields = ("index", "uuid", "model", "memory_bytes", "is_virtual", "is_present")
    readonly_fields = fields
    ordering = ("index",)


class StateFilter(admin.SimpleListFilter):
    """Machines that take no work."""

    title = "state"
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _page: Any) -> list[tuple[str, str]]:
        """What may be chosen."""
        return [("drained", "Drained"), ("problem", "Problem"), ("well", "Takes work")]

    def queryset(self, _request: HttpRequest, found: QuerySet[Node]) -> QuerySet[Node]:
        """Those chosen."""
        match self.value():
            case "drained":
                return found.exclude(drain_reason="")
            case "problem":
                return found.exclude(problem="")
            case "well":
                return found.filter(problem="", drain_reason="")
        return found


@admin.register(Node)
class NodeAdmin(LookOnlyAdmin):
    """Machines."""

    list_display = (
        "name", "pool_name", "state", "gpus", "drain_reason", "problem", "last_seen_at",
    )  # fmt: skip
    list_select_related = ("pool",)
    list_filter = (StateFilter, "pool__slug")
    search_fields = ("name", "pool__name", "problem", "drain_reason")
    ordering = ("name",)
    fields = (
        "name", "pool_name", "state", "gpus", "problem", "drain_reason", "drained_at",
        "last_seen_at",
    )  # fmt: skip
    readonly_fields = ("pool_name", "state", "gpus")
    inlines = (GpusOfNode,)
    actions_detail: ClassVar[list[str]] = ["drain", "undrain"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        """With the GPUs present, and those the portal has allotted."""
        found: QuerySet[Node] = super().get_queryset(request)
        present = Q(gpus__is_present=True)
        taken = present & Q(
            gpus__allotments__isnull=False, gpus__allotments__released_at__isnull=True
        )
        return found.annotate(
            present=Count("gpus", filter=present, distinct=True),
            allotted=Count("gpus", filter=taken, distinct=True),
        )

    @admin.display(description="Pool")
    def pool_name(self, node: Node) -> str:
        """The pool it belongs to."""
        return node.pool.name

    @display(description="State", label=STATE_COLOURS)  # type: ignore[untyped-decorator]
    def state(self, node: Node) -> str:
        """Whether it takes work."""
        if node.problem and not node.drain_reason:
            return "Problem"
        return "Drained" if node.drain_reason else "Takes work"

    @admin.display(description="GPUs in use")
    def gpus(self, node: Any) -> str:
        """By the engine's own count where it places by itself, else by the portal's."""
        used = node.allotted if node.gpus_in_use is None else node.gpus_in_use
        return f"{used} of {node.present}"

    def has_draining_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff, for a machine that is not drained."""
        return self._may(request, object_id, is_drained=False)

    def has_undraining_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Staff, for one that is."""
        return self._may(request, object_id, is_drained=True)

    def _may(self, request: HttpRequest, object_id: Any, *, is_drained: bool) -> bool:
        if not self.has_view_permission(request):
            return False
        node = _node(object_id)
        return node is None or bool(node.drain_reason) == is_drained

    @action(  # type: ignore[untyped-decorator]
        description="Drain", url_path="drain", permissions=["view", "draining"]
    )
    def drain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why, then keep new work off it."""
        node = _found(object_id)
        asked = Question(
            title=f"Drain {node.name}",
            text="It gets no new work. What runs there goes on to its end.",
            button="Drain",
            done=f"{node.name} is drained. The engine is told now and again.",
            back=reverse("admin:clusters_node_change", args=[node.pk]),
            help_text="One line. The engine shows it too; the audit trail keeps it.",
            max_length=nodes.MAX_REASON,
        )
        return ask_why(request, self, asked, lambda actor, why: nodes.drain(actor, node, why))

    @action(  # type: ignore[untyped-decorator]
        description="Undrain", url_path="undrain", permissions=["view", "undraining"]
    )
    def undrain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why, then let it take work."""
        node = _found(object_id)
        asked = Question(
            title=f"Undrain {node.name}",
            text="It takes work again, unless the engine itself has a problem with it.",
            facts=(f"Drained because: {node.drain_reason}",),
            button="Undrain",
            done=f"{node.name} takes work again.",
            back=reverse("admin:clusters_node_change", args=[node.pk]),
        )
        return ask_why(request, self, asked, lambda actor, why: nodes.undrain(actor, node, why))


@admin.register(Gpu)
class GpuAdmin(LookOnlyAdmin):
    """GPUs."""

    list_display = ("uuid", "model", "node_name", "index", "is_virtual", "is_present")
    list_select_related = ("node__pool",)
    list_filter = ("is_virtual", "is_present", "model")
    search_fields = ("uuid", "node__name")
    ordering = ("node__name", "index")
    fields = ("uuid", "model", "node_name", "index", "memory_bytes", "is_virtual", "is_present")
    readonly_fields = ("node_name",)

    @admin.display(description="Node")
    def node_name(self, gpu: Gpu) -> str:
        """Pool and machine."""
        return f"{gpu.node.pool.name} / {gpu.node.name}"


def _node(key: Any) -> Node | None:
    if not str(key).isdecimal():
        return None
    return Node.objects.select_related("pool").filter(pk=key).first()


def _found(key: Any) -> Node:
    node = _node(key)
    if node is None:
        raise Http404
    return node
