"""Pictures of volumes and of the file manager, with a volume that looks used."""

from __future__ import annotations

import io
import zipfile

from playwright.sync_api import Browser, FilePayload, Page

from tests.browser.shooting import shoot
from tests.stacks.developer import Developer, until
from tests.stacks.portal import Stack

LONG = "checkpoint-resnet50-imagenet-lr0.001-batch256-epoch-000142-of-000300.safetensors"


def take_files(browser: Browser, stack: Stack) -> None:
    """No volume, some, one full; a folder with all kinds of names, and everything that opens."""
    shoot(browser, stack, {"volumes-empty": "/volumes/"}, signed_in=True)
    with Developer(stack) as developer:
        volume = fill(developer)
    here = f"/volumes/{volume}/"
    pages = {
        "volumes": "/volumes/",
        "files-volume": here,
        "files-empty": f"{here}?path=empty",
        "files-gone": f"{here}?path=nowhere",
    }
    shoot(browser, stack, pages, signed_in=True)
    shoot(browser, stack, {"volumes-create": "/volumes/"}, signed_in=True, prepare=open_create)
    for name, prepare in {
        "files-chosen": choose,
        "files-menu": open_menu,
        "files-rename": rename,
        "files-delete": ask_delete,
        "files-conflict": conflict,
        "files-uploads": upload,
        "volume-resize": open_resize,
        "volume-remove": open_remove,
    }.items():
        shoot(browser, stack, {name: here}, signed_in=True, prepare=prepare)


def fill(developer: Developer) -> str:
    """Three volumes; the id of the one with files."""
    sizes = {"datasets": 50, "a volume with a rather long name as some have it": 1}
    made = [
        developer.http.post("/volumes", json={"name": name, "size_gib": size}).json()["id"]
        for name, size in sizes.items()
    ]
    volume, small = made
    files = {
        "train/a.png": b"x" * 4000,
        "train/b.png": b"x" * 1234,
        "README.md": b"# Data\n",
        LONG: b"x" * 3_000_000,
        "größe 数据 🧪.csv": b"x" * 123_456,
        "samples.zip": archive(),
        "empty/.keep": b"",
    }
    for path, data in files.items():
        put(developer, volume, path, data)
    developer.http.delete(f"/volumes/{volume}/files/empty/.keep")
    put(developer, small, "large.bin", bytes(900 * 1024**2))
    until(lambda: None not in [one["used_bytes"] for one in volumes(developer)], seconds=240)
    return str(volume)


def volumes(developer: Developer) -> list[dict[str, object]]:
    """As the API shows them."""
    found: list[dict[str, object]] = developer.http.get("/volumes").json()["volumes"]
    return found


def put(developer: Developer, volume: str, path: str, data: bytes) -> None:
    """Upload one file."""
    answer = developer.http.put(f"/volumes/{volume}/files/{path}?parents=true", content=data)
    assert answer.status_code == 201, answer.text


def archive() -> bytes:
    """A small zip file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        target.writestr("a/b.txt", "x")
    return made.getvalue()


def open_create(page: Page) -> None:
    page.get_by_role("button", name="New volume").click()
    page.get_by_label("Size").fill("250")


def choose(page: Page) -> None:
    page.get_by_label("Choose README.md").check()
    page.get_by_label("Choose train", exact=True).check()


def open_menu(page: Page) -> None:
    page.get_by_label("What to do with samples.zip").click()


def rename(page: Page) -> None:
    page.get_by_label("What to do with README.md").click()
    page.get_by_role("button", name="Rename", exact=True).click()
    page.get_by_label("New name of README.md").fill("train")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="already").wait_for()


def ask_delete(page: Page) -> None:
    choose(page)
    page.get_by_role("button", name="Delete", exact=True).click()


def conflict(page: Page) -> None:
    choose_files(page, "README.md", "z")
    page.get_by_role("heading", name="README.md is there already").wait_for()


def upload(page: Page) -> None:
    page.route("**/files/weights-2.bin*", lambda route: None)
    page.route("**/files/broken.bin*", lambda route: route.fulfill(status=413, body=FULL))
    for name in ("weights-1.bin", "notes.txt"):
        page.route(f"**/files/{name}*", lambda route: route.fulfill(status=201, body="{}"))
    choose_files(page, "weights-1.bin", "weights-2.bin", "broken.bin", "notes.txt")
    page.get_by_text("1000 B left").wait_for()
    page.get_by_text("Done").first.wait_for()


def choose_files(page: Page, *names: str) -> None:
    """As somebody picks them in the browser's own dialog."""
    files: list[FilePayload] = [
        {"name": name, "mimeType": "text/plain", "buffer": b"x" * 2_000_000} for name in names
    ]
    page.locator("#pick-files").set_input_files(files)


FULL = (
    '{"error": {"code": "too_large", "fields": {}, "message": '
    '"This takes 2.0 MiB more, and datasets has 1000 B left of 50 GiB."}}'
)


def open_resize(page: Page) -> None:
    page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name="Change its size").click()


def open_remove(page: Page) -> None:
    page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name="Remove the volume").click()
