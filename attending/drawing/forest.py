"""Forest plot: one line each with its value and interval, and a reference that the eye can hold them against."""

from collections.abc import Sequence
from dataclasses import dataclass

from attending.drawing.frame import Scale, number, ticks
from attending.drawing.palette import FIRST, GRID, INK, QUIET, SMALL
from attending.drawing.svg import box, group, line, path, picture, tooltip, words

ROW = 26.0


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One line. `value` None is said in `told` alone; `is_lead` is drawn in colour; `is_heading` is a line of text only."""

    label: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    told: str = ""
    beside: str = ""
    is_lead: bool = False
    is_heading: bool = False


def forest_plot(
    rows: Sequence[ForestRow],
    *,
    title: str,
    axis: str,
    reference: float | None = None,
    bounds: tuple[float, float] | None = None,
    beside: str = "",
) -> str:
    """Label, the text `beside` it (sample size, say), value with interval drawn, and the same in figures.

    `bounds` are the ends of the axis; None: what the rows need. An interval that reaches beyond ends in an arrow. `reference`
    is a dotted line (0.5 for an AUROC, 0 for a difference).
    """
    low, high = bounds or _bounds(rows, reference)
    scale = Scale(low=low, high=high, start=322.0, stop=752.0)
    bottom = 30.0 + ROW * len(rows)
    marks = ticks(low, high, 6)
    parts = [
        words(0, 15, axis, fill=QUIET, font_size=SMALL),
        words(300, 15, beside, text_anchor="end", fill=QUIET, font_size=SMALL),
    ]
    parts += [line(scale(tick), 24, scale(tick), bottom, stroke=GRID) for tick in marks]
    step = marks[1] - marks[0] if len(marks) > 1 else 1.0
    for tick in marks:
        told = number(tick, step)
        parts.append(words(scale(tick), bottom + 16, told, text_anchor="middle", fill=QUIET, font_size=SMALL))
    if reference is not None and low <= reference <= high:
        parts.append(line(scale(reference), 24, scale(reference), bottom, stroke=QUIET, stroke_dasharray="2 3"))
    parts += [_row(row, 30.0 + ROW * (place + 0.5), scale) for place, row in enumerate(rows)]
    return picture(980, bottom + 24, *parts, title=title)


def _row(row: ForestRow, y: float, scale: Scale) -> str:
    if row.is_heading:
        return words(0, y + 4, row.label, fill=QUIET, font_size=SMALL + 1, font_weight=600)
    colour = FIRST if row.is_lead else INK
    weight = 600 if row.is_lead else None
    parts = [
        words(0, y + 4, shortened(row.label, 34), fill=INK, font_size=13, font_weight=weight),
        words(300, y + 4, row.beside, text_anchor="end", fill=QUIET, font_size=SMALL + 1),
        words(772, y + 4, row.told, fill=INK if row.value is not None else QUIET, font_size=SMALL + 1.5, font_weight=weight),
    ]
    if row.value is not None:
        if row.low is not None and row.high is not None:
            left, right = scale.held(row.low), scale.held(row.high)
            parts.append(line(left, y, right, y, stroke=colour, stroke_width=2))
            parts += [_arrow(left, y, -1, colour)] if row.low < scale.low else []
            parts += [_arrow(right, y, 1, colour)] if row.high > scale.high else []
        centre = scale.held(row.value)
        parts.append(box(centre - 4, y - 4, 8, 8, tooltip(f"{row.label}: {row.told}"), fill=colour))
    return group(*parts)


def _arrow(x: float, y: float, side: int, colour: str) -> str:
    return path([(x + 2 * side, y), (x - 5 * side, y - 4), (x - 5 * side, y + 4)], is_closed=True, fill=colour)


def _bounds(rows: Sequence[ForestRow], reference: float | None) -> tuple[float, float]:
    met = [end for row in rows for end in (row.low, row.value, row.high) if end is not None]
    met += [reference] if reference is not None else []
    low, high = min(met, default=0.0), max(met, default=1.0)
    margin = max(high - low, 0.02) * 0.06
    return low - margin, high + margin


def shortened(label: str, most: int) -> str:
    """A label that fits; what is cut ends in an ellipsis."""
    return label if len(label) <= most else label[: most - 1].rstrip() + "…"
