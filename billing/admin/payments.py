"""The staff console's view of cards, refunds, disputes and reconciliation."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.actor import Actor
from accounts.models import User
from billing.actions.breaks import explain_break
from billing.actions.reconcile import reconcile
from billing.admin.asking import ask
from billing.models import (
    AutoTopUp,
    Dispute,
    PaymentMethod,
    PspTransaction,
    ReconciliationBreak,
    ReconciliationRun,
    Refund,
)
from portal.lib.errors import PortalError, Unavailable
from portal.lib.money import format_money, from_cents
from portal.lib.staff import LookOnlyAdmin


@admin.register(PaymentMethod)
class PaymentMethodAdmin(LookOnlyAdmin):
    """Saved cards."""

    list_display = ("__str__", "team", "status", "is_default", "created_at")
    list_select_related = ("account__team",)
    list_filter = ("status",)
    search_fields = ("public_id", "stripe_id", "last4", "account__team__name")
    ordering = ("-pk",)
    fields = (
        "public_id", "team", "brand", "last4", "exp_month", "exp_year", "status", "is_default",
        "stripe_id", "fingerprint", "created_at",
    )  # fmt: skip
    readonly_fields = ("public_id", "team", "created_at")

    def team(self, card: PaymentMethod) -> str:
        """Whose it is."""
        return card.account.team.name


@admin.register(AutoTopUp)
class AutoTopUpAdmin(LookOnlyAdmin):
    """Who is topped up by itself, and why not."""

    list_display = ("team", "is_on", "pause_reason", "paused_at", "threshold", "amount", "maximum")
    list_select_related = ("account__team",)
    list_filter = ("is_on", "pause_reason")
    search_fields = ("account__team__name",)
    ordering = ("-pk",)
    fields = (
        "team", "is_on", "threshold", "amount", "maximum", "pause_reason", "paused_at",
        "updated_at",
    )  # fmt: skip
    readonly_fields = ("team", "threshold", "amount", "maximum")

    def team(self, rule: AutoTopUp) -> str:
        """Whose it is."""
        return rule.account.team.name

    def threshold(self, rule: AutoTopUp) -> str:
        """When."""
        return format_money(rule.threshold_micros)

    def amount(self, rule: AutoTopUp) -> str:
        """How much."""
        return format_money(rule.amount_micros)

    def maximum(self, rule: AutoTopUp) -> str:
        """In a month."""
        return format_money(rule.monthly_maximum_micros)


@admin.register(Refund)
class RefundAdmin(LookOnlyAdmin):
    """Money going back."""

    list_display = ("public_id", "team", "amount", "status", "created_at", "settled_at")
    list_select_related = ("payment__account__team",)
    list_filter = ("status",)
    search_fields = ("public_id", "stripe_refund_id", "payment__public_id")
    ordering = ("-pk",)
    fields = (
        "public_id", "team", "payment", "amount", "status", "reason", "failure_message",
        "stripe_refund_id", "created_at", "settled_at",
    )  # fmt: skip
    readonly_fields = ("public_id", "team", "amount", "created_at")

    def team(self, refund: Refund) -> str:
        """Whose it is."""
        return refund.payment.account.team.name

    @admin.display(ordering="amount_micros")
    def amount(self, refund: Refund) -> str:
        """How much."""
        return format_money(refund.amount_micros)


@admin.register(Dispute)
class DisputeAdmin(LookOnlyAdmin):
    """Payments taken back by banks."""

    list_display = ("stripe_dispute_id", "team", "amount", "withheld", "status", "created_at")
    list_select_related = ("payment__account__team",)
    list_filter = ("status",)
    search_fields = ("stripe_dispute_id", "payment__public_id")
    ordering = ("-pk",)
    fields = (
        "stripe_dispute_id", "team", "payment", "amount", "withheld", "reason", "status",
        "created_at", "closed_at",
    )  # fmt: skip
    readonly_fields = ("team", "amount", "withheld", "created_at")

    def team(self, dispute: Dispute) -> str:
        """Whose payment it was."""
        return dispute.payment.account.team.name

    @admin.display(ordering="amount_micros")
    def amount(self, dispute: Dispute) -> str:
        """How much."""
        return format_money(dispute.amount_micros)

    def withheld(self, dispute: Dispute) -> str:
        """Credit set aside."""
        return format_money(dispute.withheld_micros)


@admin.register(PspTransaction)
class PspTransactionAdmin(LookOnlyAdmin):
    """Movements of our balance at Stripe."""

    list_display = ("stripe_id", "type", "amount", "fee", "net", "created_at")
    list_filter = ("type",)
    search_fields = ("stripe_id", "source")
    ordering = ("-created_at",)
    fields = ("stripe_id", "type", "source", "amount", "fee", "net", "currency", "created_at")
    readonly_fields = ("amount", "fee", "net")

    def amount(self, one: PspTransaction) -> str:
        """Before fees."""
        return format_money(from_cents(one.amount_cents))

    def fee(self, one: PspTransaction) -> str:
        """Stripe's."""
        return format_money(from_cents(one.fee_cents))

    def net(self, one: PspTransaction) -> str:
        """After fees."""
        return format_money(from_cents(one.net_cents))


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(LookOnlyAdmin):
    """Comparisons of all books, and making one now."""

    list_display = ("started_at", "finished_at", "checked", "error")
    ordering = ("-pk",)
    fields = ("started_at", "finished_at", "checked", "error")
    readonly_fields = fields
    actions_list: ClassVar[list[str]] = ["reconcile_now"]

    @action(  # type: ignore[untyped-decorator]
        description="Reconcile now", url_path="reconcile-now", permissions=["view"]
    )
    def reconcile_now(self, request: HttpRequest) -> HttpResponse:
        """Ask, compare everything, and lead to what differs."""

        def act(_user: User) -> str:
            run = reconcile()
            if run.error:
                raise Unavailable(run.error)
            found = ReconciliationBreak.objects.filter(resolved_at__isnull=True).count()
            return f"{found} differences are open." if found else "All books agree."

        return ask(
            self,
            request,
            forms.Form(request.POST if request.method == "POST" else None),
            act,
            title="Reconcile now",
            text="Our books are compared with Stripe's and with each other. It may take a minute.",
            back=reverse("admin:billing_reconciliationbreak_changelist"),
        )


