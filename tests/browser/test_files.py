"""Files in a volume as a person handles them, in Chromium."""

from __future__ import annotations

import hashlib
import os
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from tests.browser.shooting import sign_in
from tests.browser.test_journey import Complaints
from tests.stacks.developer import Developer
from tests.stacks.portal import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(400)]
MIB = 1024**2


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """The demo's owner."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    page = context.new_page()
    sign_in(page, stack)
    yield page
    context.close()


@pytest.fixture
def volume(developer: Developer) -> Iterator[str]:
    """A volume of a gigabyte."""
    name = f"browser {time.time_ns()}"
    made = developer.http.post("/volumes", json={"name": name, "size_gib": 1})
    assert made.status_code == 201, made.text
    yield made.json()["id"]
    developer.http.delete(f"/volumes/{made.json()['id']}")


def digests(folder: Path) -> dict[str, str]:
    """Of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def open_volume(page: Page, stack: Stack, volume: str) -> None:
    page.goto(f"{stack.url}/volumes/{volume}/")
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    """Pick files, as from the browser's own dialog."""
    payloads: list[FilePayload] = [
        {"name": name, "mimeType": "text/plain", "buffer": data} for name, data in files
    ]
    page.locator("#pick-files").set_input_files(payloads)


def test_the_demo_makes_a_volume(page: Page, stack: Stack, developer: Developer) -> None:
    complaints = Complaints(page)
    page.goto(f"{stack.url}/volumes/")
    page.get_by_role("button", name=re.compile("^(New volume|Make one)")).click()
    expect(page.get_by_text("$0.70 a month, $0.02 a day.")).to_be_visible()
    name = f"made {time.time_ns()}"
    page.get_by_label("Name").fill(name)
    page.get_by_label("Size").fill("20")
    expect(page.get_by_text("$1.40 a month, $0.05 a day.")).to_be_visible()
    page.get_by_role("button", name="Make the volume").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("main")).to_contain_text("$1.40 a month")
    page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name="Remove the volume").click()
    page.get_by_role("button", name="Remove with all files").click()
    page.wait_for_url(f"{stack.url}/volumes/")
    assert name not in [one["name"] for one in developer.http.get("/volumes").json()["volumes"]]
    assert not complaints.heard, "\n".join(complaints.heard)


