"""What pages of other origins may ask of the portal: nothing, but for a link a person follows."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.actions.teams import create_api_key
from accounts.actor import Actor
from accounts.models import Team, User

OTHERS = ["same-site", "cross-site"]


def sent_from(site: str, *, mode: str = "navigate", dest: str = "document") -> dict[str, str]:
    """What a browser says of a request."""
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}


@pytest.fixture
def browser(alice: User, team: Team) -> Client:
    """Alice's."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.mark.parametrize("site", OTHERS)
def test_a_link_that_is_followed_opens(browser: Client, site: str) -> None:
    assert browser.get("/dashboard/", headers=sent_from(site)).status_code == 200


@pytest.mark.parametrize("site", OTHERS)
@pytest.mark.parametrize(
    ("mode", "dest"),
    [
        ("cors", "empty"),
        ("no-cors", "empty"),
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("navigate", "iframe"),
        ("navigate", "embed"),
        ("navigate", ""),
        ("websocket", "empty"),
    ],
)
def test_what_scripts_frames_and_images_ask_for_is_refused(
    browser: Client, site: str, mode: str, dest: str
) -> None:
    for path in ("/dashboard/", "/team/", "/api/v1/jobs", "/healthz"):
        answer = browser.get(path, headers=sent_from(site, mode=mode, dest=dest))
        assert answer.status_code == 403, path


@pytest.mark.parametrize("site", OTHERS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_would_change_anything_is_refused_however_it_is_sent(
    browser: Client, site: str, method: str
) -> None:
    answer = browser.generic(method, "/team/switch/", headers=sent_from(site))
    assert answer.status_code == 403


def test_a_refusal_is_a_page_of_ours_and_json_below_the_api(browser: Client) -> None:
    headers = sent_from("same-site", mode="cors", dest="empty")
    page = browser.post("/team/", headers=headers)
    assert "A page of another site asked for this." in page.content.decode()
    assert "default-src" in page["Content-Security-Policy"]
    told: Any = browser.post("/api/v1/jobs", headers=headers).json()
    assert told["error"]["code"] == "other_origin"


@pytest.mark.parametrize("site", ["same-origin", "none", ""])
def test_our_own_pages_and_what_a_person_types_go_through(browser: Client, site: str) -> None:
    answer = browser.get("/dashboard/", headers=sent_from(site, mode="cors", dest="empty"))
    assert answer.status_code == 200


def test_programs_say_nothing_of_where_they_come_from(actor: Actor) -> None:
    key = create_api_key(actor, name="tests")[1]
    programs = Client(headers={"Authorization": f"Bearer {key}"})
    assert programs.get("/api/v1/jobs").status_code == 200
    assert Client().post("/webhooks/stripe/").status_code == 400  # it was read, and had no event
