"""What is done again and again.

Beat only sweeps: losing or doubling any of these changes nothing. `expires` keeps a worker that was
away from finding a pile of them.
"""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

# No run outlives its credit by more than the grace and one such look.
FUNDS_TICK_SECONDS = 10

SCHEDULE: dict[str, dict[str, Any]] = {
    "funds": {
        "task": "clusters.tasks.enforce_funds",
        "schedule": float(FUNDS_TICK_SECONDS),
        "options": {"expires": FUNDS_TICK_SECONDS},
    },
    "sweep": {"task": "clusters.tasks.sweep", "schedule": 1.0, "options": {"expires": 2}},
    "refresh": {"task": "clusters.tasks.refresh", "schedule": 30.0, "options": {"expires": 30}},
    "notebooks": {
        "task": "clusters.tasks.watch_notebooks",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "sides": {"task": "clusters.tasks.drive_sides", "schedule": 5.0, "options": {"expires": 5}},
    "standbys": {
        "task": "clusters.tasks.keep_standbys",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "unused-sides": {
        "task": "clusters.tasks.end_unused_sides",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget": {"task": "clusters.tasks.forget", "schedule": 3600.0, "options": {"expires": 3600}},
    "schedules": {
        "task": "clusters.tasks.watch_schedules",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "schedule-clocks": {
        "task": "clusters.tasks.realign_schedules",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "use": {
        "task": "clusters.tasks.report_use",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "volumes": {
        "task": "clusters.tasks.measure_volumes",
        "schedule": 180.0,
        "options": {"expires": 180},
    },
    "erase": {
        "task": "clusters.tasks.erase_volumes",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "rate": {"task": "billing.tasks.rate_usage", "schedule": 60.0, "options": {"expires": 60}},
    "expire": {"task": "billing.tasks.expire_credit", "schedule": 60.0, "options": {"expires": 60}},
    "price-notices": {
        "task": "billing.tasks.send_price_notices",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "months": {
        "task": "billing.tasks.close_months",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "receipts": {
        "task": "billing.tasks.document_payments",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "collect": {
        "task": "billing.tasks.collect_invoices",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "webhooks": {
        "task": "billing.tasks.process_webhooks",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "recovery": {
        "task": "billing.tasks.recover_payments",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "auto-top-up": {
        "task": "billing.tasks.top_up_automatically",
        "schedule": 20.0,
        "options": {"expires": 20},
    },
    "reconcile": {
        "task": "billing.tasks.reconcile",
        "schedule": crontab(hour=3, minute=20),
        "options": {"expires": 3600},
    },
}
