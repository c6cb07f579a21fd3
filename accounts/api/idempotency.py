"""`Idempotency-Key` on POST: the answer is kept in the transaction of the deed itself.

A second request with the same key waits for the first on the unique index, then gets its answer.
Refusals roll back with everything else, so they are not remembered and may be tried again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import team_of
from accounts.actor import Actor
from accounts.models import IdempotencyRecord, Team
from portal.lib.errors import Conflict, InvalidInput


def once(request: Request, actor: Actor, deed: Callable[[], Response]) -> Response:
    """Run `deed` unless this key was answered before; then answer the same.

    Raises Conflict when the key came with another request, InvalidInput for a bad key.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        with transaction.atomic():
            return deed()
    if len(key) > 255 or not key.isprintable():
        raise InvalidInput("Idempotency-Key must be at most 255 printable characters.")
    team = team_of(actor)
    digest = hashlib.sha256(
        json.dumps([request.method, request.path, request.data], sort_keys=True).encode()
    ).hexdigest()
    try:
        with transaction.atomic():
            record = IdempotencyRecord.objects.create(team=team, key=key, request_digest=digest)
            response = deed()
            IdempotencyRecord.objects.filter(pk=record.pk).update(
                status=response.status_code, body=response.data
            )
            return response
    except IntegrityError as error:
        if "idempotency_team_key" not in str(error):
            raise
    return _replay(team, key, digest)


def _replay(team: Team, key: str, digest: str) -> Response:
    record = IdempotencyRecord.objects.get(team=team, key=key)
    if record.request_digest != digest:
        raise Conflict("This Idempotency-Key was used for another request. Use a new one.")
    return Response(record.body, status=record.status, headers={"Idempotent-Replayed": "true"})
