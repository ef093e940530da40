"""A frame with two axes: from numbers to pixels, round ticks, grid and labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from attending.drawing.palette import GRID, INK, QUIET, SMALL
from attending.drawing.svg import group, line, words


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Numbers from `low` to `high`, laid linearly between the pixels `start` and `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def held(self, value: float) -> float:
        """The pixel of a value, or of the nearer end where it lies outside."""
        return self(min(max(value, self.low), self.high))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where the data are drawn: an x scale and a y scale (whose pixels run upward)."""

    x: Scale
    y: Scale


def ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Round numbers from `low` to `high`, about so many: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(place * step, 12) + 0.0 for place in range(first, last + 1))


def number(value: float, step: float) -> str:
    """A tick in as many decimals as its step needs, with a true minus sign."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return f"{value:.{decimals}f}".replace("-", "−")


def axes(frame: Frame, *, x_label: str, y_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> str:
    """Grid, tick labels and names of both axes; the y name stands above, level, so that nobody must turn the head."""
    x, y = frame.x, frame.y
    parts = [line(x.start, y(tick), x.stop, y(tick), stroke=GRID) for tick in y_ticks]
    parts += [line(x(tick), y.start, x(tick), y.stop, stroke=GRID) for tick in x_ticks]
    parts.append(line(x.start, y.start, x.stop, y.start, stroke=QUIET))
    for tick in x_ticks:
        told = number(tick, _step(x_ticks))
        parts.append(words(x(tick), y.start + 16, told, text_anchor="middle", fill=QUIET, font_size=SMALL))
    for tick in y_ticks:
        told = number(tick, _step(y_ticks))
        parts.append(words(x.start - 7, y(tick) + 3.8, told, text_anchor="end", fill=QUIET, font_size=SMALL))
    if x_label:
        middle = (x.start + x.stop) / 2
        parts.append(words(middle, y.start + 33, x_label, text_anchor="middle", fill=INK, font_size=SMALL + 1))
    if y_label:
        parts.append(words(x.start - 30, y.stop - 10, y_label, fill=INK, font_size=SMALL + 1))
    return group(*parts)


def _step(marks: Sequence[float]) -> float:
    return min((b - a for a, b in pairwise(marks)), default=1.0)
