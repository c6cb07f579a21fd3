"""The rows the model is compared with, read in one trip."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

_AT = "(extract(epoch FROM {}) * 1000000)::bigint"
_SQL = f"""
SELECT
    (SELECT jsonb_object_agg(code, balance_micros) FROM billing_ledgeraccount
        WHERE account_id IS NULL),
    (SELECT jsonb_object_agg(public_id, status) FROM billing_payment),
    (SELECT jsonb_agg(jsonb_build_object('id', stripe_refund_id, 'status', status,
        'net', net_micros, 'tax', tax_micros)) FROM billing_refund),
    (SELECT jsonb_agg(jsonb_build_object('id', stripe_dispute_id, 'status', status,
        'withheld', withheld_micros)) FROM billing_dispute),
    (SELECT jsonb_agg(jsonb_build_object('run', jsonb_build_array(i.resource_id,
        i.resource_attempt), 'start', {_AT.format("i.started_at")},
        'end', {_AT.format("i.ended_at")}, 'limit', {_AT.format("i.billable_until")},
        'rated', {_AT.format("i.rated_until")}, 'price', p.unit_micros))
        FROM billing_usageinterval i JOIN billing_price p ON p.id = i.price_id),
    (SELECT coalesce(sum(fee_cents), 0) FROM billing_psptransaction
        WHERE source NOT LIKE '%%pay\\_%%'),
    (SELECT jsonb_agg(pause_reason) FROM billing_autotopup)
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RefundRow:
    """A refund, micro-units."""

    id: str | None
    status: str
    net: int
    tax: int


@dataclass(frozen=True)
class DisputeRow:
    """A dispute, micro-units."""

    id: str
    status: str
    withheld: int


@dataclass(frozen=True)
class IntervalRow:
    """An interval of a run, `(number, attempt)`."""

    run: tuple[int, int]
    start: datetime
    end: datetime | None
    limit: datetime | None
    rated: datetime
    price: int


@dataclass(frozen=True)
class Snapshot:
    """What the database has: of the house, by code; payments by reference.

    `other_fees` are Stripe's fees in cents for payments that are not those of the dictionaries;
    `pauses` the reasons for which automatic top-up stands still, empty where it goes.
    """

    house: dict[str, int]
    payments: dict[str, str]
    refunds: list[RefundRow]
    disputes: list[DisputeRow]
    intervals: list[IntervalRow]
    other_fees: int
    pauses: list[str]


def snapshot() -> Snapshot:
    """As it is now."""
    with connection.cursor() as cursor:
        cursor.execute(_SQL, [])
        found = cursor.fetchone()
    house, payments, refunds, disputes, intervals, fees, pauses = (
        json.loads(value) if isinstance(value, str) else value for value in found
    )
    return Snapshot(
        house=house or {},
        payments=payments or {},
        refunds=[RefundRow(**row) for row in refunds or []],
        disputes=[DisputeRow(**row) for row in disputes or []],
        intervals=[
            IntervalRow(
                (row["run"][0], row["run"][1]),
                start=_at(row["start"]),
                end=_at(row["end"]) if row["end"] else None,
                limit=_at(row["limit"]) if row["limit"] else None,
                rated=_at(row["rated"]),
                price=row["price"],
            )
            for row in intervals or []
        ],
        other_fees=int(fees),
        pauses=pauses or [],
    )


def _at(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
