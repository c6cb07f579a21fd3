"""Pages of volumes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.volumes import create_volume
from clusters.control.volumes import measure_one
from clusters.models import Side, Volume
from clusters.pages.volume_files import PAGE_SIZE
from tests.clusters.api.test_jobs import body_of
from tests.clusters.files.conftest import names_in
from tests.clusters.volumes.conftest import GIB, MIB, mount
from tests.clusters.volumes.test_api import zipped
from tests.conftest import Engine
from tests.fakes.notebooks import running
from tests.fakes.serving import ServingBackend

SignIn = Callable[[User], Client]


@pytest.fixture
def browser(alice: User, actor: Actor, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


def text(browser: Client, url: str, **headers: str) -> str:
    answer = browser.get(url, headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


def ask(browser: Client, volume: Volume, deed: str, **body: Any) -> Any:
    return browser.post(
        f"/volumes/{volume.public_id}/{deed}/",
        json.dumps(body),
        content_type="application/json",
        headers={"Accept": "application/json"},
    )


def test_without_volumes_one_is_offered_with_its_price(browser: Client) -> None:
    page = text(browser, "/volumes/")
    assert "Make one: 10 GiB for $0.70 a month" in page
    assert 'data-size-price="700000000"' in page


def test_where_no_pool_keeps_volumes_none_is_offered(browser: Client, engine: Engine) -> None:
    engine.pool.is_open = False
    engine.pool.save()
    page = text(browser, "/volumes/")
    assert "No pool here keeps volumes yet" in page
    assert "Make one" not in page


def test_volumes_are_listed_with_what_they_hold_cost_and_who_mounts_them(
    browser: Client, actor: Actor, volume: Volume, root: Path
) -> None:
    page = text(browser, "/volumes/")
    assert "Not measured yet" in page
    (root / "file").write_bytes(b"x" * 3 * MIB)
    measure_one(volume)
    mount(actor, volume)
    page = text(browser, "/volumes/")
    assert "3.0 MiB of 10 GiB" in page
    assert "10 GiB in 1 volume: $0.70 a month" in page
    assert "train" in page


def test_one_is_made_from_the_form(browser: Client) -> None:
    answer = browser.post("/volumes/", {"name": "data", "size_gib": "5", "pool": ""})
    made = Volume.objects.get()
    assert answer.headers["Location"] == f"/volumes/{made.public_id}/"
    assert (made.name, made.size_gib) == ("data", 5)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"size_gib": "0"}, "at least 1 GiB"),
        ({"size_gib": "x"}, "Write a whole number"),
        ({"size_gib": "20000"}, "at most 10,000 GiB"),
        ({"name": ""}, "Give the volume a name"),
        ({"name": "a/b"}, "Use letters, digits"),
        ({"name": "taken"}, "called taken already"),
    ],
)
def test_what_is_refused_is_said_at_its_field_and_kept(
    browser: Client, actor: Actor, asked: dict[str, str], words: str
) -> None:
    create_volume(actor, name="taken", size_gib=1)
    answer = browser.post("/volumes/", {"name": "data", "size_gib": "5"} | asked)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert words in page
    assert "data-open-now" in page
    assert f'value="{next(iter(asked.values()))}"' in page or asked == {"name": ""}


def test_it_is_renamed_resized_and_removed(browser: Client, volume: Volume) -> None:
    where = f"/volumes/{volume.public_id}"
    browser.post(f"{where}/rename/", {"name": "sets"})
    browser.post(f"{where}/resize/", {"size_gib": "20"})
    volume.refresh_from_db()
    assert (volume.name, volume.size_gib) == ("sets", 20)
    assert browser.post(f"{where}/remove/").headers["Location"] == "/volumes/"
    assert browser.get(f"{where}/").status_code == 404


def test_a_size_that_is_refused_is_said_in_its_dialog(browser: Client, volume: Volume) -> None:
    answer = browser.post(f"/volumes/{volume.public_id}/resize/", {"size_gib": "1"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "not known yet" in page
    assert 'id="resize" aria-labelledby="resize-title" data-open-now' in page
    assert f'href="/volumes/{volume.public_id}/?sort=size' in page


def test_what_is_mounted_says_so_instead_of_a_button(
    browser: Client, actor: Actor, volume: Volume
) -> None:
    mount(actor, volume)
    page = text(browser, f"/volumes/{volume.public_id}/")
    assert "Stop that first" in page
    assert "Remove with all files" not in page


def test_members_see_no_button_they_may_not_press(
    bob: User, volume: Volume, client_of: SignIn
) -> None:
    page = text(client_of(bob), f"/volumes/{volume.public_id}/")
    assert "New folder" in page
    assert "Remove the volume" not in page


def test_a_folder_shows_what_is_in_it(browser: Client, volume: Volume, root: Path) -> None:
    (root / "a & b/<i>").mkdir(parents=True)
    (root / "a & b/größe.txt").write_bytes(b"x" * 2048)
    (root / "a & b/line\nbreak").touch()
    (root / "a & b/link").symlink_to("/etc/passwd")
    where = f"/volumes/{volume.public_id}/"
    page = text(browser, f"{where}?path=a+%26+b")
    assert "<i>" not in page
    assert "2.0 KiB" in page
    assert f'href="{where}files/a%20&amp;%20b/gr%C3%B6%C3%9Fe.txt"' in page
    assert f'href="{where}?path=a+%26+b%2F%3Ci%3E"' in page
    assert "passwd" not in page
    part = text(browser, f"{where}?path=a+%26+b", **{"HX-Request": "true"})
    assert part.startswith('<div id="files" data-path="a &amp; b"')
    whole = text(browser, where, **{"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in whole


class NoMounts(ServingBackend):
    """An engine that can mount nothing, as Slurm."""

    mount_point = "$FASTGPU_WORKSPACE"


@pytest.mark.parametrize("engine_class", [NoMounts, ServingBackend])
def test_it_is_said_where_work_finds_it(
    browser: Client, actor: Actor, volume: Volume, root: Path, engine_class: type[ServingBackend]
) -> None:
    page = text(browser, f"/volumes/{volume.public_id}/")
    assert f"find it at <code>{engine_class.mount_point}</code>" in page
    job = mount(actor, volume)
    assert f"data, at {engine_class.mount_point}" in text(browser, f"/jobs/{job.public_id}/")


def test_a_folder_is_shown_page_by_page_in_any_order(
    browser: Client, volume: Volume, root: Path
) -> None:
    for number in range(2 * PAGE_SIZE + 1):
        (root / f"file-{number}").write_bytes(b"x" * number)
    where = f"/volumes/{volume.public_id}/?sort=size&dir=desc"
    assert f"file-{2 * PAGE_SIZE}" in text(browser, where)
    page = text(browser, f"{where}&page=3")
    assert "file-0" in page
    assert "401 entries, page 3 of 3" in page
    for odd in ("page=0", "page=x", "page=999999", "sort=x", "dir=x"):
        assert browser.get(f"/volumes/{volume.public_id}/?{odd}").status_code == 200


@pytest.mark.parametrize("path", ["nowhere", "../x", "a/", "%00", "x" * 5000])
def test_a_folder_that_is_not_there_says_so_on_the_page(
    browser: Client, volume: Volume, path: str
) -> None:
    page = text(browser, f"/volumes/{volume.public_id}/?path={path}")
    assert "notice" in page
    assert volume.name in page


def test_storage_that_is_away_is_said_on_the_page(
    browser: Client, engine: Engine, volume: Volume
) -> None:
    engine.backend.is_down = True
    assert "does not answer" in text(browser, f"/volumes/{volume.public_id}/")


def test_deeds_of_the_page(browser: Client, volume: Volume, root: Path) -> None:
    assert ask(browser, volume, "folder", path="a").status_code == 201
    refused = ask(browser, volume, "folder", path="a")
    assert refused.status_code == 409
    assert refused.json()["error"]["fields"] == {"path": "exists"}
    assert ask(browser, volume, "folder", path="a", may_exist=True).status_code == 201
    assert ask(browser, volume, "folder", path="b/c", may_exist=True).status_code == 201
    assert ask(browser, volume, "move", path="b/c", to="a/d").json()["name"] == "d"
    (root / "a/f").write_bytes(b"x")
    known = ask(browser, volume, "known", folder="a", paths=["f", "g", "d"]).json()["known"]
    assert {path: entry["kind"] for path, entry in known.items()} == {"f": "file", "d": "folder"}
    done = ask(browser, volume, "delete", folder="a", names=["f", "d"]).json()
    assert done == {"removed": 2, "complete": True}
    assert names_in(root / "a") == []


@pytest.mark.parametrize("body", ["", "[]", "{", '{"path": 1}', '{"names": "a"}', "[" * 9999])
@pytest.mark.parametrize("deed", ["folder", "move", "delete", "known", "unpack"])
def test_what_is_no_request_is_refused(
    browser: Client, volume: Volume, deed: str, body: str
) -> None:
    answer = browser.post(
        f"/volumes/{volume.public_id}/{deed}/",
        body,
        content_type="application/json",
        headers={"Accept": "application/json"},
    )
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["message"]


def test_names_with_slashes_delete_nothing(browser: Client, volume: Volume, root: Path) -> None:
    (root.parent / "other").mkdir()
    for name in ("../other", "..", "", "a/b", "."):
        assert ask(browser, volume, "delete", folder="", names=[name]).status_code == 400
    assert (root.parent / "other").exists()


def test_what_is_chosen_comes_as_a_zip(browser: Client, volume: Volume, root: Path) -> None:
    for name in ("a", "b", "c"):
        (root / name).write_bytes(name.encode())
    answer = browser.post(f"/volumes/{volume.public_id}/zip/", {"path": "", "name": ["a", "c"]})
    whole = body_of(answer)
    assert answer["Content-Disposition"] == 'attachment; filename="data.zip"'
    assert b"PK" in whole
    assert browser.head(f"/volumes/{volume.public_id}/zip/").status_code == 200


def test_a_download_has_a_name_whatever_it_is_called(
    browser: Client, volume: Volume, root: Path
) -> None:
    (root / "line\nbreak").mkdir()
    answer = browser.post(
        f"/volumes/{volume.public_id}/zip/", {"path": "", "name": ["line\nbreak"]}
    )
    body_of(answer)
    assert answer["Content-Disposition"] == 'attachment; filename="line_break.zip"'


def test_what_is_used_follows_the_folder(browser: Client, volume: Volume, root: Path) -> None:
    where = f"/volumes/{volume.public_id}/"
    measure_one(volume)
    Volume.objects.update(used_bytes=5 * GIB)
    part = text(browser, where, **{"HX-Request": "true"})
    assert 'id="volume-used" hx-swap-oob="true"' in part
    assert "5.0 GiB of 10 GiB" in part


@pytest.mark.django_db(transaction=True)  # steps are made in other threads
def test_unpacking_tells_each_step(browser: Client, volume: Volume, root: Path) -> None:
    (root / "set.zip").write_bytes(zipped(*((f"{number}", b"x") for number in range(250))))
    (root / "set").touch()
    answer = ask(browser, volume, "unpack", path="set.zip")
    steps = [json.loads(line) for line in body_of(answer).splitlines()]
    assert steps == [
        {"done": 200, "of": 250},
        {"done": 250, "of": 250},
        {"name": "set (2)", "left_out": 0},
    ]
    assert len(names_in(root / "set (2)")) == 250


@pytest.mark.django_db(transaction=True)  # steps are made in other threads
def test_what_goes_wrong_halfway_is_a_step_too(browser: Client, volume: Volume, root: Path) -> None:
    data = bytearray(zipped(*((f"{number}", b"content") for number in range(300))))
    data[data.rindex(b"content")] ^= 1
    (root / "set.zip").write_bytes(data)
    answer = ask(browser, volume, "unpack", path="set.zip")
    last = json.loads(body_of(answer).splitlines()[-1])
    assert "is damaged" in last["error"]["message"]
    assert names_in(root) == ["set.zip"]
    volume.refresh_from_db()
    assert volume.used_bytes == 0


@pytest.mark.django_db(transaction=True)  # steps are made in other threads
def test_what_does_not_fit_unpacked_is_refused(browser: Client, volume: Volume, root: Path) -> None:
    (root / "set.zip").write_bytes(zipped(("a", b"x" * 1000)))
    Volume.objects.update(used_bytes=10 * GIB - 10)
    answer = ask(browser, volume, "unpack", path="set.zip")
    last = json.loads(body_of(answer).splitlines()[-1])
    assert last["error"]["code"] == "too_large"
    assert names_in(root) == ["set.zip"]


def test_a_file_is_sent_by_put_and_signed_in_only(
    browser: Client, volume: Volume, root: Path
) -> None:
    where = f"/volumes/{volume.public_id}/files/a.txt"
    assert browser.put(f"{where}?conflict=fail", b"x").status_code == 201
    taken = browser.put(f"{where}?conflict=fail", b"x", headers={"Accept": "application/json"})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "conflict")
    nobody = Client().put(where, b"x")
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "not_signed_in")


def test_a_page_of_another_origin_sends_nothing(
    alice: User, actor: Actor, volume: Volume, root: Path
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    where = f"/volumes/{volume.public_id}"
    assert strict.put(f"{where}/files/a", b"x").status_code == 403
    assert strict.post(f"{where}/remove/").status_code == 403
    assert names_in(root) == []


def test_a_notebook_in_a_folder_leads_to_its_schedule(
    browser: Client, volume: Volume, root: Path
) -> None:
    (root / "reports").mkdir()
    for name in ("daily & more.ipynb", "train.py"):
        (root / "reports" / name).write_text("{}")
    page = text(browser, f"/volumes/{volume.public_id}/?path=reports")
    (found,) = re.findall(r'href="(/notebooks/schedules/new/[^"]*)"', page)
    form = browser.get(html.unescape(found)).context["form"]
    assert form["notebook"].value() == "reports/daily & more.ipynb"
    assert form["volume"].value() == volume.public_id


def test_tensorboard_opens_over_a_folder(browser: Client, volume: Volume, root: Path) -> None:
    (root / "runs & more").mkdir()
    page = text(browser, f"/volumes/{volume.public_id}/")
    (folder,) = re.findall(r'name="folder" value="([^"]*)"', page)
    url = f"/volumes/{volume.public_id}/tensorboard/"
    assert f'action="{url}"' in page
    answer = browser.post(url, {"folder": html.unescape(folder)})
    side = Side.objects.get()
    assert (side.volume_id, side.folder) == (volume.pk, "runs & more")
    assert (answer.status_code, answer["Location"]) == (303, f"/tensorboards/{side.public_id}/")
    waiting = text(browser, answer["Location"])
    assert "data/runs &amp; more" in waiting
    assert f'href="/volumes/{volume.public_id}/?path=runs+%26+more"' in waiting


def test_tensorboard_over_no_folder_of_the_volume_is_refused(
    browser: Client, volume: Volume
) -> None:
    answer = browser.post(f"/volumes/{volume.public_id}/tensorboard/", {"folder": "../other"})
    assert answer.status_code == 400
    assert not Side.objects.exists()


def test_before_a_stop_it_is_said_what_is_paid_on_for_storage(
    browser: Client, actor: Actor, engine: Engine
) -> None:
    notebook = running(actor)
    asked = f"/notebooks/{notebook.public_id}/stop/"
    assert "What it wrote is kept, at no cost" in text(browser, asked)
    create_volume(actor, name="data", size_gib=100)
    # 100 GiB at $0.07 a month of 730 hours.
    assert "after Stop you still pay $0.23 a day for storage" in text(browser, asked)
