"""Mail about workloads, to whoever launched them."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.choices import Role
from accounts.models import Membership
from clusters.choices import Reason
from clusters.models import Notebook, Schedule, ScheduleRun
from portal.lib.money import format_money


def send_countdown(notebook: Notebook) -> None:
    """When a notebook will stop, why, and what keeps it. Needs its countdown, price and person."""
    workload = notebook.workload
    assert notebook.stops_at is not None  # noqa: S101  # the caller has looked
    context = {
        "name": workload.name,
        "reason": notebook.stops_for,
        "is_idle": notebook.stops_for == Reason.IDLE,
        "idle_minutes": notebook.idle_minutes,
        "stops_text": f"{notebook.stops_at:%H:%M} UTC",
        "rate_text": f"{format_money(workload.price.micros_per_hour * workload.gpus)}/h",
        "keep_url": f"{settings.SITE_URL}/notebooks/{workload.public_id}/countdown/?choose=keep",
        "stop_url": f"{settings.SITE_URL}/notebooks/{workload.public_id}/countdown/?choose=stop",
        "site_name": settings.SITE_NAME,
    }
    subject = " ".join(render_to_string("clusters/email/countdown_subject.txt", context).split())
    message = render_to_string("clusters/email/countdown_message.txt", context)
    send_mail(subject, message, None, [workload.created_by.email])


def send_schedule_trouble(run: ScheduleRun) -> None:
    """What went wrong with a run of a schedule, to whom it runs as; to owners where they left."""
    schedule = run.schedule
    context = {
        "name": schedule.name,
        "due_text": f"{run.due_at:%-d %b %Y, %H:%M} UTC",
        "detail": run.detail,
        "job_url": f"{settings.SITE_URL}/jobs/{run.workload.public_id}/" if run.workload else "",
        "paused_reason": schedule.paused_reason,
        "failures": schedule.failures_in_row,
        "url": f"{settings.SITE_URL}/schedules/{schedule.public_id}/",
        "site_name": settings.SITE_NAME,
    }
    subject = " ".join(render_to_string("clusters/email/schedule_subject.txt", context).split())
    message = render_to_string("clusters/email/schedule_message.txt", context)
    send_mail(subject, message, None, _readers(schedule))


def _readers(schedule: Schedule) -> list[str]:
    members = Membership.objects.filter(team=schedule.team_id, user__is_active=True)
    person = members.filter(user=schedule.runs_as_id)
    readers = person if person.exists() else members.filter(role=Role.OWNER)
    return list(readers.order_by("pk").values_list("user__email", flat=True))
