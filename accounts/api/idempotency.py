"""`Idempotency-Key` on POST."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import team_of
from accounts.actions.idempotency import Answer, answer_once
from accounts.actor import Actor
from portal.lib.errors import InvalidInput

MAX_KEY = 255


def once(request: Request, actor: Actor, deed: Callable[[], Response]) -> Response:
    """Run `deed` unless this key was answered before; then answer the same.

    Raises Conflict when the key came with another request, InvalidInput for a bad key.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        with transaction.atomic():
            return deed()
    if len(key) > MAX_KEY or not key.isprintable():
        raise InvalidInput(f"Idempotency-Key must be at most {MAX_KEY} printable characters.")
    digest = hashlib.sha256(
        json.dumps([request.method, request.path, request.data], sort_keys=True).encode()
    ).hexdigest()

    def answer() -> Answer:
        response = deed()
        return Answer(response.status_code, response.data)

    answered = answer_once(team_of(actor), key=key, digest=digest, deed=answer)
    headers = {"Idempotent-Replayed": "true"} if answered.is_replayed else {}
    return Response(answered.body, status=answered.status, headers=headers)
