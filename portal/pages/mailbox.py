"""The demo's mailbox: what Django's file backend wrote, for people who have no account yet.

It shows everybody's mail to everybody, so it answers 404 as soon as the demo is off.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

PAGE_SIZE = 50
FILES_READ = 500
# The file backend writes this line after every message.
_END_OF_MESSAGE = b"\n" + b"-" * 79 + b"\n"


@dataclass(frozen=True, slots=True)
class Mail:
    """One sent message. `id` is a digest of where it lies, so it names no path.

    A Date header counts whole seconds; `order` tells apart what was sent within one.
    """

    id: str
    sent_at: datetime
    order: tuple[int, int]
    subject: str
    sender: str
    to: tuple[str, ...]
    body: str


@require_safe
def mailbox(request: HttpRequest) -> HttpResponse:
    """All sent mail, newest first; `?to=` keeps that of one address."""
    _only_in_demo()
    wanted = request.GET.get("to", "").strip()
    mails = [mail for mail in sent_mail() if not wanted or _is_to(mail, wanted)]
    page = Paginator(mails, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"page": page, "wanted": wanted, "query": urlencode({"to": wanted}) if wanted else ""}
    return _fresh(render(request, "portal/mailbox.html", context))


@require_safe
def mailbox_message(request: HttpRequest, message_id: str) -> HttpResponse:
    """One message, its links clickable."""
    _only_in_demo()
    found = next((mail for mail in sent_mail() if mail.id == message_id), None)
    if found is None:
        raise Http404
    return _fresh(render(request, "portal/mailbox_message.html", {"mail": found}))


def sent_mail() -> list[Mail]:
    """The messages in the newest `FILES_READ` files of EMAIL_FILE_PATH, newest first."""
    folder = Path(settings.EMAIL_FILE_PATH)
    files = sorted(path for path in folder.glob("*.log") if not path.is_symlink())[::-1]
    mails = [mail for path in files[:FILES_READ] for mail in _mails_in(path)]
    return sorted(mails, key=lambda mail: (mail.sent_at, mail.order), reverse=True)


def _mails_in(path: Path) -> Iterator[Mail]:
    written_ns = path.stat().st_mtime_ns
    written_at = datetime.fromtimestamp(written_ns // 1_000_000_000, UTC)
    *parts, _rest = path.read_bytes().split(_END_OF_MESSAGE)
    for number, raw in enumerate(parts):
        message = email.message_from_bytes(raw, policy=email.policy.default)
        yield Mail(
            id=hashlib.sha256(f"{path.name}:{number}".encode()).hexdigest()[:20],
            sent_at=_date_of(message) or written_at,
            order=(written_ns, number),
            subject=str(message["subject"] or "(no subject)"),
            sender=str(message["from"] or ""),
            to=_recipients(message),
            body=_text_of(message),
        )


def _recipients(message: EmailMessage) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(message["to"] or "").split(",") if part.strip())


def _date_of(message: EmailMessage) -> datetime | None:
    try:
        at = parsedate_to_datetime(str(message["date"]))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _text_of(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain",))
    return str(part.get_content()).strip() if part else ""


def _is_to(mail: Mail, wanted: str) -> bool:
    return any(wanted.lower() in address.lower() for address in mail.to)


def _only_in_demo() -> None:
    if not settings.DEMO:
        raise Http404


def _fresh(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
