"""Retrieving, listing and expanding: the same for every kind of object."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from billing.sandbox.box import Box
from billing.sandbox.errors import InvalidRequest, ResourceMissing
from billing.sandbox.forms import Params
from billing.sandbox.store import Doc, Query

Operation = Callable[[Box, Params, str], Doc]

NOUNS = {
    "customer": "customer",
    "checkout.session": "checkout.session",
    "payment_intent": "payment_intent",
    "payment_method": "PaymentMethod",
    "setup_intent": "setup_intent",
    "dispute": "dispute",
    "payout": "payout",
    "charge": "charge",
    "refund": "refund",
    "event": "event",
    "balance_transaction": "balance transaction",
}
_REFERENCES = {
    "customer": "customer",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "setup_intent": "setup_intent",
    "latest_charge": "charge",
    "charge": "charge",
    "balance_transaction": "balance_transaction",
}
_SOURCES = {"ch": "charge", "re": "refund", "du": "dispute", "po": "payout"}


def fetch(box: Box, kind: str, object_id: str, *, param: str = "id") -> Doc:
    """The object; raises ResourceMissing, with 400 when another parameter than the URL named it."""
    found = box.store.find(kind, object_id)
    if found is None:
        status = 404 if param == "id" else 400
        raise ResourceMissing(NOUNS[kind], object_id, param=param, status=status)
    return found


def retrieve(kind: str) -> Operation:
    """The operation `GET /v1/<kind>s/{id}`."""

    def operation(box: Box, params: Params, object_id: str) -> Doc:
        paths = params.texts("expand")
        params.finish()
        return expand(box, fetch(box, kind, object_id), paths)

    return operation


def listing(
    kind: str,
    url: str,
    filters: Mapping[str, str],
    dress: Callable[[Box, Doc], Doc] | None = None,
    more_filters: Callable[[Params], dict[str, int]] | None = None,
) -> Operation:
    """The operation `GET url`: newest first. `filters` maps a parameter to the object's field."""

    def operation(box: Box, params: Params, _: str) -> Doc:
        query = _query(box, kind, params, filters, more_filters(params) if more_filters else {})
        paths = params.texts("expand")
        if any(not path.startswith("data.") for path in paths):
            raise InvalidRequest("Lists are expanded as data.<field>", param="expand")
        params.finish()
        data, more = box.store.page(kind, query)
        dressed = [dress(box, obj) for obj in data] if dress else data
        inner = [path.removeprefix("data.") for path in paths]
        found = [expand(box, obj, inner) for obj in dressed]
        return {"object": "list", "data": found, "has_more": more, "url": url}

    return operation


def _query(
    box: Box, kind: str, params: Params, filters: Mapping[str, str], more: Mapping[str, int]
) -> Query:
    equal: dict[str, str | int] = dict(more)
    equal |= {field: value for name, field in filters.items() if (value := params.text(name))}
    cursors = {name: params.text(name) or "" for name in ("starting_after", "ending_before")}
    if all(cursors.values()):
        raise InvalidRequest("Use either starting_after or ending_before", param="ending_before")
    for name, cursor in cursors.items():
        if cursor:
            fetch(box, kind, cursor, param=name)
    limit = params.integer("limit", minimum=1, maximum=100)
    return Query(equal=equal, created=_created(params), limit=limit or 10, **cursors)


def _created(params: Params) -> dict[str, int]:
    if not params.nested("created"):
        exact = params.integer("created", minimum=0, maximum=10**11)
        return {} if exact is None else {"eq": exact}
    bounds = params.inner("created")
    return {
        name: instant
        for name in ("gt", "gte", "lt", "lte")
        if (instant := bounds.integer(name, minimum=0, maximum=10**11)) is not None
    }


def expand(box: Box, obj: Doc, paths: list[str]) -> Doc:
    """`obj` with the ids at `paths` (`a.b.c`) replaced by what they name."""
    result = obj
    for path in paths:
        result = _expand(box, result, path.split("."), path)
    return result


def _expand(box: Box, obj: Doc, path: list[str], whole: str) -> Doc:
    field, rest = path[0], path[1:]
    value = obj.get(field)
    if obj.get("object") == "checkout.session" and field == "line_items":
        return obj | {"line_items": box.store.get("line_items_of", f"li_of_{obj['id']}")["list"]}
    if field not in obj or (field not in _REFERENCES and field != "source"):
        raise InvalidRequest(f"This property cannot be expanded ({whole}).", param="expand")
    if isinstance(value, str):
        kind = _REFERENCES.get(field) or _SOURCES[value.split("_", 1)[0]]
        value = box.store.get(kind, value)
    if isinstance(value, dict) and rest:
        value = _expand(box, value, rest, whole)
    return obj | {field: value}
