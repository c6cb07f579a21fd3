"""What changes in the database is known at once: told, and not found at the next look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from clusters.actions.apps import close_routes
from clusters.choices import Reason
from clusters.models import AppSession, Notebook
from portal.lib import clock
from tests.clusters.proxy.following import Knowing, following
from tests.clusters.proxy.process import wait_for
from tests.clusters.proxy.rows import Ground, serve, sign_in


@pytest.fixture
def knowing(database_url: str) -> Iterator[Knowing]:
    """Told by the suite's database."""
    with following(database_url) as found:
        yield found


def test_what_comes_to_be_served(knowing: Knowing, ground: Ground) -> None:
    app = serve(ground, None)
    wait_for(lambda: knowing.routes.get(app.name) is not None)


def test_what_is_served_no_more(knowing: Knowing, ground: Ground) -> None:
    app = serve(ground, None)
    assert app.attempt is not None
    wait_for(lambda: knowing.routes.get(app.name) is not None)
    close_routes(app.attempt)
    wait_for(lambda: knowing.routes.get(app.name) is None)


def test_a_countdown(knowing: Knowing, ground: Ground) -> None:
    app = serve(ground, None)
    wait_for(lambda: knowing.routes.get(app.name) is not None)
    at = clock.now() + timedelta(minutes=10)
    Notebook.objects.filter(workload=app.workload).update(stops_at=at, stops_for=Reason.IDLE)

    def counted_down_to() -> object:
        route = knowing.routes.get(app.name)
        return route and route.app.stops_at

    wait_for(lambda: counted_down_to() == at)


def test_the_end_of_a_session(knowing: Knowing, ground: Ground) -> None:
    app = serve(ground, None)
    secret = sign_in(app, ground.alice)
    assert knowing.let_in(app.name, secret)
    AppSession.objects.filter(name=app.name).update(ended_at=clock.now())
    wait_for(lambda: knowing.known_sessions() == 0)
    assert not knowing.let_in(app.name, secret)
