"""The plots of a comparison: growth with length on log axes with the machine's floor, and quality against cache bytes."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from attending.comparison.row import LAYER, Ledger, Row
from attending.comparison.words import told_bytes, told_quality, told_seconds
from attending.drawing.palette import GRID, HANDS, INK, PAPER, QUIET, SHADE, SMALL, Hand
from attending.drawing.svg import element, group, line, path, picture, tooltip, words

WIDTH, HEIGHT = 560.0, 352.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 430.0, 34.0, 292.0
_DASHES = (None, "7 3", "2 3")
_LEAST_GAP = 14.0


class LogScale:
    """Numbers laid logarithmically between two pixels."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        assert 0.0 < low < high
        self.low, self.high, self.start, self.stop = low, high, start, stop

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.stop - self.start)

    def decades(self) -> tuple[float, ...]:
        """The powers of ten between the ends; halves of them too where there are few."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        tens = tuple(10.0**power for power in range(first, last + 1))
        if len(tens) > 2:
            return tens
        finer = (factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1.0, 2.0, 5.0))
        return tuple(value for value in finer if self.low * 0.999 <= value <= self.high * 1.001)


def pen(place: int) -> Hand:
    """A hand for many series: four colours, then the same with other dashes."""
    colours = [one.colour for one in HANDS[:4]]
    return Hand(colours[place % 4], _DASHES[(place // 4) % 3], 2.2)


def growth_plot(rows: Sequence[Row], quantity: str, phase: str | None, *, names: Sequence[str], title: str) -> str:
    """A line for each mechanism over the lengths, both axes logarithmic; where rows have a limit, a thin line for each floor.

    The band between the fastest and the slowest round is drawn where there is one.
    """
    found = {name: _by_length(rows, name, quantity, phase) for name in names}
    found = {name: of_name for name, of_name in found.items() if of_name}
    if not found:
        return ""
    values = [
        value for of_name in found.values() for row in of_name for value in (row.value, row.low, row.high, row.limit) if value
    ]
    lengths = sorted({row.length for of_name in found.values() for row in of_name if row.length is not None})
    x = LogScale(lengths[0] * 0.95, max(lengths[-1], lengths[0] * 2) * 1.0, LEFT, RIGHT)
    y = LogScale(min(values) * 0.8, max(values) * 1.25, BOTTOM, TOP)
    told = told_seconds if quantity == "seconds" else told_bytes
    parts = [_axes(x, y, lengths, told, title)]
    ends = {}
    for place, name in enumerate(names):
        if name not in found:
            continue
        hand, of_name = pen(place), found[name]
        points = [(x(float(row.length or 0)), y(row.value)) for row in of_name]
        floor = [(x(float(row.length or 0)), y(row.limit)) for row in of_name if row.limit]
        if floor:
            parts.append(path(floor, fill="none", stroke=hand.colour, stroke_width=1.0, stroke_opacity=0.45))
        band = [(x(float(row.length or 0)), y(row.high)) for row in of_name if row.high]
        band += [(x(float(row.length or 0)), y(row.low)) for row in reversed(of_name) if row.low]
        if len(band) > 2:
            parts.append(path(band, is_closed=True, fill=hand.colour, fill_opacity=0.10))
        parts.append(path(points, fill="none", stroke=hand.colour, stroke_width=hand.width, stroke_dasharray=hand.dash))
        for row, (px, py) in zip(of_name, points, strict=True):
            said = f"{name}, {row.length} tokens: {told(row.value)}"
            said += "" if row.limit is None else f"; floor {told(row.limit)}"
            parts.append(_dot(px, py, hand, said, radius=2.6))
        ends[name] = (points[-1][1], hand)
    parts.append(_names(ends))
    description = "thick: measured, band: fastest to slowest round; thin: the machine's floor" if quantity == "seconds" else ""
    if description:
        parts.append(words(LEFT, HEIGHT - 6, description, fill=QUIET, font_size=SMALL))
    return picture(WIDTH, HEIGHT, *parts, title=title, description=description)


def quality_plot(rows: Sequence[Row], task: str, *, names: Sequence[str], quantity: str = "accuracy") -> str:
    """Quality over cache bytes (log), with intervals; a step line joins those that nothing smaller beats: the Pareto front."""
    ledger = Ledger(rows)
    points: dict[str, tuple[float, Row]] = {}
    for name in names:
        quality = ledger.one(mechanism=name, task=task, quantity=quantity)
        cache = ledger.one(mechanism=name, task=task, quantity="cache_bytes_used")
        if quality is not None and cache is not None and cache.value > 0:
            points[name] = (cache.value, quality)
    if not points:
        return ""
    sizes = [size for size, _ in points.values()]
    x = LogScale(min(sizes) / 1.5, max(sizes) * 1.5, LEFT, RIGHT)
    marks = (0.0, 0.25, 0.5, 0.75, 1.0) if quantity == "accuracy" else (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    low, high = marks[0], marks[-1]

    def y(value: float) -> float:
        return BOTTOM + (min(max(value, low), high) - low) / (high - low) * (TOP - BOTTOM)

    told = "AUROC" if quantity == "auroc" else quantity
    title = f"{task}: {told} against cache"
    parts = [line(LEFT, y(mark), RIGHT, y(mark), stroke=GRID) for mark in marks]
    parts += [words(LEFT - 7, y(mark) + 3.8, f"{mark:g}", text_anchor="end", fill=QUIET, font_size=SMALL) for mark in marks]
    for mark in x.decades():
        parts.append(line(x(mark), BOTTOM, x(mark), TOP, stroke=GRID))
        parts.append(words(x(mark), BOTTOM + 16, told_bytes(mark), text_anchor="middle", fill=QUIET, font_size=SMALL))
    best = next((row.limit for _, row in points.values() if row.limit is not None), None)
    if best is not None and low < best < high:
        parts.append(line(LEFT, y(best), RIGHT, y(best), stroke=QUIET, stroke_dasharray="2 3"))
        parts.append(words(RIGHT, y(best) - 5, "who knows the causes", text_anchor="end", fill=QUIET, font_size=SMALL))
    parts.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, stroke=QUIET))
    parts.append(
        words(
            (LEFT + RIGHT) / 2,
            BOTTOM + 33,
            "bytes of the cache at this length",
            text_anchor="middle",
            fill=INK,
            font_size=SMALL + 1,
        )
    )
    parts.append(words(LEFT - 30, TOP - 14, title, fill=INK, font_size=SMALL + 1))
    front = pareto({name: (size, row.value) for name, (size, row) in points.items()})
    steps: list[tuple[float, float]] = []
    for name in front:
        size, row = points[name]
        if steps:
            steps.append((x(size), steps[-1][1]))
        steps.append((x(size), y(row.value)))
    steps.append((RIGHT, steps[-1][1]))
    parts.append(path(steps, fill="none", stroke=SHADE, stroke_width=1.4, stroke_dasharray="4 3"))
    ends = {}
    for place, name in enumerate(names):
        if name not in points:
            continue
        size, row = points[name]
        hand = pen(place)
        if row.low is not None and row.high is not None:
            parts.append(line(x(size), y(row.low), x(size), y(row.high), stroke=hand.colour, stroke_width=1.4))
        parts.append(_dot(x(size), y(row.value), hand, f"{name}: {told_quality(row)} with {told_bytes(size)}", radius=4.5))
        ends[name] = (y(row.value), hand)
    parts.append(_names(ends, is_line=False))
    parts.append(words(LEFT, HEIGHT - 6, "dashed: nothing smaller is better (Pareto front)", fill=QUIET, font_size=SMALL))
    return picture(WIDTH, HEIGHT, *parts, title=title, description="dots with 95 % intervals; dashed: the Pareto front")


def pareto(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Names of those that are better than everything smaller or as small, from the smallest on."""
    front: list[str] = []
    best = -math.inf
    for name, (_, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if quality > best:
            front.append(name)
            best = quality
    return tuple(front)


def _by_length(rows: Sequence[Row], name: str, quantity: str, phase: str | None) -> list[Row]:
    found = Ledger(rows).among(mechanism=name, task=LAYER, quantity=quantity, phase=phase)
    return sorted((row for row in found if row.length is not None and row.value > 0), key=lambda row: row.length or 0)


def _axes(x: LogScale, y: LogScale, lengths: Sequence[int], told: object, title: str) -> str:
    assert callable(told)
    parts = []
    for mark in y.decades():
        parts.append(line(LEFT, y(mark), RIGHT, y(mark), stroke=GRID))
        parts.append(words(LEFT - 7, y(mark) + 3.8, _round(told(mark)), text_anchor="end", fill=QUIET, font_size=SMALL))
    for length in lengths:
        parts.append(line(x(length), BOTTOM, x(length), TOP, stroke=GRID))
        parts.append(words(x(length), BOTTOM + 16, str(length), text_anchor="middle", fill=QUIET, font_size=SMALL))
    parts.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, stroke=QUIET))
    parts.append(words(LEFT - 30, TOP - 14, title, fill=INK, font_size=SMALL + 1))
    parts.append(words((LEFT + RIGHT) / 2, BOTTOM + 33, "tokens", text_anchor="middle", fill=INK, font_size=SMALL + 1))
    return group(*parts)


