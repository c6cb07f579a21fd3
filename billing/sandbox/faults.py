"""The fault dial: what goes wrong on the way to and from Stripe, on demand.

`POST /_sandbox/faults` adds a rule, `GET` shows what is left of them, `DELETE` ends them all. A
rule is for requests (`method` and the beginning of `path`) or for webhooks (`event`, a type), and
is used up after `count` times:

- `error_before`: 500, nothing was done; `error_after`: it was done, and the 500 is what its
  idempotency key remembers;
- `drop_response`: it was done and the connection breaks; `delay`: the answer takes `seconds`;
- `duplicate`: the event is delivered twice; `hold`: it is delivered `seconds` later, so that others
  overtake it; `never`: it is not delivered and can only be listed.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from billing.sandbox.errors import InvalidRequest
from billing.sandbox.forms import Params
from billing.sandbox.store import Doc, Store, new_id

OF_REQUESTS = frozenset({"error_before", "error_after", "drop_response", "delay"})
OF_EVENTS = frozenset({"duplicate", "hold", "never"})
_NAME = "faults"
_MOST = 10_000


class Faults:
    """The rules, kept in the store: a restart keeps them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, params: Params) -> Doc:
        """A rule as it was asked for; raises InvalidRequest."""
        what = params.choice("what", OF_REQUESTS | OF_EVENTS)
        rule: Doc = {
            "id": new_id("fault", 10),
            "object": "sandbox.fault",
            "what": what,
            "method": params.choice("method", {"GET", "POST"}),
            "path": params.text("path"),
            "event": params.text("event"),
            "count": params.integer("count", minimum=1, maximum=_MOST) or 1,
            "seconds": params.integer("seconds", minimum=0, maximum=_MOST) or 0,
        }
        if what is None:
            raise InvalidRequest("Say what goes wrong.", param="what")
        if (what in OF_REQUESTS) != (rule["path"] is not None) or (
            (what in OF_EVENTS) != (rule["event"] is not None)
        ):
            raise InvalidRequest("Name a path for requests, an event for webhooks.", param="path")
        params.finish()
        self._save([*self.rules(), rule])
        return rule

    def rules(self) -> list[Doc]:
        """What is left of them."""
        found: list[Doc] = json.loads(self._store.meta(_NAME, "[]"))
        return found

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._save([])

    def for_request(self, method: str, path: str) -> Doc | None:
        """The rule for this request, used up by one."""
        return self._take(
            lambda rule: (
                rule["path"] is not None
                and path.startswith(rule["path"])
                and rule["method"] in {None, method}
            )
        )

    def for_event(self, kind: str) -> Doc | None:
        """The rule for an event of this type, used up by one."""
        return self._take(lambda rule: rule["event"] == kind)

    def _take(self, fits: Callable[[Doc], bool]) -> Doc | None:
        rules = self.rules()
        for rule in rules:
            if fits(rule):
                rule["count"] -= 1
                self._save([one for one in rules if one["count"] > 0])
                return rule
        return None

    def _save(self, rules: list[Doc]) -> None:
        self._store.set_meta(_NAME, json.dumps(rules))
