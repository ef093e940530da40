"""Heads in a few numbers: a line of dots for each measure, and how different the heads of each layer are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from attending.drawing.frame import Frame, Scale, axes, number, ticks
from attending.drawing.palette import FIRST, GRID, INK, PAPER, QUIET, SMALL
from attending.drawing.svg import element, group, line, path, picture, tooltip, words

ROW = 22.0
PANEL, GAP = 176.0, 84.0


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number for each head, from 0 to `most` (None: the largest of them). NaN is not drawn."""

    name: str
    values: Sequence[float]
    most: float | None = None


def head_dots(measures: Sequence[Measure], *, names: Sequence[str], title: str) -> str:
    """A row for each head and a panel for each measure, with the number beside the dot."""
    left, top = 66.0, 30.0
    bottom = top + ROW * len(names)
    parts = [words(left - 12, top + ROW * (i + 0.5) + 4, name, text_anchor="end", fill=INK, font_size=SMALL + 1)
             for i, name in enumerate(names)]  # fmt: skip
    for place, measure in enumerate(measures):
        start = left + place * (PANEL + GAP)
        known = [value for value in measure.values if math.isfinite(value)]
        most = measure.most or max(known, default=0.0) or 1.0
        scale = Scale(low=0.0, high=most, start=start, stop=start + PANEL)
        marks = ticks(0.0, most, 3)
        parts.append(words(start, 14, measure.name, fill=INK, font_size=SMALL + 1))
        for mark in marks:
            parts.append(line(scale(mark), top - 4, scale(mark), bottom, stroke=GRID))
            told = number(mark, marks[1] - marks[0] if len(marks) > 1 else 1.0)
            parts.append(words(scale(mark), bottom + 15, told, text_anchor="middle", fill=QUIET, font_size=SMALL))
        for i, value in enumerate(measure.values):
            y = top + ROW * (i + 0.5)
            parts.append(line(start, y, start + PANEL, y, stroke=GRID))
            if math.isfinite(value):
                x = scale.held(value)
                parts.append(line(start, y, x, y, stroke=FIRST, stroke_width=2))
                parts.append(element("circle", tooltip(f"{names[i]}: {value:.3g}"), cx=x, cy=y, r=4.5, fill=FIRST))
                parts.append(words(start + PANEL + 12, y + 4, f"{value:.2f}", fill=QUIET, font_size=SMALL))
    width = left + len(measures) * (PANEL + GAP) - 24
    return picture(width, bottom + 24, *parts, title=title)


def diversity_plot(values: Sequence[float], *, names: Sequence[str], title: str) -> str:
    """How different the heads are, layer after layer; layers whose number is NaN have a gap."""
    left, right = 48.0, 48.0 + max(64.0 * (len(values) - 1), 120.0)
    frame = Frame(x=Scale(low=-0.3, high=len(values) - 0.7, start=left, stop=right), y=Scale(low=0, high=1, start=190, stop=34))
    x, y = frame.x, frame.y
    parts = [axes(frame, x_label="", y_label="Mean distance between two heads", x_ticks=(), y_ticks=ticks(0.0, 1.0, 5))]
    points = [(x(i), y(value)) for i, value in enumerate(values) if math.isfinite(value)]
    parts.append(path(points, fill="none", stroke=FIRST, stroke_width=2) if len(points) > 1 else "")
    for i, value in enumerate(values):
        told = str(i + 1)
        parts.append(words(x(i), 206, told, text_anchor="middle", fill=QUIET, font_size=SMALL))
        if math.isfinite(value):
            dot = {"cx": x(i), "cy": y(value), "r": 4.5, "fill": FIRST, "stroke": PAPER}
            parts.append(element("circle", tooltip(f"{names[i]}: {value:.2f}"), **dot))
            parts.append(words(x(i), y(value) - 9, f"{value:.2f}", text_anchor="middle", fill=INK, font_size=SMALL))
    parts.append(words((left + right) / 2, 224, "Layer, in the order called", text_anchor="middle", fill=INK, font_size=12))
    return picture(right + 30, 234, group(*parts), title=title)
