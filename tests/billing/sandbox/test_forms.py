"""Stripe's form encoding and the checks on it."""

from __future__ import annotations

import pytest

from billing.sandbox.errors import InvalidRequest
from billing.sandbox.forms import Params, decode


def test_nested_names_become_nested_objects() -> None:
    form = decode([("a[b][0][c]", "1"), ("a[b][1][c]", "2"), ("x", "y")])
    assert form == {"a": {"b": {"0": {"c": "1"}, "1": {"c": "2"}}}, "x": "y"}


def test_empty_brackets_count_up() -> None:
    assert decode([("e[]", "a"), ("e[]", "b")]) == {"e": {"0": "a", "1": "b"}}


def test_items_come_in_number_order() -> None:
    params = Params(decode([(f"i[{n}]", str(n)) for n in (10, 2, 0)]))
    assert params.texts("i") == ["0", "2", "10"]


@pytest.mark.parametrize("name", ["", "[a]", "a[b", "a]b", "a[b]c", "a" + "[x]" * 40])
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        decode([(name, "1")])


@pytest.mark.parametrize("pairs", [[("a", "1"), ("a[b]", "2")], [("a[b]", "2"), ("a", "1")]])
def test_a_name_cannot_be_both_text_and_object(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest):
        decode(pairs)


def test_an_unread_inner_parameter_is_named() -> None:
    params = Params(decode([("a[b]", "1"), ("a[c]", "2")]))
    params.inner("a").text("b")
    with pytest.raises(InvalidRequest) as caught:
        params.finish()
    assert (caught.value.code, caught.value.param) == ("parameter_unknown", "a[c]")


@pytest.mark.parametrize("value", ["1.5", "NaN", "1e3", "9" * 30, "٣", "-1", "101"])
def test_integers_are_whole_and_bounded(value: str) -> None:
    with pytest.raises(InvalidRequest):
        Params({"n": value}).integer("n", minimum=0, maximum=100)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//x/y", "http://", "http://a b", "x"])
def test_only_http_addresses_are_urls(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Params({"u": url}).url("u")


def test_an_empty_metadata_value_removes_its_key() -> None:
    params = Params({"metadata": {"a": "", "c": "3"}})
    assert params.metadata({"a": "1", "b": "2"}) == {"b": "2", "c": "3"}
