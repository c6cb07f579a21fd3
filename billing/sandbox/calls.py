"""What an API request goes through: key, version, form, idempotency, one transaction, answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import re
from contextlib import nullcontext
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from billing.sandbox.box import Box
from billing.sandbox.errors import BadKey, Broken, InvalidRequest, StripeError
from billing.sandbox.forms import Form, Params, decode
from billing.sandbox.idempotency import Answer, fingerprint
from billing.sandbox.reading import Operation
from billing.sandbox.settings import API_VERSION
from billing.sandbox.store import new_id

logger = logging.getLogger(__name__)
MAX_BODY = 1_000_000
MAX_FIELDS = 2_000


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in."""

    request_id: str
    method: str
    path: str
    object_id: str
    form: Form
    key: str


async def answer(box: Box, request: Request, operation: Operation) -> Response:
    """Carry `operation` out for `request`, or say in Stripe's words why not."""
    request_id = new_id("req", 14)
    headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
    try:
        _check_key(box, request)
        headers["Stripe-Version"] = _version(request)
        call = await _read(request, request_id)
        if call.key:
            headers["Idempotency-Key"] = call.key
        done = await _carry_out(box, call, operation)
    except StripeError as error:
        return respond(error.status, json.dumps(error.body(), indent=2), headers)
    if done.request_id != request_id:
        headers |= {"Idempotent-Replayed": "true", "Original-Request": done.request_id}
    if done.is_dropped:
        # More is promised than comes: the server breaks the connection off.
        headers["Content-Length"] = str(len(done.body.encode()) + 1)
    return respond(done.status, done.body, headers)


def respond(status: int, body: str, headers: dict[str, str]) -> Response:
    """A JSON answer that nobody may cache."""
    extra = {"Cache-Control": "no-cache, no-store"}
    return Response(body, status, headers | extra, media_type="application/json")


def _check_key(box: Box, request: Request) -> None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    key = value.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    elif scheme.lower() != "bearer":
        key = ""
    if not key:
        raise BadKey(
            "You did not provide an API key. Send it as 'Authorization: Bearer YOUR_SECRET_KEY'."
        )
    if not hmac.compare_digest(key.encode(), box.settings.secret_key.encode()):
        raise BadKey(f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:]}")


def _version(request: Request) -> str:
    version = request.headers.get("stripe-version", API_VERSION)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?", version):
        raise InvalidRequest(f"Invalid Stripe API version: {version[:40]}")
    return version


async def _read(request: Request, request_id: str) -> Call:
    text = request.url.query
    if request.method == "POST":
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise InvalidRequest("The request is too large.")
        text = body.decode("utf-8", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequest("The request has too many parameters.") from error
    key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
    object_id = request.path_params.get("id", "")
    return Call(request_id, request.method, request.url.path, object_id, decode(pairs), key)


async def _carry_out(box: Box, call: Call, operation: Operation) -> Answer:
    with box.idempotency.claim(call.key) if call.key else nullcontext():
        if call.method == "POST" and box.settings.latency_s:
            await asyncio.sleep(box.settings.latency_s)
        fault = box.faults.for_request(call.method, call.path) or {"what": ""}
        if fault["what"] == "delay":
            await asyncio.sleep(fault["seconds"])
        # From here on nothing awaits: one request at a time sees and changes the store.
        parameters = fingerprint(call.form)
        if call.key and (old := box.idempotency.recall(call.key, call.path, parameters)):
            return replace(old, is_dropped=fault["what"] == "drop_response")
        if fault["what"] == "error_before":
            raise Broken("The fault dial says so: nothing was done.")
        with box.store.transaction():
            done = _run(box, call, operation)
            if fault["what"] == "error_after":
                body = json.dumps(Broken("The fault dial says so: it was done.").body(), indent=2)
                done = replace(done, status=500, body=body)
            if call.key:
                box.idempotency.remember(call.key, call.path, parameters, done)
        return replace(done, is_dropped=fault["what"] == "drop_response")


def _run(box: Box, call: Call, operation: Operation) -> Answer:
    """Raises the StripeErrors that leave no trace; an error that does is an answer."""
    box.events.origin = {"id": call.request_id, "idempotency_key": call.key or None}
    try:
        body, status = operation(box, Params(call.form), call.object_id), 200
    except StripeError as error:
        if not error.stored:
            raise
        body, status = error.body(), error.status
    finally:
        box.events.origin = {"id": None, "idempotency_key": None}
    return Answer(call.request_id, status, json.dumps(body, indent=2))


def broken(request: Request, error: Exception) -> Response:
    """The last resort: a fault of ours, in Stripe's shape. The server logs the trace."""
    logger.error("%s %s failed: %r", request.method, request.url.path, error)
    body = Broken("An unknown error occurred in the sandbox.").body()
    return respond(500, json.dumps(body, indent=2), {"Request-Id": new_id("req", 14)})
