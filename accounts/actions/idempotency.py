"""Answers kept in the transaction of the deed itself, so that a deed asked for twice is done once.

A second request with the same key waits for the first on the unique index, then gets its answer.
Refusals roll back with everything else, so they are not remembered and may be tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import IdempotencyRecord, Team
from portal.lib.errors import Conflict


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a deed: an HTTP status and a JSON value."""

    status: int
    body: Any
    is_replayed: bool = False


def answer_once(team: Team, *, key: str, digest: str, deed: Callable[[], Answer]) -> Answer:
    """Run `deed` unless the team's `key` was answered before; then answer the same.

    `digest` tells one request from another. Raises Conflict when the key came with another one,
    and what `deed` raises.
    """
    try:
        with transaction.atomic():
            record = IdempotencyRecord.objects.create(team=team, key=key, request_digest=digest)
            answer = deed()
            IdempotencyRecord.objects.filter(pk=record.pk).update(
                status=answer.status, body=answer.body
            )
            return answer
    except IntegrityError as error:
        if "idempotency_team_key" not in str(error):
            raise
    known = IdempotencyRecord.objects.get(team=team, key=key)
    if known.request_digest != digest:
        raise Conflict("This Idempotency-Key was used for another request. Use a new one.")
    return Answer(known.status, known.body, is_replayed=True)
