"""Weights as squares: one map with its words, many small maps side by side, and heads held against each other.

The darker, the larger, linear up to a maximum that is named; a dot is a weight of exactly 0 (hidden); the second colour is
negative. A picture of weights is no explanation of an answer, and the page that shows it must say so.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from attending.drawing.forest import shortened
from attending.drawing.palette import FIRST, GRID, INK, PAPER, QUIET, SECOND, SHADE, SMALL
from attending.drawing.svg import box, element, group, picture, tooltip, words

LEVELS = 20
"""Shades; a weight that is not 0 has at least the lightest."""
LONGEST = 16
"""Characters of a word beside a map."""
MOST_TOLD = 16
"""Up to so many rows and columns a pointer is told each number."""
HIDDEN = "hidden"
ACROSS = 6
"""Small maps in a row."""
Weights = Float[np.ndarray, "query key"]


def heat_map(weights: Weights, *, rows: Sequence[str], columns: Sequence[str], title: str, most: float | None = None) -> str:
    """One map, a row for each query. `most` is the weight of full colour (None: the largest here)."""
    n_row, n_column = weights.shape
    top_of = _most(weights) if most is None else most
    size = min(max(520.0 / max(n_row, n_column, 1), 9.0), 30.0)
    small = min(float(SMALL), size + 1)
    left = 14 + 0.62 * small * max((len(shortened(word, LONGEST)) for word in rows), default=0)
    top = 26 + 0.62 * 0.8 * small * max((len(shortened(word, LONGEST)) for word in columns), default=0)
    parts = [_cells(weights, left=left, top=top, size=size, most=top_of)]
    for i, word in enumerate(rows):
        y = top + size * (i + 0.5) + 0.35 * small
        parts.append(words(left - 6, y, shortened(word, LONGEST), text_anchor="end", fill=INK, font_size=small))
    for j, word in enumerate(columns):
        x, y = left + size * (j + 0.5) + 2, top - 6
        turned = f"rotate(-50 {x:.1f} {y:.1f})"
        parts.append(words(x, y, shortened(word, LONGEST), fill=INK, font_size=small, transform=turned))
    if max(n_row, n_column) <= MOST_TOLD:
        parts.append(_told(weights, rows=rows, columns=columns, left=left, top=top, size=size))
    bottom = top + size * n_row
    scale, scale_width = _scale(left, bottom + 16, top_of, is_signed=bool((weights < 0).any()))
    parts.append(scale)
    width = left + max(size * n_column + 0.5 * 0.62 * small * LONGEST, scale_width)
    return picture(width, bottom + 40, *parts, title=title)


def head_maps(
    weights: Float[np.ndarray, "head query key"], *, names: Sequence[str], title: str, most: float | None = None
) -> str:
    """A small map for each head, all on one scale."""
    top_of = _most(weights) if most is None else most
    across = min(ACROSS, max(len(weights), 1))
    side, gap = 126.0, 18.0
    size = side / max(*weights.shape[1:], 1)
    height = size * weights.shape[1]
    parts = []
    for number, (head, name) in enumerate(zip(weights, names, strict=True)):
        left, top = (number % across) * (side + gap), (number // across) * (height + 40.0) + 18
        parts.append(words(left, top - 6, name, fill=INK, font_size=SMALL))
        parts.append(box(left, top, size * weights.shape[2], height, fill="none", stroke=GRID))
        parts.append(_cells(head, left=left, top=top, size=size, most=top_of))
    n_rows = math.ceil(len(weights) / across)
    bottom = n_rows * (height + 40.0) - 12
    scale, scale_width = _scale(0, bottom + 8, top_of, is_signed=bool((weights < 0).any()))
    return picture(max(across * (side + gap) - gap, scale_width), bottom + 32, *parts, scale, title=title)


def similarity_map(distance: Float[np.ndarray, "head head"], *, clusters: Sequence[int], title: str, name: str = "head") -> str:
    """1 − distance of each pair of heads (NaN: blank), clusters in frames; `clusters[h]` is the number of head h's cluster."""
    order = sorted(range(len(distance)), key=lambda head: (list(clusters).index(clusters[head]), head))
    size = min(max(300.0 / max(len(order), 1), 14.0), 38.0)
    left, top = 52.0, 22.0
    parts = []
    for i, one in enumerate(order):
        y = top + size * (i + 0.5)
        parts.append(words(left - 6, y + 4, f"{name} {one}", text_anchor="end", fill=INK, font_size=SMALL))
        parts.append(words(left + size * (i + 0.5), top - 7, str(one), text_anchor="middle", fill=QUIET, font_size=SMALL))
        for j, other in enumerate(order):
            alike = 1.0 - float(distance[one, other])
            if not math.isfinite(alike):
                continue
            told = tooltip(f"{name} {one} and {name} {other}: {alike:.2f}")
            x = left + size * j
            parts.append(box(x, top + size * i, size, size, told, fill=FIRST, fill_opacity=0.85 * max(alike, 0.0) ** 2))
            if len(order) <= 10 and i != j:
                figure = "1" if alike > 0.995 else f"{alike:.2f}".lstrip("0")
                parts.append(words(x + size / 2, y + 3.5, figure, text_anchor="middle", fill=INK, font_size=10))
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and clusters[order[stop]] == clusters[order[start]]:
            stop += 1
        at, wide = size * start, size * (stop - start)
        parts.append(box(left + at, top + at, wide, wide, fill="none", stroke=SECOND, stroke_width=2))
        start = stop
    return picture(left + size * len(order) + 8, top + size * len(order) + 8, *parts, title=title)


