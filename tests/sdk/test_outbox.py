"""Samples wait while the portal is away and arrive oldest first."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from fastgpu.agent.outbox import Courier, Letter, Outbox
from tests.sdk.portal import TinyPortal


@pytest.fixture
def portal() -> Iterator[TinyPortal]:
    """A portal that is not there until it is opened."""
    made = TinyPortal()
    yield made
    made.close()


def letter(at: float) -> Letter:
    return Letter(at, json.dumps({"at": at}).encode())


def ats(portal: TinyPortal) -> list[float]:
    return [beat["at"] for beat in portal.beats]


def test_what_waited_is_sent_oldest_first(portal: TinyPortal) -> None:
    outbox = Outbox(Courier(portal.url, "token"))
    for at in (1.0, 2.0, 3.0):
        outbox.put(letter(at))
    outbox.start()
    portal.open()
    portal.wait(lambda: ats(portal) == [1.0, 2.0, 3.0])


def test_what_is_too_old_is_given_up(portal: TinyPortal) -> None:
    outbox = Outbox(Courier(portal.url, "token"))
    for at in (0.0, 100.0, 650.0):
        outbox.put(letter(at))
    portal.open()
    outbox.start()
    portal.wait(lambda: len(portal.beats) == 2)
    assert ats(portal) == [100.0, 650.0]


def test_a_server_error_is_tried_again(portal: TinyPortal) -> None:
    portal.status = 503
    portal.open()
    outbox = Outbox(Courier(portal.url, "token"))
    outbox.put(letter(1.0))
    outbox.start()
    portal.wait(lambda: len(portal.beats) >= 2)
    portal.status = 202
    outbox.put(letter(2.0))
    portal.wait(lambda: ats(portal)[-1] == 2.0)
    assert set(ats(portal)[:-1]) == {1.0}


def test_a_refused_sample_does_not_hold_up_the_next(portal: TinyPortal) -> None:
    portal.status = 400
    portal.open()
    outbox = Outbox(Courier(portal.url, "token"))
    outbox.put(letter(1.0))
    outbox.put(letter(2.0))
    outbox.start()
    portal.wait(lambda: len(portal.beats) == 2)
    assert ats(portal) == [1.0, 2.0]


def test_a_connection_the_server_closed_is_opened_again_at_once(
    portal: TinyPortal, caplog: pytest.LogCaptureFixture
) -> None:
    portal.closes_connections = True
    portal.open()
    courier = Courier(portal.url, "token")
    with caplog.at_level(logging.WARNING):
        courier.post(letter(1.0))
        courier.post(letter(2.0))
    courier.close()
    assert ats(portal) == [1.0, 2.0]
    assert not caplog.records


def test_trouble_is_said_once_and_its_end_too(
    portal: TinyPortal, caplog: pytest.LogCaptureFixture
) -> None:
    portal.status = 401
    portal.open()
    outbox = Outbox(Courier(portal.url, "token"))
    outbox.put(letter(1.0))
    with caplog.at_level(logging.WARNING):
        outbox.start()
        portal.wait(lambda: len(portal.beats) >= 3)
        portal.status = 202
        portal.wait(lambda: len(caplog.records) >= 2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "FASTGPU_AGENT_TOKEN" in said[0]
    assert "answers again" in said[1]


@pytest.mark.parametrize("address", ["", "gpu.example.org", "ftp://gpu.example.org", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Courier(address, "token")