class ExplainForm(forms.Form):
    """Why a difference is settled."""

    why = forms.CharField(
        label="Why it is settled",
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="It opens again when the next reconciliation still finds it.",
    )


@admin.register(ReconciliationBreak)
class ReconciliationBreakAdmin(LookOnlyAdmin):
    """What two books disagree on."""

    list_display = ("kind", "subject", "expected", "actual", "opened_at", "resolved_at")
    list_filter = (("resolved_at", admin.EmptyFieldListFilter), "kind")
    search_fields = ("subject", "expected", "actual")
    ordering = ("-pk",)
    fields = (
        "kind", "subject", "expected", "actual", "opened_at", "last_seen_at", "resolved_at",
        "resolution",
    )  # fmt: skip
    readonly_fields = ("opened_at", "last_seen_at")
    actions_detail: ClassVar[list[str]] = ["explain"]

    @action(  # type: ignore[untyped-decorator]
        description="Explain", url_path="explain", permissions=["view"]
    )
    def explain(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Close it in words."""
        if not self.has_view_permission(request) or not isinstance(request.user, User):
            raise PermissionDenied
        found = ReconciliationBreak.objects.filter(pk=object_id).first()
        if found is None:
            raise Http404
        form = ExplainForm(request.POST or None)
        if form.is_valid() and _explained(request, request.user, found, form):
            return HttpResponseRedirect(reverse("admin:billing_reconciliationbreak_changelist"))
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Explain a difference",
            "opts": self.model._meta,
            "form": form,
            "found": found,
        }
        return TemplateResponse(
            request,
            "admin/billing/reconciliationbreak/explain.html",
            context,
            status=400 if form.errors else 200,
        )


def _explained(
    request: HttpRequest, user: User, found: ReconciliationBreak, form: ExplainForm
) -> bool:
    why = form.cleaned_data["why"]
    try:
        explain_break(Actor.staff(user, team=None, reason=why), found.pk, why=why)
    except PortalError as error:
        form.add_error(None, error.message)
        return False
    messages.success(request, "The difference is closed.")
    return True
