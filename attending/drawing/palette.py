"""Colours that tell models apart also without colour vision (Okabe & Ito 2008), each with a dash and a mark of its own.

Every colour is a CSS variable with a fallback, so that a page may switch to dark and a picture alone still looks right.
"""

from dataclasses import dataclass

INK = "var(--ink, #1c2127)"
QUIET = "var(--quiet, #5b6570)"
GRID = "var(--grid, #e3e6ea)"
PAPER = "var(--paper, #ffffff)"
FIRST = "var(--first, #0062a3)"
SECOND = "var(--second, #b34700)"
THIRD = "var(--third, #00735c)"
FOURTH = "var(--fourth, #8c4a78)"
SHADE = "var(--shade, #8d97a3)"

SMALL = 11
"""Size of labels, in the picture's own pixels."""


@dataclass(frozen=True)
class Hand:
    """How one series is drawn: colour, dash and width."""

    colour: str
    dash: str | None = None
    width: float = 2.0


HANDS = (
    Hand(FIRST, None, 2.4),
    Hand(SECOND, "7 3"),
    Hand(THIRD, "2 3"),
    Hand(FOURTH, "9 3 2 3"),
    Hand(SHADE, "4 4"),
)


def hand(place: int) -> Hand:
    """The hand of the series at this place; after the last they repeat."""
    return HANDS[place % len(HANDS)]
