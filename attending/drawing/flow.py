"""A flow diagram: boxes from what was read down to what was judged, and beside each arrow what leaves there.

Draws words that it is given and counts nothing. Where several boxes stand at the end, the last arrow parts to all of them.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from attending.drawing.palette import FIRST, INK, PAPER, QUIET, SHADE
from attending.drawing.svg import box, group, line, path, picture, words

WIDTH, MAIN, ASIDE = 920.0, 440.0, 400.0
"""Of the picture, of a box on the way, and of one beside it."""
BETWEEN = 16.0
_PADDING = 11.0
_SIZE, _LEADING = 12.0, 16.5
_HEAD_SIZE, _HEAD_LEADING = 14.0, 19.0
_BAR = 22.0
"""Where an arrow parts, above the boxes that it parts to."""
_LETTER = 0.56
"""Width of a letter in sizes of type; digits of common sans faces have this, most letters less."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One box: a headline, and lines beneath it."""

    headline: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A box on the way, and what leaves after it, drawn at the side."""

    step: Step
    leaves: Step | None = None


def flow_diagram(stages: Sequence[Stage], ends: Sequence[Step], *, title: str) -> str:
    """The stages from top to bottom, then the ends side by side. What is read out in the picture's place holds every word."""
    spine = MAIN / 2
    parts: list[str] = []
    y, free = 1.0, 0.0
    for place, stage in enumerate(stages):
        parts.append(_drawn(stage.step, 1.0, y, MAIN, stroke=QUIET))
        bottom = y + _height(stage.step, MAIN)
        y = bottom + 30.0
        if stage.leaves is not None:
            level = max(bottom + 20.0, free + 18.0)
            parts.append(_beside(stage.leaves, spine, level))
            free = level - 17.0 + _height(stage.leaves, ASIDE) + 10.0
            y = level + 22.0
        is_last = place == len(stages) - 1
        if is_last and len(ends) > 1:
            y = max(y + 14.0, free + 30.0)
            parts.append(line(spine, bottom, spine, y - _BAR, stroke=QUIET))
        elif ends or not is_last:
            parts += [line(spine, bottom, spine, y - 6.0, stroke=QUIET), _head(spine, y)]
    parts += _ends(ends, spine, y)
    width = _end_width(len(ends))
    below = y + max((_height(end, width) for end in ends), default=-30.0)
    return picture(WIDTH, max(below, free - 10.0) + 1.0, *parts, title=title, description=_read_out(stages, ends))


def _beside(step: Step, spine: float, level: float) -> str:
    """What leaves at this height: an arrow to the side and its box."""
    left = WIDTH - ASIDE - 1.0
    return group(
        line(spine, level, left - 6.0, level, stroke=QUIET),
        path([(left, level), (left - 7, level - 4), (left - 7, level + 4)], is_closed=True, fill=QUIET),
        _drawn(step, left, level - 17.0, ASIDE, stroke=SHADE, stroke_dasharray="4 3"),
    )


def _ends(ends: Sequence[Step], spine: float, y: float) -> list[str]:
    """The last boxes, of one height, under a bar that the arrow from above parts at."""
    width = _end_width(len(ends))
    height = max((_height(end, width) for end in ends), default=0.0)
    lefts = [1.0 + place * (width + BETWEEN) for place in range(len(ends))]
    parts = [
        _drawn(end, left, y, width, height=height, stroke=FIRST, stroke_width=1.6)
        for end, left in zip(ends, lefts, strict=True)
    ]
    if len(ends) > 1:
        middles = [left + width / 2 for left in lefts]
        parts.append(line(min(*middles, spine), y - _BAR, max(*middles, spine), y - _BAR, stroke=QUIET))
        for middle in middles:
            parts += [line(middle, y - _BAR, middle, y - 6.0, stroke=QUIET), _head(middle, y)]
    return parts


def _end_width(n: int) -> float:
    return MAIN if n <= 1 else (WIDTH - 2.0 - BETWEEN * (n - 1)) / n


def _head(x: float, y: float) -> str:
    """The head of an arrow that points down to a box."""
    return path([(x, y), (x - 4, y - 7), (x + 4, y - 7)], is_closed=True, fill=QUIET)


def _drawn(step: Step, x: float, y: float, width: float, *, height: float | None = None, **edge: object) -> str:
    """A box with its words, top and left."""
    heads, lines = _wrapped(step, width)
    parts = [box(x, y, width, _height(step, width) if height is None else height, rx=4, fill=PAPER, **edge)]
    at = y + _PADDING + 11.0
    for told in heads:
        parts.append(words(x + _PADDING, at, told, fill=INK, font_size=_HEAD_SIZE, font_weight=600))
        at += _HEAD_LEADING
    for told in lines:
        parts.append(words(x + _PADDING, at - 1.0, told, fill=INK, font_size=_SIZE))
        at += _LEADING
    return group(*parts)


def _height(step: Step, width: float) -> float:
    heads, lines = _wrapped(step, width)
    return 2 * _PADDING - 4.0 + _HEAD_LEADING * len(heads) + _LEADING * len(lines)


def _wrapped(step: Step, width: float) -> tuple[list[str], list[str]]:
    room = width - 2 * _PADDING
    heads = wrapped(step.headline, room / (_HEAD_SIZE * 1.05))
    return heads, [piece for told in step.lines for piece in wrapped(told, room / _SIZE)]


def wrapped(told: str, room: float) -> list[str]:
    """Lines no wider than `room`, in sizes of type; a word that is wider by itself is cut."""
    lines, held = [], ""
    for word in told.split(" "):
        longer = f"{held} {word}" if held else word
        if width_of(longer) <= room:
            held = longer
            continue
        lines += [held] if held else []
        held = word
        while width_of(held) > room:
            fits = max(1, next((n for n in range(len(held), 0, -1) if width_of(held[:n]) <= room), 1))
            lines.append(held[:fits])
            held = held[fits:]
    return [*lines, held] if held else lines


def width_of(told: str) -> float:
    """About how wide words are, in sizes of type; never too small for common faces."""
    return sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else _LETTER for letter in told)


def _read_out(stages: Sequence[Stage], ends: Sequence[Step]) -> str:
    """Every word of the picture, in the order of reading."""
    told = []
    for stage in stages:
        told.append(_said(stage.step))
        told += [f"of which leave: {_said(stage.leaves)}"] if stage.leaves is not None else []
    return ". ".join((*told, *(_said(end) for end in ends)))


def _said(step: Step) -> str:
    return "; ".join((step.headline, *step.lines))
