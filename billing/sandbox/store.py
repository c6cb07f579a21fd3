"""Stripe's objects as JSON documents in one SQLite file."""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Doc = dict[str, Any]

_ID_LETTERS = string.ascii_letters + string.digits
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS objects_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_open_sessions
    ON objects (json_extract(body, '$.expires_at'))
    WHERE kind = 'checkout.session' AND json_extract(body, '$.status') = 'open';
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    request_id TEXT NOT NULL,
    created INTEGER NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    created REAL NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'given_up')),
    last_result TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due, id) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


def new_id(prefix: str, length: int = 24) -> str:
    """`cus_Kf3...`: the prefix and `length` random letters and digits."""
    return f"{prefix}_{''.join(secrets.choice(_ID_LETTERS) for _ in range(length))}"


@dataclass(frozen=True, slots=True)
class Query:
    """What a list asks for: equal fields, bounds of `created` in Unix seconds, and the page."""

    equal: Mapping[str, str | int] = field(default_factory=dict)
    created: Mapping[str, int] = field(default_factory=dict)
    limit: int = 10
    starting_after: str = ""
    ending_before: str = ""


class Store:
    """All state of the sandbox. One thread at a time; the server's event loop is that thread."""

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = state_dir / "stripe.sqlite3"
        path.touch(mode=0o600)
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside lasts together, or nothing does when it raises."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def add(self, obj: Doc) -> Doc:
        """Keep a new object."""
        self.db.execute(
            "INSERT INTO objects (id, kind, created, body) VALUES (?, ?, ?, ?)",
            (obj["id"], obj["object"], obj["created"], json.dumps(obj)),
        )
        return obj

    def save(self, obj: Doc) -> Doc:
        """Replace an object that is kept already; raises KeyError when it is not."""
        done = self.db.execute(
            "UPDATE objects SET body = ? WHERE id = ?", (json.dumps(obj), obj["id"])
        )
        if done.rowcount != 1:
            raise KeyError(obj["id"])
        return obj

    def find(self, kind: str, object_id: str) -> Doc | None:
        """The object of that kind with that id, if there is one."""
        row = self.db.execute(
            "SELECT body FROM objects WHERE id = ? AND kind = ?", (object_id, kind)
        ).fetchone()
        return _doc(row) if row else None

    def get(self, kind: str, object_id: str) -> Doc:
        """As `find`, for an id we wrote ourselves; raises KeyError."""
        found = self.find(kind, object_id)
        if found is None:
            raise KeyError(object_id)
        return found

    def page(self, kind: str, query: Query) -> tuple[list[Doc], bool]:
        """Newest first, and whether more follow in the direction asked for."""
        where, values = self._conditions(kind, query)
        direction = "ASC" if query.ending_before else "DESC"
        rows = self.db.execute(
            f"SELECT body FROM objects WHERE {' AND '.join(where)} "  # noqa: S608 - fixed words only
            f"ORDER BY seq {direction} LIMIT ?",
            [*values, query.limit + 1],
        ).fetchall()
        found = [_doc(row) for row in rows[: query.limit]]
        return (found[::-1] if query.ending_before else found), len(rows) > query.limit

    def all_of(self, kind: str) -> Iterator[Doc]:
        """Every object of a kind, oldest first."""
        for row in self.db.execute("SELECT body FROM objects WHERE kind = ? ORDER BY seq", (kind,)):
            yield _doc(row)

    def sessions_past(self, instant: int) -> list[Doc]:
        """Open Checkout Sessions whose `expires_at` is not after `instant` (Unix seconds)."""
        rows = self.db.execute(
            "SELECT body FROM objects WHERE kind = 'checkout.session'"
            " AND json_extract(body, '$.status') = 'open'"
            " AND json_extract(body, '$.expires_at') <= ?",
            (instant,),
        )
        return [_doc(row) for row in rows]

    def meta(self, name: str, default: str) -> str:
        """A named value."""
        row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row["value"]) if row else default

    def set_meta(self, name: str, value: str) -> None:
        """Set a named value."""
        self.db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))

    def _conditions(self, kind: str, query: Query) -> tuple[list[str], list[str | int]]:
        where, values = ["kind = ?"], list[str | int]([kind])
        for name, value in query.equal.items():
            where.append("json_extract(body, ?) = ?")
            values += [f"$.{name}", value]
        for name, instant in query.created.items():
            where.append(f"created {_BOUNDS[name]} ?")
            values.append(instant)
        for cursor, sign in ((query.starting_after, "<"), (query.ending_before, ">")):
            if cursor:
                where.append(f"seq {sign} (SELECT seq FROM objects WHERE id = ?)")  # noqa: S608
                values.append(cursor)
        return where, values


_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}


def _doc(row: sqlite3.Row) -> Doc:
    body: Doc = json.loads(row["body"])
    return body
