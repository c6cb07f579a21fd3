"""Rules of the house that import-linter cannot say, read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "billing", "clusters", "portal")
VERBS = ("actions", "queries", "control")


def sources(*names: str) -> Iterator[Path]:
    """Every module of ours below the named packages; migrations are Django's writing."""
    for name in names:
        for path in sorted((ROOT / name).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def imports(path: Path) -> set[str]:
    """Names of the modules `path` imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_verb(path: Path) -> bool:
    """Whether the module belongs to the layer that knows no HTTP."""
    return path.name == "access.py" or any(part in VERBS for part in path.parts)


def test_the_verb_layer_knows_no_http() -> None:
    breaches = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("accounts", "billing", "clusters")
        if is_verb(path)
        for name in imports(path)
        if name.startswith(("django.http", "django.shortcuts"))
    ]
    assert breaches == []


def test_only_the_ledger_writes_postings() -> None:
    writers = [
        str(path.relative_to(ROOT))
        for path in sources(*APPS)
        if any(
            words in path.read_text()
            for words in ("Posting.objects.create", "Posting.objects.bulk_create", "Posting(")
        )
        and "models" not in path.parts
    ]
    assert writers == ["billing/actions/ledger.py"]


def test_only_set_status_writes_a_status_of_a_workload() -> None:
    writers = [
        str(path.relative_to(ROOT))
        for path in sources(*APPS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "update"
        and {"status", "reason"} <= {keyword.arg for keyword in node.keywords}
    ]
    assert writers == ["clusters/actions/set_status.py"]


def test_time_comes_from_the_clock() -> None:
    breaches = [
        str(path.relative_to(ROOT))
        for path in sources("accounts", "billing/actions", "billing/queries", "clusters/actions")
        if "django.utils.timezone" in imports(path) or "datetime.now(" in path.read_text()
    ]
    assert breaches == []


def test_modules_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources(*APPS, "sdk")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}
