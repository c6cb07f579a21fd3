"""Stripe's form encoding: `a[b][0][c]=x` and `a[]=x`, decoded and read with checks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from billing.sandbox.errors import InvalidRequest

Form = dict[str, Any]
_PARTS = re.compile(r"\[([^\[\]]*)\]")
_SHAPE = re.compile(r"[^\[\]]+(?:\[[^\[\]]*\])*")
_MAX_DEPTH = 8


def decode(pairs: Iterable[tuple[str, str]]) -> Form:
    """Nested dictionaries of strings; `a[]` counts up from 0. Raises InvalidRequest."""
    form: Form = {}
    for name, value in pairs:
        if not _SHAPE.fullmatch(name):
            raise InvalidRequest(f"Invalid parameter name: {name[:80]}", param=name[:80])
        path = [name.split("[", 1)[0], *_PARTS.findall(name)]
        if len(path) > _MAX_DEPTH:
            raise InvalidRequest("Parameters are nested too deeply", param=path[0])
        _put(form, path, value)
    return form


def _put(form: Form, path: list[str], value: str) -> None:
    here = form
    for part in path[:-1]:
        inner = here.setdefault(part or str(len(here)), {})
        if not isinstance(inner, dict):
            raise InvalidRequest(f"Invalid object: {path[0]}", param=path[0])
        here = inner
    last = path[-1] or str(len(here))
    if isinstance(here.get(last), dict):
        raise InvalidRequest(f"Invalid object: {path[0]}", param=path[0])
    here[last] = value


class Params:
    """Reads one level of a form. `finish` refuses whatever nobody has asked for."""

    def __init__(self, form: Form, path: str = "") -> None:
        self._form = form
        self._path = path
        self._read: set[str] = set()
        self._inner: list[Params] = []

    def name(self, key: str) -> str:
        """How the caller wrote the parameter: `line_items[0][quantity]`."""
        return f"{self._path}[{key}]" if self._path else key

    def given(self, key: str) -> bool:
        """Whether it was sent at all, even empty."""
        return key in self._form

    def nested(self, key: str) -> bool:
        """Whether it was sent as an object: `key[...]=`."""
        return isinstance(self._form.get(key), dict)

    def text(self, key: str, *, required: bool = False, limit: int = 5000) -> str | None:
        """A string, None when absent or empty (Stripe's way of unsetting)."""
        self._read.add(key)
        value = self._form.get(key)
        if isinstance(value, dict):
            raise InvalidRequest(f"Invalid string: {self.name(key)}", param=self.name(key))
        if required and not value:
            raise InvalidRequest(
                f"Missing required param: {self.name(key)}.",
                code="parameter_missing",
                param=self.name(key),
            )
        if value and len(value) > limit:
            raise InvalidRequest(
                f"Invalid string: must be at most {limit} characters", param=self.name(key)
            )
        return str(value) if value else None

    def required(self, key: str, *, limit: int = 5000) -> str:
        """A string that has to be there."""
        return self.text(key, required=True, limit=limit) or ""

    def integer(self, key: str, *, minimum: int, maximum: int) -> int | None:
        """A whole number within bounds, None when absent."""
        value = self.text(key)
        if value is None:
            return None
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise InvalidRequest(
                f"Invalid integer: {value[:40]}",
                code="parameter_invalid_integer",
                param=self.name(key),
            )
        number = int(value)
        if not minimum <= number <= maximum:
            bound = f">= {minimum}" if number < minimum else f"<= {maximum}"
            raise InvalidRequest(
                f"This value must be {bound}.",
                code="parameter_invalid_integer",
                param=self.name(key),
            )
        return number

    def choice(self, key: str, allowed: Collection[str], default: str | None = None) -> str | None:
        """One of `allowed`, `default` when absent."""
        value = self.text(key)
        if value is None:
            return default
        if value not in allowed:
            raise InvalidRequest(
                f"Invalid {self.name(key)}: must be one of {' or '.join(sorted(allowed))}",
                param=self.name(key),
            )
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        """`true` or `false`."""
        return self.choice(key, {"true", "false"}, str(default).lower()) == "true"

    def url(self, key: str, *, required: bool = False) -> str | None:
        """An absolute http(s) address."""
        value = self.text(key, required=required)
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            good = False
        if not good or re.search(r"[\x00-\x20\x7f]", value):
            raise InvalidRequest("Not a valid URL", code="url_invalid", param=self.name(key))
        return value

    def email(self, key: str) -> str | None:
        """Something shaped like a mail address."""
        value = self.text(key, limit=512)
        if value is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", value):
            raise InvalidRequest(
                f"Invalid email address: {value}", code="email_invalid", param=self.name(key)
            )
        return value

    def inner(self, key: str) -> Params:
        """The parameters under `key`, none when absent."""
        self._read.add(key)
        value = self._form.get(key) or {}
        if not isinstance(value, dict):
            raise InvalidRequest("Invalid object", param=self.name(key))
        found = Params(value, self.name(key))
        self._inner.append(found)
        return found

    def items(self, key: str) -> list[Params]:
        """A list of objects, in the order of their numbers."""
        outer = self.inner(key)
        return [outer.inner(number) for number in outer.numbers()]

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        outer = self.inner(key)
        return [outer.required(number) for number in outer.numbers()]

    def numbers(self) -> list[str]:
        """The keys of this level as those of an array."""
        if not all(key.isdecimal() for key in self._form):
            raise InvalidRequest("Invalid array", param=self._path)
        return sorted(self._form, key=int)

    def metadata(self, old: dict[str, str] | None = None) -> dict[str, str]:
        """`old` with what was sent laid over it; an empty value removes a key."""
        merged = dict(old or {})
        if self.given("metadata") and self._form["metadata"] == "":
            self._read.add("metadata")
            return {}
        sent = self.inner("metadata")
        for key in sent._form:
            if len(key) > 40:
                raise InvalidRequest("Metadata keys can be up to 40 characters", param="metadata")
            value = sent.text(key, limit=500)
            merged.pop(key, None) if value is None else merged.update({key: value})
        if len(merged) > 50:
            raise InvalidRequest("Metadata can have up to 50 keys", param="metadata")
        return merged

    def finish(self) -> None:
        """Raises InvalidRequest for the first parameter that was not read."""
        for key in self._form:
            if key not in self._read:
                raise InvalidRequest(
                    f"Received unknown parameter: {self.name(key)}",
                    code="parameter_unknown",
                    param=self.name(key),
                )
        for inner in self._inner:
            inner.finish()
