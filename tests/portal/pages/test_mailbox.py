"""The demo's mailbox."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage, get_connection
from django.test import Client

from portal.pages.mailbox import sent_mail

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    """Where mail is written."""
    settings.EMAIL_FILE_PATH = tmp_path / "mail"
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    return tmp_path / "mail"


def send(subject: str, to: str = "ann@example.org", body: str = "Hello") -> None:
    """Through Django's own file backend."""
    EmailMessage(subject, body, "FastGPU <no-reply@localhost>", [to]).send()


def test_an_empty_mailbox_says_what_fills_it(client: Client) -> None:
    assert b"No mail yet" in client.get("/mailbox/").content


def test_the_newest_mail_comes_first(client: Client, folder: Path) -> None:
    send("Older")
    for path in folder.iterdir():
        text = path.read_text()
        path.write_text(re.sub(r"Date: .*", "Date: Mon, 02 Mar 2026 10:00:00 +0000", text))
    send("Newer")
    assert [mail.subject for mail in sent_mail()] == ["Newer", "Older"]


def test_a_message_shows_its_text_with_links(client: Client) -> None:
    send("Verify", body="Open http://localhost:8000/account/confirm-email/MQ:abc:def/ now")
    page = client.get(f"/mailbox/{sent_mail()[0].id}/").content.decode()
    assert 'href="http://localhost:8000/account/confirm-email/MQ:abc:def/"' in page


def test_several_messages_in_one_file_stay_apart() -> None:
    with get_connection() as connection:
        messages = [EmailMessage(f"No {n}", f"text {n}", to=["a@example.org"]) for n in range(3)]
        connection.send_messages(messages)
    assert {(mail.subject, mail.body) for mail in sent_mail()} == {
        ("No 0", "text 0"), ("No 1", "text 1"), ("No 2", "text 2"),
    }  # fmt: skip


def test_only_mail_to_one_address(client: Client) -> None:
    send("For Ann", to="ann@example.org")
    send("For Ben", to="ben@example.org")
    page = client.get("/mailbox/", {"to": "ANN@example"}).content.decode()
    assert "For Ann" in page
    assert "For Ben" not in page


def test_markup_in_a_message_stays_text(client: Client) -> None:
    send("<b>bold</b>", body="<script>alert(1)</script>")
    page = client.get(f"/mailbox/{sent_mail()[0].id}/").content.decode()
    assert "<script>alert" not in page
    assert "<b>bold" not in page


@pytest.mark.parametrize(
    "name",
    ["..", "..%2f..%2fsecrets.json", "%2e%2e%2fsecrets", "secrets.json", "nothing", "%00", "*"],
)
def test_no_id_leaves_the_folder(client: Client, folder: Path, name: str) -> None:
    send("Hello")
    (folder.parent / "secrets.json").write_text("not for you")
    response = client.get(f"/mailbox/{name}/")
    assert response.status_code == 404
    assert b"not for you" not in response.content


def test_a_link_out_of_the_folder_names_no_mail(folder: Path) -> None:
    send("Hello")
    (folder.parent / "secret.txt").write_text("not for you")
    (folder / "99999999-link.log").symlink_to(folder.parent / "secret.txt")
    assert [mail.subject for mail in sent_mail()] == ["Hello"]


def test_a_half_written_message_is_not_shown_yet(folder: Path) -> None:
    send("Whole")
    (folder / "99999999-000000-1.log").write_bytes(b"Subject: half\nTo: a@example.org\n\nte")
    assert [mail.subject for mail in sent_mail()] == ["Whole"]


def test_outside_the_demo_there_is_no_mailbox(client: Client, settings: Any) -> None:
    send("Hello")
    message_id = sent_mail()[0].id
    settings.DEMO = False
    assert client.get("/mailbox/").status_code == 404
    assert client.get(f"/mailbox/{message_id}/").status_code == 404