def _round(told: str) -> str:
    """`10.0 ms` as `10 ms`: a tick is a round number."""
    number, _, unit = told.partition(" ")
    return f"{float(number):g} {unit}"


def _names(ends: Mapping[str, tuple[float, Hand]], *, is_line: bool = True) -> str:
    """Each name at the height of its line's end or of its dot, pushed apart where they would lie on each other."""
    ordered = sorted(ends.items(), key=lambda item: item[1][0])
    places = [y for _, (y, _) in ordered]
    for _ in range(200):
        moved = False
        for number, (above, below) in enumerate(pairwise(places)):
            if below - above < _LEAST_GAP - 0.01:
                push = (_LEAST_GAP - (below - above)) / 2.0
                places[number] -= push
                places[number + 1] += push
                moved = True
        if not moved:
            break
    shift = max(0.0, (places[-1] if places else 0.0) - (BOTTOM + 6)) + min(0.0, (places[0] if places else TOP) - TOP)
    parts = []
    for (name, (y, hand)), place in zip(ordered, (place - shift for place in places), strict=True):
        if is_line:
            parts.append(line(RIGHT + 3, y, RIGHT + 14, place, stroke=hand.colour, stroke_width=0.8))
            ink = {"stroke": hand.colour, "stroke_width": hand.width, "stroke_dasharray": hand.dash}
            parts.append(line(RIGHT + 14, place, RIGHT + 32, place, **ink))
        else:
            parts.append(_dot(RIGHT + 24, place, hand, name, radius=4.5))
        parts.append(words(RIGHT + 37, place + 4, name[:18], fill=INK, font_size=SMALL))
    return group(*parts)


def _dot(x: float, y: float, hand: Hand, told: str, *, radius: float) -> str:
    fill = hand.colour if hand.dash is None else PAPER
    return element("circle", tooltip(told), cx=x, cy=y, r=radius, fill=fill, stroke=hand.colour, stroke_width=1.6)
