"""Every text colour is readable on every surface, in both themes (WCAG 2.2 AA)."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

TOKENS = (Path(__file__).parents[2] / "static/css/tokens.css").read_text(encoding="utf-8")
PAIR = re.compile(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
COLOURS = {name: (light, dark) for name, light, dark in PAIR.findall(TOKENS)}
THEMES = ("light", "dark")
TEXTS = ("text", "muted", "accent", "ok", "warn", "bad", "info")
SURFACES = ("bg", "surface", "surface-2", *(f"{tone}-soft" for tone in TEXTS[2:]))
ON_FILLS = [
    ("on-accent-fill", "accent-fill"),
    ("on-accent-fill", "accent-fill-hover"),
    ("on-bad-fill", "bad-fill"),
    ("on-bad-fill", "bad-fill-hover"),
    ("bg", "text"),
]


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str, theme: str) -> float:
    """Contrast ratio of two tokens in a theme, 1 to 21."""
    index = THEMES.index(theme)
    dim, bright = sorted(luminance(COLOURS[name][index]) for name in (first, second))
    return (bright + 0.05) / (dim + 0.05)


def test_the_ratio_is_the_one_of_the_standard() -> None:
    assert luminance("#ffffff") == pytest.approx(1)
    assert (1 + 0.05) / (luminance("#767676") + 0.05) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("text", "surface"), [*product(TEXTS, SURFACES), *ON_FILLS])
def test_text_is_readable(text: str, surface: str, theme: str) -> None:
    assert contrast(text, surface, theme) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    ("mark", "surface"),
    [
        *product(("focus", "field-line"), ("bg", "surface", "surface-2")),
        *product((f"chart-{number}" for number in range(1, 9)), ("surface",)),
    ],
)
def test_marks_stand_out(mark: str, surface: str, theme: str) -> None:
    assert contrast(mark, surface, theme) >= 3