def test_a_folder_goes_up_and_comes_down_as_it_was(
    page: Page, stack: Stack, volume: str, tmp_path: Path
) -> None:
    complaints = Complaints(page)
    mine = tmp_path / "mine" / "data set"
    for path in ("train/größe 1.bin", "train/deep/er/x.bin", "README.md", "ü%20#?.txt"):
        (mine / path).parent.mkdir(parents=True, exist_ok=True)
        (mine / path).write_bytes(os.urandom(200_000))
    (mine / "large.bin").write_bytes(os.urandom(30 * MIB))
    open_volume(page, stack, volume)
    seen: list[float] = []

    def saw(value: float) -> None:
        seen.append(value)

    page.expose_function("saw", saw)
    page.evaluate(
        "new MutationObserver(() => window.saw(document.querySelector('[data-uploads-bar]').value))"
        ".observe(document.getElementById('uploads'), {attributes: true, subtree: true})"
    )

    page.locator("#pick-folder").set_input_files(mine)

    tray = page.locator("#uploads")
    expect(tray).to_contain_text("5 uploaded", timeout=60_000)
    assert any(0 < value < 30 * MIB for value in seen), "no progress was shown"
    page.locator("tr[data-name='data set']").get_by_role("link").click()
    expect(page.locator("nav[aria-label=Folder]")).to_contain_text("data set")
    expect(page.locator("tr[data-name='large.bin']")).to_contain_text("30.0 MiB")
    page.go_back()
    page.get_by_label("Choose data set").check()
    expect(page.get_by_text("1 chosen")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as zip").click()
    saved = tmp_path / "all.zip"
    download.value.save_as(saved)
    assert download.value.suggested_filename == "data set.zip"
    zipfile.ZipFile(saved).extractall(tmp_path / "theirs")
    assert digests(tmp_path / "theirs") == digests(tmp_path / "mine")
    assert not complaints.heard, "\n".join(complaints.heard)


def test_a_drop_is_an_upload(page: Page, stack: Stack, volume: str) -> None:
    open_volume(page, stack, volume)
    transfer = page.evaluate_handle(
        "() => { const data = new DataTransfer();"
        " data.items.add(new File(['dropped'], 'drop.txt')); return data; }"
    )
    page.dispatch_event("#files", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to upload into")).to_be_visible()
    page.dispatch_event("#files", "drop", {"dataTransfer": transfer})
    expect(page.locator("tr[data-name='drop.txt']")).to_contain_text("7 B")
    expect(page.get_by_text("Drop to upload into")).to_be_hidden()


def test_a_name_that_is_taken_is_asked_about(page: Page, stack: Stack, volume: str) -> None:
    open_volume(page, stack, volume)
    for number, (choice, sizes) in enumerate(
        [("", {"a.txt": 1}), ("Skip", {"a.txt": 1}), ("Replace", {"a.txt": 3}),
         ("Keep both", {"a (2).txt": 4, "a.txt": 3})]
    ):  # fmt: skip
        choose(page, ("a.txt", b"x" * (number + 1)))
        if choice:
            expect(page.get_by_role("heading", name="a.txt is there already")).to_be_visible()
            page.get_by_role("button", name=choice, exact=True).click()
        for name, size in sizes.items():
            expect(page.locator(f"tr[data-name='{name}']")).to_contain_text(f"{size} B")
        expect(page.locator("tr[data-name]")).to_have_count(len(sizes))


def test_one_answer_may_do_for_all(page: Page, stack: Stack, volume: str) -> None:
    open_volume(page, stack, volume)
    names = ("a", "b", "c")
    choose(page, *((name, b"1") for name in names))
    expect(page.locator("tr[data-name]")).to_have_count(3)
    choose(page, *((name, b"22") for name in names))
    page.get_by_label("The same for the other 2").check()
    page.get_by_role("button", name="Replace").click()
    for name in names:
        expect(page.locator(f"tr[data-name='{name}']")).to_contain_text("2 B")


def test_after_a_break_it_goes_on_by_itself(page: Page, stack: Stack, volume: str) -> None:
    open_volume(page, stack, volume)
    tries: list[str] = []

    def break_twice(route: Route) -> None:
        tries.append(route.request.method)
        if len(tries) <= 2:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/files/**", break_twice)
    choose(page, ("a.txt", b"x" * 100))
    expect(page.locator("#uploads")).to_contain_text("Trying again shortly")
    expect(page.locator("tr[data-name='a.txt']")).to_be_visible(timeout=30_000)
    assert tries == ["PUT", "PUT", "PUT"]


def test_what_is_refused_says_why_and_can_be_sent_again(
    page: Page, stack: Stack, volume: str
) -> None:
    open_volume(page, stack, volume)
    page.route(
        "**/files/**",
        lambda route: route.fulfill(
            status=413,
            body='{"error": {"code": "too_large", "message": "It is full.", "fields": {}}}',
        ),
    )
    choose(page, ("a.txt", b"x"))
    expect(page.locator("#uploads")).to_contain_text("1 of 1 not uploaded")
    expect(page.locator("#uploads")).to_contain_text("It is full.")
    page.unroute("**/files/**")
    page.get_by_role("button", name="Retry a.txt").click()
    expect(page.locator("tr[data-name='a.txt']")).to_be_visible()


def test_what_does_not_fit_is_told_while_it_is_sent(page: Page, stack: Stack, volume: str) -> None:
    open_volume(page, stack, volume)
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          const piece = new Uint8Array(64 * 1024 * 1024);
          data.items.add(new File(Array(17).fill(piece), 'large.bin'));
          const input = document.getElementById('pick-files');
          input.files = data.files;
          input.dispatchEvent(new Event('change'));
        }"""
    )
    words = "Remove files or make it larger"
    expect(page.locator("#uploads")).to_contain_text(words, timeout=90_000)


def test_an_upload_can_be_cancelled(
    page: Page, stack: Stack, volume: str, developer: Developer
) -> None:
    open_volume(page, stack, volume)
    page.route("**/files/**", lambda route: None)
    choose(page, *((f"{number}", b"x") for number in range(8)))
    tray = page.locator("#uploads")
    expect(tray).to_contain_text("Uploading 1 of 8")
    tray.get_by_role("button", name="Cancel 0", exact=True).click()
    expect(tray).to_contain_text("of 7")
    tray.get_by_role("button", name="Cancel all").click()
    expect(tray).to_be_hidden()
    assert developer.http.get(f"/volumes/{volume}/files").json()["total"] == 0


def test_folders_names_and_deletions_by_hand_and_key(page: Page, stack: Stack, volume: str) -> None:
    open_volume(page, stack, volume)
    page.keyboard.press("f")
    page.get_by_label("Name of the new folder").fill("plots")
    page.keyboard.press("Enter")
    link = page.locator("tr[data-name=plots]").get_by_role("link")
    expect(link).to_be_visible()
    link.focus()
    page.keyboard.press("F2")
    field = page.get_by_label("New name of plots")
    field.fill("a/b")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="There is no a")).to_be_visible()
    field.fill("figures")
    page.keyboard.press("Enter")
    moved = page.locator("tr[data-name=figures]").get_by_role("link")
    expect(moved).to_be_visible()
    moved.focus()
    page.keyboard.press("Delete")
    expect(page.get_by_role("heading", name="Delete folder?")).to_be_visible()
    expect(page.get_by_text("The folder goes with everything in it")).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()


def test_an_archive_is_unpacked_beside_itself(
    page: Page, stack: Stack, volume: str, tmp_path: Path
) -> None:
    open_volume(page, stack, volume)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number in range(300):
            archive.writestr(f"inner/{number}.txt", "x")
    choose(page, ("set.zip", (tmp_path / "set.zip").read_bytes()))
    page.get_by_label("What to do with set.zip").click()
    page.get_by_role("button", name="Unpack here").click()
    expect(page.get_by_text("set.zip is unpacked into set.")).to_be_visible()
    page.locator("tr[data-name=set]").get_by_role("link").click()
    page.locator("tr[data-name=inner]").get_by_role("link").click()
    expect(page.get_by_text("300 entries, page 1 of 2")).to_be_visible()


def test_a_file_is_saved_and_never_shown(page: Page, stack: Stack, volume: str) -> None:
    open_volume(page, stack, volume)
    choose(page, ("evil.html", b"<script>document.title = 'owned'</script>"))
    with page.expect_download() as download:
        page.locator("tr[data-name='evil.html']").get_by_role("link").click()
    assert download.value.suggested_filename == "evil.html"
    assert Path(download.value.path()).read_bytes().startswith(b"<script>")
