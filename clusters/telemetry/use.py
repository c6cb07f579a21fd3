"""Tells billing how busy the GPUs of each attempt were, hour by hour."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection

from billing.actions.measures import Measure, note_use
from clusters.actions.launching import RESOURCE_KIND
from portal.lib import clock

# A sample that comes later than this after its hour is in the chart and not in the sum.
LATE = timedelta(minutes=20)
# NVML's utilisation is the share of a second in which any kernel ran: below this a GPU only
# answers its driver.
IDLE_BELOW_PERCENT = 5.0

# A sample stands for one second of one GPU. Read through the GPUs each attempt holds, because
# samples are indexed by attempt, GPU and time.
_USE = """
SELECT a.workload_id, a.number, date_trunc('hour', s.at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',
    count(*), sum(round(s.utilization_percent * 10000))::bigint,
    count(*) FILTER (WHERE s.utilization_percent < %(idle)s)
FROM clusters_attempt a
JOIN clusters_gpuallotment g ON g.attempt_id = a.id
JOIN clusters_gpusample s ON s.attempt_id = a.id AND s.gpu_id = g.gpu_id
    AND s.at >= greatest(%(since)s, a.started_at) AND s.at <= coalesce(a.ended_at, s.at)
WHERE a.started_at IS NOT NULL AND (a.ended_at IS NULL OR a.ended_at > %(since)s)
    AND s.utilization_percent IS NOT NULL
GROUP BY 1, 2, 3
"""


def report_use() -> int:
    """Sum up the hours that may still change; returns how many have changed. Safe to repeat."""
    since = (clock.now() - LATE).replace(minute=0, second=0, microsecond=0)
    with connection.cursor() as cursor:
        cursor.execute(_USE, {"since": since, "idle": IDLE_BELOW_PERCENT})
        measures = [Measure(*row) for row in cursor.fetchall()]
    return note_use(RESOURCE_KIND, measures)
