"""What a kernel prints while nobody is there is in the notebook afterwards: all of it, once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.backend import wait_for
from tests.sdk.lab import Lab, lab

LINES = 30
PRINTS = f"import time\nfor n in range({LINES}): print('line', n, flush=True); time.sleep(0.1)"
ALL = "".join(f"line {n}\n" for n in range(LINES))
LAST = f"line {LINES - 1}\n"
RICH = """import sys, time
print('begun', flush=True); time.sleep(1)
from IPython.display import HTML, clear_output, display
clear_output(wait=True)
for n in range(3): print('step', n, end='\\r')
print()
shown = display(HTML('<b>0</b>'), display_id=True)
shown.update(HTML('<b>1</b>'))
print('to err', file=sys.stderr)
6 * 7"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server for all of these tests; each has a notebook and a kernel of its own."""
    with lab(tmp_path_factory.mktemp("lab")) as started:
        yield started


def is_idle(server: Lab, kernel: str) -> bool:
    return bool(server.kernel(kernel)["execution_state"] == "idle")


def test_a_page_that_never_comes_back_finds_all_of_it_in_the_file(server: Lab) -> None:
    server.write("gone.ipynb", PRINTS)
    kernel = server.open("gone.ipynb")
    with server.page(kernel) as page:
        page.run(PRINTS)
        page.waits_for("line 5\n")
    wait_for(lambda: is_idle(server, kernel), 60)
    wait_for(lambda: server.printed("gone.ipynb").endswith(LAST), 60)
    assert server.printed("gone.ipynb") == ALL
    assert server.cells("gone.ipynb")[0]["execution_count"] == 1


def test_a_page_that_comes_back_in_mid_cell_is_told_that_it_runs(server: Lab) -> None:
    server.write("back.ipynb", PRINTS)
    kernel = server.open("back.ipynb")
    with server.page(kernel) as page:
        page.run(PRINTS)
        page.waits_for("line 5\n")
    with server.page(kernel, page.session) as again:
        assert again.hears() == ("status", {"execution_state": "busy"})
        wait_for(lambda: is_idle(server, kernel), 60)
        wait_for(lambda: server.printed("back.ipynb").endswith(LAST), 60)
    assert server.printed("back.ipynb") == ALL


def test_a_connection_that_is_cut_without_a_word_loses_nothing(server: Lab) -> None:
    server.write("cut.ipynb", PRINTS)
    kernel = server.open("cut.ipynb")
    with server.page(kernel) as page:
        page.run(PRINTS)
        page.waits_for("line 5\n")
        page.is_lost()
        wait_for(lambda: is_idle(server, kernel), 60)
        wait_for(lambda: server.printed("cut.ipynb").endswith(LAST), 60)
    assert server.printed("cut.ipynb") == ALL


def test_cells_that_waited_their_turn_are_recorded_too(server: Lab) -> None:
    sources = (PRINTS, "print('second')", "1 / 0")
    server.write("many.ipynb", *sources)
    with server.page(server.open("many.ipynb")) as page:
        for number, source in enumerate(sources):
            page.run(source, number)
        page.waits_for("line 5\n")
    wait_for(lambda: server.cells("many.ipynb")[2]["outputs"], 60)
    cells = server.cells("many.ipynb")
    assert server.printed("many.ipynb") == ALL
    assert server.printed("many.ipynb", 1) == "second\n"
    assert cells[2]["outputs"][0]["ename"] == "ZeroDivisionError"
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3]


def test_pictures_and_progress_look_as_a_page_would_show_them(server: Lab) -> None:
    server.write("rich.ipynb", RICH)
    with server.page(server.open("rich.ipynb")) as page:
        page.run(RICH)
        page.waits_for("begun\n")
    wait_for(lambda: len(server.cells("rich.ipynb")[0]["outputs"]) == 4, 60)
    text, picture, err, result = server.cells("rich.ipynb")[0]["outputs"]
    assert "".join(text["text"]) == "step 2\n"
    assert "".join(picture["data"]["text/html"]) == "<b>1</b>"
    assert (err["name"], "".join(err["text"])) == ("stderr", "to err\n")
    assert (result["output_type"], result["data"]["text/plain"]) == ("execute_result", ["42"])


def test_a_kernel_that_dies_says_so_in_the_notebook(server: Lab) -> None:
    source = "import os, time\nprint('here', flush=True); time.sleep(2); os.kill(os.getpid(), 9)"
    server.write("dies.ipynb", source)
    with server.page(server.open("dies.ipynb")) as page:
        page.run(source)
        page.waits_for("here\n")
    wait_for(lambda: len(server.cells("dies.ipynb")[0]["outputs"]) == 2, 60)
    text, error = server.cells("dies.ipynb")[0]["outputs"]
    assert ("".join(text["text"]), error["ename"]) == ("here\n", "KernelDied")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_ends_has_saved_what_was_printed(tmp_path: Path, number: int) -> None:
    endless = "import time\nfor n in range(10**6): print('line', n, flush=True); time.sleep(0.1)"
    with lab(tmp_path) as server:
        server.write("ends.ipynb", endless)
        with server.page(server.open("ends.ipynb")) as page:
            page.run(endless)
            page.waits_for("line 5\n")
        # Killed, it loses no more than the seconds between two times it saves.
        wait_for(lambda: "line 5\n" in server.printed("ends.ipynb"), 60)
        os.kill(server.process.pid, number)
        server.process.wait(60)
        kept = server.printed("ends.ipynb")
    assert kept == "".join(f"line {n}\n" for n in range(kept.count("\n")))


def test_a_server_ends_at_once_while_a_page_is_there(tmp_path: Path) -> None:
    with lab(tmp_path) as server:
        server.write("there.ipynb", PRINTS)
        with server.page(server.open("there.ipynb")) as page:
            page.run(PRINTS)
            page.waits_for("line 5\n")
            server.process.terminate()
            assert server.process.wait(60) == 0


def test_a_page_that_answers_pings_stays_connected(server: Lab) -> None:
    source = "import time; time.sleep(25); print('late', flush=True)"
    server.write("long.ipynb", source)
    with server.page(server.open("long.ipynb")) as page:
        page.run(source)
        page.waits_for("late\n")


def test_what_a_page_saw_itself_is_left_to_the_page(server: Lab) -> None:
    server.write("there.ipynb", "print('seen')")
    kernel = server.open("there.ipynb")
    with server.page(kernel) as page:
        page.run("print('seen')")
        page.waits_for("seen\n")
        wait_for(lambda: is_idle(server, kernel), 60)
        assert server.cells("there.ipynb")[0]["outputs"] == []
