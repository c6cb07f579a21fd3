"""How busy what is billed was: told by whoever runs it, printed on the invoice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing.choices import Meter


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured of one attempt of a resource in the hour that begins at `hour`.

    `unit_seconds`, over all its units, were measured, `idle_seconds` of them did nothing, and
    `busy_ppm_seconds` is the sum of their utilisation in parts per million.
    """

    resource_id: int
    attempt: int
    hour: datetime
    unit_seconds: int
    busy_ppm_seconds: int
    idle_seconds: int


_NOTE = """
INSERT INTO billing_usagemeasure AS known
    (interval_id, hour, unit_seconds, busy_ppm_seconds, idle_seconds)
SELECT i.id, told.hour, told.units, told.busy, told.idle
FROM unnest(%(ids)s::bigint[], %(attempts)s::int[], %(hours)s::timestamptz[], %(units)s::int[],
    %(busy)s::bigint[], %(idle)s::int[]) AS told (id, attempt, hour, units, busy, idle)
JOIN billing_usageinterval i ON i.resource_kind = %(kind)s AND i.resource_id = told.id
    AND i.resource_attempt = told.attempt
JOIN billing_sku s ON s.id = i.sku_id AND s.meter = %(meter)s
ON CONFLICT (interval_id, hour) DO UPDATE SET unit_seconds = excluded.unit_seconds,
    busy_ppm_seconds = excluded.busy_ppm_seconds, idle_seconds = excluded.idle_seconds
WHERE (known.unit_seconds, known.busy_ppm_seconds, known.idle_seconds)
    <> (excluded.unit_seconds, excluded.busy_ppm_seconds, excluded.idle_seconds)
"""


def note_use(resource_kind: str, measures: Sequence[Measure]) -> int:
    """Keep what was measured, replacing what was known of the same hours; returns the changes.

    One statement for any number. What was never metered is left out.
    """
    if not measures:
        return 0
    values: dict[str, str | list[int] | list[datetime]] = {
        "kind": resource_kind,
        "meter": Meter.GPU.value,
        "ids": [one.resource_id for one in measures],
        "attempts": [one.attempt for one in measures],
        "hours": [one.hour for one in measures],
        "units": [one.unit_seconds for one in measures],
        "busy": [one.busy_ppm_seconds for one in measures],
        "idle": [one.idle_seconds for one in measures],
    }
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, values)
        return int(cursor.rowcount)
