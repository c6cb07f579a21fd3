"""How pages write money, time and size. Registered as built-in: no `{% load %}` is needed.

The same words as `static/js/format.js`, which takes over where a number ticks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.lib import clock
from portal.lib.money import format_money
from portal.lib.sizes import format_bytes

register = template.Library()

UNKNOWN = "\N{EN DASH}"

_CENT_MICROS = 10_000
_FINEST_MICROS = 100
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@register.filter
def money(micros: int | None) -> str:
    """Micro-units as `$1,234.56`; under a cent with as many places as tell it from nothing."""
    if micros is None:
        return UNKNOWN
    if 0 < abs(micros) < _CENT_MICROS:
        return money_precise(micros)
    return format_money(micros)


@register.filter
def money_precise(micros: int | None) -> str:
    """Micro-units with four places (`$0.0034`), six under $0.0001."""
    if micros is None:
        return UNKNOWN
    return format_money(micros, digits=6 if 0 < abs(micros) < _FINEST_MICROS else 4)


@register.filter
def duration(seconds: float | timedelta | None) -> str:
    """Seconds as `42 s`, `3 min 05 s`, `2 h 07 min` or `3 d 4 h`."""
    if seconds is None:
        return UNKNOWN
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def relative(at: datetime) -> str:
    """How long ago, or how soon, in one unit; older than a week, the date."""
    seconds = round((clock.now() - at).total_seconds())
    size = abs(seconds)
    if size < 5:
        return "just now"
    for limit, unit, word in ((_MINUTE, 1, "s"), (_HOUR, _MINUTE, "min"), (_DAY, _HOUR, "h")):
        if size < limit:
            return _said(size // unit, word, seconds)
    if size < 7 * _DAY:
        return _said(size // _DAY, "d", seconds)
    return f"{at:%-d %b %Y}"


def _said(count: int, word: str, seconds: int) -> str:
    return f"{count} {word} ago" if seconds >= 0 else f"in {count} {word}"


@register.filter
def ago(at: datetime | None) -> SafeString | str:
    """A `<time>` with relative words, the exact instant on hover."""
    if at is None:
        return UNKNOWN
    at = at.astimezone(UTC)
    return format_html(
        '<time class="nowrap" datetime="{}" title="{} UTC" data-relative>{}</time>',
        at.isoformat(),
        f"{at:%-d %b %Y, %H:%M:%S}",
        relative(at),
    )


@register.filter
def bytes(count: int | None) -> str:  # the filter's name in templates
    """Bytes as `512 B`, `1.4 MiB`, `120 GiB`."""
    return UNKNOWN if count is None else format_bytes(count)


@register.filter
def run_url(public_id: str) -> str:
    """The page of a run, by the kind its id begins with."""
    return reverse("notebook" if public_id.startswith("nb_") else "job", args=[public_id])


@register.filter
def middle_truncate(text: str, length: int = 40) -> str:
    """At most `length` characters, the middle left out: both ends of a name tell it apart."""
    if len(text) <= length:
        return text
    head = length // 2
    tail = length - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"
