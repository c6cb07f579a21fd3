"""/api/v1/volumes and the files in them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.actor import Actor
from accounts.models import User
from clusters.actions.volumes import create_volume
from clusters.api.volume_files import PAGE_SIZE
from clusters.control.volumes import measure_one
from clusters.files.walk import MOST_ENTRIES
from clusters.models import Volume
from tests.clusters.api.test_jobs import body_of
from tests.clusters.files.conftest import names_in
from tests.clusters.volumes.conftest import GIB, MIB, mount
from tests.conftest import Engine


def put(api: APIClient, path: str, data: bytes, **query: str) -> Any:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return api.put(f"/api/v1/volumes/{path}?{asked}", data, content_type="application/octet-stream")


def zipped(*entries: tuple[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for name, data in entries:
            target.writestr(name, data)
    return made.getvalue()


def test_a_volume_is_made_and_shown(api: APIClient, actor: Actor) -> None:
    made = api.post("/api/v1/volumes", {"name": "data", "size_gib": 10}, format="json")
    assert made.status_code == 201
    volume = made.json()
    assert volume | {"id": "", "created_at": ""} == {
        "id": "",
        "name": "data",
        "size_gib": 10,
        "used_bytes": None,
        "measured_at": None,
        "created_at": "",
        "price_micros_per_month": 700_000,
        "pools": ["a100"],
        "mounted_by": [],
        "may_change": True,
    }
    assert api.get(f"/api/v1/volumes/{volume['id']}").json() == volume
    assert api.get("/api/v1/volumes").json() == {"volumes": [volume]}


def test_made_twice_with_one_key_it_is_made_once(api: APIClient) -> None:
    for _ in range(2):
        answer = api.post(
            "/api/v1/volumes",
            {"name": "data", "size_gib": 10},
            format="json",
            headers={"Idempotency-Key": "one"},
        )
        assert answer.status_code == 201
    assert Volume.objects.count() == 1


def test_what_it_holds_and_what_mounts_it_is_shown(
    api: APIClient, actor: Actor, volume: Volume, root: Path
) -> None:
    (root / "file").write_bytes(b"x" * MIB)
    measure_one(volume)
    job = mount(actor, volume)
    shown = api.get(f"/api/v1/volumes/{volume.public_id}").json()
    assert MIB <= shown["used_bytes"] < 2 * MIB
    assert shown["mounted_by"] == [{"id": job.public_id, "kind": "job", "name": "train"}]


def test_it_is_changed_and_removed(api: APIClient, volume: Volume) -> None:
    where = f"/api/v1/volumes/{volume.public_id}"
    changed = api.patch(where, {"name": "sets", "size_gib": 20}, format="json").json()
    assert (changed["name"], changed["size_gib"]) == ("sets", 20)
    assert api.patch(where, {}, format="json").status_code == 400
    assert api.delete(where).status_code == 204
    assert api.delete(where).status_code == 404


def test_of_two_changes_none_is_made_when_one_is_refused(api: APIClient, volume: Volume) -> None:
    answer = api.patch(
        f"/api/v1/volumes/{volume.public_id}", {"name": "sets", "size_gib": 1}, format="json"
    )
    assert answer.status_code == 400
    volume.refresh_from_db()
    assert volume.name == "data"


def test_a_mounted_one_answers_409(api: APIClient, actor: Actor, volume: Volume) -> None:
    mount(actor, volume)
    answer = api.delete(f"/api/v1/volumes/{volume.public_id}")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "conflict"


def test_queries_do_not_grow_with_volumes(
    api: APIClient, actor: Actor, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for number in range(20):
        create_volume(actor, name=f"{number}", size_gib=1)
    with django_assert_max_num_queries(7):
        assert len(api.get("/api/v1/volumes").json()["volumes"]) == 20


# --- files ---


def test_a_file_goes_in_and_comes_out(api: APIClient, volume: Volume, root: Path) -> None:
    data = bytes(range(256)) * 5000
    made = put(api, f"{volume.public_id}/files/größe 数.bin", data)
    assert made.status_code == 201
    assert made.json() | {"modified_at": ""} == {
        "path": "größe 数.bin",
        "name": "größe 数.bin",
        "kind": "file",
        "size_bytes": len(data),
        "modified_at": "",
    }
    assert (root / "größe 数.bin").read_bytes() == data
    answer = api.get(f"/api/v1/volumes/{volume.public_id}/files/größe 数.bin")
    assert body_of(answer) == data
    assert answer["Content-Length"] == str(len(data))


def test_nothing_a_volume_holds_is_shown_as_a_page(
    api: APIClient, volume: Volume, root: Path
) -> None:
    (root / "evil.html").write_bytes(b"<script>alert(1)</script>")
    answer = api.get(f"/api/v1/volumes/{volume.public_id}/files/evil.html")
    body_of(answer)
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="evil.html"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("asked", "status", "said", "body"),
    [
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=5-500", 206, "bytes 5-9/10", b"56789"),
        ("bytes=0-0", 206, "bytes 0-0/10", b"0"),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=-0", 416, "bytes */10", None),
        ("bytes=4-2", 200, None, b"0123456789"),
        ("bytes=0-1,4-5", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
        ("bytes=-", 200, None, b"0123456789"),
    ],
)
def test_a_part_of_a_file_is_answered(
    api: APIClient,
    volume: Volume,
    root: Path,
    asked: str,
    status: int,
    said: str | None,
    body: bytes | None,
) -> None:
    (root / "digits").write_bytes(b"0123456789")
    where = f"/api/v1/volumes/{volume.public_id}/files/digits"
    answer = api.get(where, headers={"Range": asked})
    assert answer.status_code == status
    assert answer.headers.get("Content-Range") == said
    if body is not None:
        assert body_of(answer) == body
        assert answer["Content-Length"] == str(len(body))


def test_a_part_is_answered_only_of_the_file_that_is_known(
    api: APIClient, volume: Volume, root: Path
) -> None:
    (root / "a").write_bytes(b"first")
    where = f"/api/v1/volumes/{volume.public_id}/files/a"
    head = api.head(where)
    etag, modified = head["ETag"], head["Last-Modified"]
    assert (head["Content-Length"], head["Accept-Ranges"]) == ("5", "bytes")
    for known in (etag, modified):
        answer = api.get(where, headers={"Range": "bytes=3-", "If-Range": known})
        assert body_of(answer) == b"st"
    assert api.get(where, headers={"If-None-Match": etag}).status_code == 304
    (root / "a").write_bytes(b"second")
    answer = api.get(where, headers={"Range": "bytes=3-", "If-Range": etag})
    assert (answer.status_code, body_of(answer)) == (200, b"second")
    answer = api.get(where, headers={"If-None-Match": etag})
    assert body_of(answer) == b"second"


def test_an_empty_file_is_answered(api: APIClient, volume: Volume, root: Path) -> None:
    assert put(api, f"{volume.public_id}/files/empty", b"").status_code == 201
    answer = api.get(f"/api/v1/volumes/{volume.public_id}/files/empty")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_folder_is_listed_in_pages(api: APIClient, volume: Volume, root: Path) -> None:
    (root / "d").mkdir()
    for number in range(PAGE_SIZE + 1):
        (root / f"d/{number:04}").touch()
    where = f"/api/v1/volumes/{volume.public_id}/files/d"
    first = api.get(where).json()
    assert [entry["name"] for entry in first["entries"][:2]] == ["0000", "0001"]
    assert len(first["entries"]) == first["next"] == PAGE_SIZE
    assert (first["total"], first["is_cut"]) == (PAGE_SIZE + 1, False)
    second = api.get(f"{where}?start={first['next']}").json()
    assert [entry["name"] for entry in second["entries"]] == [f"{PAGE_SIZE:04}"]
    assert second["next"] is None
    whole = api.get(f"/api/v1/volumes/{volume.public_id}/files").json()
    assert [entry["kind"] for entry in whole["entries"]] == ["folder"]
    assert api.get(f"{where}?stat=true").json()["kind"] == "folder"


@pytest.mark.parametrize(
    ("how", "status", "left"),
    [
        ("fail", 409, {"a": b"before"}),
        ("replace", 201, {"a": b"after"}),
        ("keep_both", 201, {"a": b"before", "a (2)": b"after"}),
        ("guess", 400, {"a": b"before"}),
    ],
)
def test_what_becomes_of_a_name_that_is_taken(
    api: APIClient, volume: Volume, root: Path, how: str, status: int, left: dict[str, bytes]
) -> None:
    (root / "a").write_bytes(b"before")
    answer = put(api, f"{volume.public_id}/files/a", b"after", conflict=how)
    assert answer.status_code == status
    assert {path.name: path.read_bytes() for path in root.iterdir()} == left


def test_folders_above_are_made_when_asked(api: APIClient, volume: Volume, root: Path) -> None:
    where = f"{volume.public_id}/files/a/b/c.txt"
    refused = put(api, where, b"x")
    assert refused.status_code == 404
    assert refused.json()["error"]["message"] == "There is no a in this volume."
    assert put(api, where, b"x", parents="true").status_code == 201
    assert (root / "a/b/c.txt").read_bytes() == b"x"


@pytest.mark.parametrize("path", ["..%2fx", "a%2f..%2f..%2fx", "%2fetc/x", "a%0ab", "x" * 256])
def test_no_upload_leaves_the_volume(api: APIClient, volume: Volume, root: Path, path: str) -> None:
    answer = put(api, f"{volume.public_id}/files/{path}", b"x")
    assert answer.status_code in {400, 404}
    assert names_in(root) == []
    assert names_in(root.parent) == [root.name]


def test_folders_are_made_and_things_moved_and_deleted(
    api: APIClient, volume: Volume, root: Path
) -> None:
    where = f"/api/v1/volumes/{volume.public_id}/files"
    assert api.post(f"{where}/a", {"action": "mkdir"}, format="json").status_code == 201
    assert api.post(f"{where}/a", {"action": "mkdir"}, format="json").status_code == 409
    asked = {"action": "mkdir", "parents": True}
    assert api.post(f"{where}/x/y/z", asked, format="json").status_code == 201
    moved = api.post(f"{where}/x/y", {"action": "move", "to": "a/b"}, format="json")
    assert (moved.status_code, moved.json()["path"]) == (200, "a/b")
    assert (root / "a/b/z").is_dir()
    assert api.delete(f"{where}/a").json() == {"removed": 3, "complete": True}
    assert api.delete(f"{where}/a").status_code == 404
    assert names_in(root) == ["x"]


def test_a_folder_comes_out_as_a_zip(api: APIClient, volume: Volume, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/f").write_bytes(b"x")
    answer = api.get(f"/api/v1/volumes/{volume.public_id}/archive/d")
    assert answer["Content-Disposition"] == 'attachment; filename="d.zip"'
    assert zipfile.ZipFile(io.BytesIO(body_of(answer))).namelist() == ["f"]
    whole = api.get(f"/api/v1/volumes/{volume.public_id}/archive")
    assert whole["Content-Disposition"] == 'attachment; filename="data.zip"'
    assert zipfile.ZipFile(io.BytesIO(body_of(whole))).namelist() == ["d/", "d/f"]
    assert api.get(f"/api/v1/volumes/{volume.public_id}/archive/no").status_code == 404


def test_too_many_files_for_a_zip_are_refused(api: APIClient, volume: Volume, root: Path) -> None:
    for number in range(MOST_ENTRIES + 1):
        (root / f"{number}").touch()
    answer = api.get(f"/api/v1/volumes/{volume.public_id}/archive")
    assert answer.status_code == 413


def test_an_archive_goes_in_as_a_folder(api: APIClient, volume: Volume, root: Path) -> None:
    data = zipped(("a/b", b"x" * 1000), ("c", b""))
    answer = put(api, f"{volume.public_id}/archive/new", data)
    assert answer.status_code == 201
    assert answer.json() == {"path": "new", "entries": 2, "left_out": 0}
    assert (root / "new/a/b").read_bytes() == b"x" * 1000
    assert put(api, f"{volume.public_id}/archive/new", data).status_code == 409
    again = put(api, f"{volume.public_id}/archive/new", data, conflict="keep_both")
    assert again.json()["path"] == "new (2)"
    assert names_in(root) == ["new", "new (2)"]


def test_what_is_no_archive_leaves_nothing(api: APIClient, volume: Volume, root: Path) -> None:
    answer = put(api, f"{volume.public_id}/archive/new", b"no archive")
    assert answer.status_code == 400
    assert names_in(root) == []
    volume.refresh_from_db()
    assert volume.used_bytes == 0


# --- room ---


def used(volume: Volume) -> int:
    volume.refresh_from_db()
    return volume.used_bytes


def test_what_does_not_fit_is_refused_with_what_would(
    api: APIClient, volume: Volume, root: Path
) -> None:
    Volume.objects.update(used_bytes=10 * GIB - 1000)
    answer = put(api, f"{volume.public_id}/files/a", b"x" * 2048)
    assert answer.status_code == 413
    assert answer.json()["error"] == {
        "code": "too_large",
        "message": "This takes 2.0 KiB more, and data has 1000 B left of 10 GiB. "
        "Remove files or make it larger.",
        "fields": {},
    }
    assert names_in(root) == []
    assert used(volume) == 10 * GIB - 1000
    assert put(api, f"{volume.public_id}/files/a", b"x" * 1000).status_code == 201
    assert used(volume) == 10 * GIB


def test_an_archive_must_fit_unpacked(api: APIClient, volume: Volume, root: Path) -> None:
    data = zipped(("a", b"x" * 4000))
    Volume.objects.update(used_bytes=10 * GIB - len(data) - 3999)
    assert put(api, f"{volume.public_id}/archive/new", data).status_code == 413
    assert names_in(root) == []
    assert used(volume) == 10 * GIB - len(data) - 3999
    Volume.objects.update(used_bytes=10 * GIB - len(data) - 4000)
    assert put(api, f"{volume.public_id}/archive/new", data).status_code == 201
    assert used(volume) == 10 * GIB - len(data)


def test_what_is_deleted_or_replaced_makes_room(api: APIClient, volume: Volume) -> None:
    where = f"{volume.public_id}/files/a"
    put(api, where, b"x" * 4096)
    put(api, where, b"y" * 8192)
    assert used(volume) == 8192
    api.delete(f"/api/v1/volumes/{where}")
    assert used(volume) == 0


def test_storage_that_is_away_answers_503(api: APIClient, engine: Engine, volume: Volume) -> None:
    engine.backend.is_down = True
    answer = api.get(f"/api/v1/volumes/{volume.public_id}/files")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"


# --- rights ---


def test_members_use_it_and_strangers_do_not_find_it(
    api_of: Callable[[User], APIClient], bob: User, charlie: User, volume: Volume, root: Path
) -> None:
    (root / "a").write_bytes(b"x")
    where = f"{volume.public_id}/files/b"
    assert put(api_of(bob), where, b"x").status_code == 201
    other = api_of(charlie)
    assert put(other, where, b"x").status_code == 404
    for answer in (
        other.get(f"/api/v1/volumes/{volume.public_id}"),
        other.get(f"/api/v1/volumes/{volume.public_id}/files/a"),
        other.get(f"/api/v1/volumes/{volume.public_id}/archive"),
        other.delete(f"/api/v1/volumes/{volume.public_id}/files/a"),
    ):
        assert answer.status_code == 404
    assert other.get("/api/v1/volumes").json() == {"volumes": []}
    assert names_in(root) == ["a", "b"]
