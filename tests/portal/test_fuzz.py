"""Every operation of the API, fuzzed from its own OpenAPI document: never a 5xx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings

from accounts.actions.teams import create_api_key
from accounts.actor import Actor
from tests.conftest import Engine

EXAMPLES = 25


@schemathesis.serializer("application/zip")
def zip_of(_context: Any, value: Any) -> bytes:
    """Whatever comes, for an archive that is none."""
    return bytes(value) if isinstance(value, bytes | bytearray) else str(value).encode()


def fuzz(operation: Any, key: str) -> Callable[[], None]:
    """Ask `operation` for what its document says, and for what it does not."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {key}"})
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"code", "message", "fields"}

    return ask


@pytest.mark.django_db(transaction=True)
def test_no_request_makes_the_server_fail(engine: Engine, actor: Actor) -> None:
    key = create_api_key(actor, name="fuzz")[1]
    document: Any = schemathesis.openapi.from_wsgi(
        "/api/v1/schema?format=json", get_wsgi_application()
    )
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 7
    for operation in operations:
        fuzz(operation, key)()