def _cells(weights: Weights, *, left: float, top: float, size: float, most: float) -> str:
    """One path a shade, in units of a cell."""
    shade = np.ceil(np.abs(weights) / max(most, 1e-12) * LEVELS).clip(0, LEVELS).astype(int)
    parts = []
    for colour, chosen in ((FIRST, weights > 0), (SECOND, weights < 0)):
        for level in range(1, LEVELS + 1):
            places = np.argwhere(chosen & (shade == level))
            if len(places):
                drawn = "".join(f"M{column} {row}h1v1h-1z" for row, column in places)
                parts.append(element("path", d=drawn, fill=colour, fill_opacity=f"{level / LEVELS:g}"))
    hidden = np.argwhere(weights == 0)
    if len(hidden):
        drawn = "".join(f"M{column + 0.42:g} {row + 0.42:g}h.16v.16h-.16z" for row, column in hidden)
        parts.append(element("path", d=drawn, fill=SHADE))
    return group(*parts, transform=f"translate({left:.2f} {top:.2f}) scale({size:.3f})", shape_rendering="crispEdges")


def _told(weights: Weights, *, rows: Sequence[str], columns: Sequence[str], left: float, top: float, size: float) -> str:
    cells = [
        box(j, i, 1, 1, tooltip(f"{row} → {column}: {weights[i, j]:.3f}"))
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]
    return group(*cells, transform=f"translate({left:.2f} {top:.2f}) scale({size:.3f})", fill_opacity="0")


def _scale(left: float, top: float, most: float, *, is_signed: bool) -> tuple[str, float]:
    """From the lightest shade to the maximum, and the dot; and how wide that is."""
    parts, step = [], 5.0
    for level in range(1, LEVELS + 1):
        parts.append(box(left + step * (level - 1), top, step, 9, fill=FIRST, fill_opacity=level / LEVELS))
    told = f"0 to {most:.2f}" + (", second colour: negative" if is_signed else "")
    at = left + step * LEVELS + 8
    parts.append(words(at, top + 8.5, told, fill=QUIET, font_size=SMALL))
    at += 0.56 * SMALL * len(told) + 14
    parts.append(box(at, top + 3, 3, 3, fill=SHADE, stroke=PAPER, stroke_width=0))
    parts.append(words(at + 8, top + 8.5, HIDDEN, fill=QUIET, font_size=SMALL))
    return group(*parts), at + 12 + 0.62 * SMALL * len(HIDDEN) - left


def _most(weights: np.ndarray) -> float:
    return float(np.abs(weights).max()) if weights.size and float(np.abs(weights).max()) > 0 else 1.0
