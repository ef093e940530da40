"""Signed bars: what each modality, value or sign adds to an answer, from a line at nothing to the left or to the right."""

from collections.abc import Sequence
from dataclasses import dataclass

from attending.drawing.forest import shortened
from attending.drawing.frame import Scale, number, ticks
from attending.drawing.palette import FIRST, GRID, INK, QUIET, SECOND, SMALL
from attending.drawing.svg import box, group, line, picture, tooltip, words

ROW = 25.0


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """One bar: what it is called, its signed size, and what is told `beside` the name (a value with its range, say)."""

    label: str
    value: float
    beside: str = ""


def contribution_bars(rows: Sequence[Contribution], *, title: str, axis: str) -> str:
    """Bars to the right speak for, to the left against; the number stands at the end. `axis` names the scale."""
    reach = max((abs(row.value) for row in rows), default=0.0) or 1.0
    scale = Scale(low=-1.1 * reach, high=1.1 * reach, start=400.0, stop=720.0)
    top = 30.0
    bottom = top + ROW * len(rows)
    marks = ticks(scale.low, scale.high, 5)
    step = marks[1] - marks[0] if len(marks) > 1 else 1.0
    parts = [
        words(scale(0) - 10, 15, "← against", text_anchor="end", fill=QUIET, font_size=SMALL),
        words(scale(0) + 10, 15, "for →", fill=QUIET, font_size=SMALL),
    ]
    for mark in marks:
        parts.append(line(scale(mark), top - 6, scale(mark), bottom, stroke=GRID))
        told = number(mark, step)
        parts.append(words(scale(mark), bottom + 15, told, text_anchor="middle", fill=QUIET, font_size=SMALL))
    parts += [_bar(row, top + ROW * (place + 0.5), scale) for place, row in enumerate(rows)]
    parts.append(line(scale(0), top - 6, scale(0), bottom, stroke=QUIET))
    parts.append(words(scale(0), bottom + 33, axis, text_anchor="middle", fill=INK, font_size=SMALL + 1))
    return picture(760, bottom + 42, *parts, title=title)


def signed(value: float) -> str:
    """A number with its sign, a true minus and two decimals."""
    return f"{value:+.2f}".replace("-", "−")


def _bar(row: Contribution, y: float, scale: Scale) -> str:
    zero, end = scale(0.0), scale(row.value)
    is_for = row.value >= 0
    told = signed(row.value)
    return group(
        words(0, y + 4, shortened(row.label, 22), fill=INK, font_size=13),
        words(158, y + 4, shortened(row.beside, 29), fill=QUIET, font_size=SMALL + 1),
        box(min(zero, end), y - 7, abs(end - zero), 14, tooltip(f"{row.label}: {told}"), fill=FIRST if is_for else SECOND),
        words(
            max(end, zero) + 6 if is_for else min(end, zero) - 6,
            y + 4,
            told,
            text_anchor=None if is_for else "end",
            fill=INK,
            font_size=SMALL + 1,
        ),
    )
