"""What the staff console's lists start from: staff look, and change nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

if TYPE_CHECKING:
    from django.contrib.admin.options import BaseModelAdmin

    _Mixed = BaseModelAdmin[Any]
else:
    _Mixed = object


class LookOnly(_Mixed):
    """No adding, changing or deleting; every active member of staff may look."""

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Never."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Staff."""
        return bool(request.user.is_active and getattr(request.user, "is_staff", False))


class LookOnlyAdmin(LookOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A read-only list and page."""

    list_per_page = 50
    show_full_result_count = False
    list_fullwidth = True

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether its app is listed: to those who may look."""
        return self.has_view_permission(request)


class LookOnlyInline(LookOnly, TabularInline):  # type: ignore[misc]  # unfold has no types
    """Read-only rows on another's page."""

    extra = 0
    can_delete = False
    hide_title = True
