"""The colours: every text and every state can be read on every ground, light and dark."""

import re
from itertools import product
from pathlib import Path

import pytest

from portal import pills

TOKENS = (Path(__file__).resolve().parents[2] / "static/css/tokens.css").read_text(encoding="utf-8")
TEXTS = ("ink", "ink-soft", "ok", "run", "due", "bad", "waived", "glass", "idle")
GROUNDS = ("page", "card", "raised")
LIGHT, DARK = 0, 1
ENOUGH = 4.5  # WCAG 2.2, AA


def _colour(name: str, scheme: int) -> str:
    found = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", TOKENS)
    assert found, name
    return found.groups()[scheme]


def _light(colour: str) -> float:
    """Relative luminance, by WCAG."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    bright, dark = sorted((_light(one), _light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_and_state_can_be_read_on_every_ground(scheme: int) -> None:
    pairs = {
        (text, ground): _contrast(_colour(text, scheme), _colour(ground, scheme))
        for text, ground in product(TEXTS, GROUNDS)
    }
    assert {pair: round(found, 2) for pair, found in pairs.items() if found < ENOUGH} == {}


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_what_stands_on_a_filled_button_can_be_read(scheme: int) -> None:
    assert _contrast(_colour("on-accent", scheme), _colour("run", scheme)) >= ENOUGH
    assert _contrast(_colour("on-danger", scheme), _colour("danger", scheme)) >= ENOUGH


def test_a_state_is_told_by_a_glyph_and_a_word_never_by_colour_alone() -> None:
    for state, (tone, glyph) in pills.LOOKS.items():
        assert f"--{tone}:" in TOKENS, state
        drawn = pills.pill(state)
        assert "<svg" in drawn
        assert pills.GLYPHS[glyph] in drawn
        assert pills.words(state) in drawn


def test_an_unknown_state_is_shown_as_it_is_called_and_escaped() -> None:
    assert "&lt;b&gt;odd" in pills.pill("<b>odd_state").lower()
