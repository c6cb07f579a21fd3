"""What is done to a schedule from its page: each a POST that leads on."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.pages.base import PortalRequest, signed_in
from clusters.access import schedule_for
from clusters.actions.schedules import (
    pause_schedule,
    remove_schedule,
    resume_schedule,
    run_now,
)
from portal.lib.errors import Conflict, InsufficientFunds, InvalidInput


def _to_page(schedule_id: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("schedule", args=[schedule_id]), status=303)


@require_POST
@signed_in
def schedule_run(request: PortalRequest, schedule_id: str) -> HttpResponse:
    """Launch it once now, as the person; leads to the job."""
    found = schedule_for(request.actor, schedule_id[:60])
    try:
        with transaction.atomic():
            job = run_now(request.actor, found.public_id).job
    except InsufficientFunds as error:
        messages.error(request, f"{error.message} Add credit under Billing, then run it again.")
    except (Conflict, InvalidInput) as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"{job.name} is launched.")
        return HttpResponseRedirect(reverse("job", args=[job.public_id]), status=303)
    return _to_page(found.public_id)


@require_POST
@signed_in
def schedule_pause(request: PortalRequest, schedule_id: str) -> HttpResponse:
    """Launch nothing until it is resumed."""
    found = pause_schedule(request.actor, schedule_id[:60])
    messages.success(request, "Paused. What runs goes on.")
    return _to_page(found.public_id)


@require_POST
@signed_in
def schedule_resume(request: PortalRequest, schedule_id: str) -> HttpResponse:
    """Go on with the next time to come, as the person."""
    found = resume_schedule(request.actor, schedule_id[:60])
    messages.success(request, "Resumed. From now on it runs as you.")
    return _to_page(found.public_id)


@require_POST
@signed_in
def schedule_remove(request: PortalRequest, schedule_id: str) -> HttpResponse:
    """List it no more."""
    found = schedule_for(request.actor, schedule_id[:60])
    remove_schedule(request.actor, found.public_id)
    messages.success(request, f"{found.name} is removed.")
    return HttpResponseRedirect(reverse("schedules"), status=303)
