"""Which evidence was there together: a row per pattern, a dot per kind of evidence, a bar for the number of patients."""

from collections.abc import Sequence
from dataclasses import dataclass

from attending.drawing.palette import FIRST, GRID, INK, PAPER, QUIET, SHADE, SMALL
from attending.drawing.svg import box, element, group, line, picture, tooltip, words

ROW = 26.0
STEP = 74.0


@dataclass(frozen=True, kw_only=True)
class PatternRow:
    """One pattern: whether each kind is there, how many patients (None: hidden), and what is told beside the bar."""

    present: tuple[bool, ...]
    n: int | None
    told: str
    label: str = ""


def pattern_bars(rows: Sequence[PatternRow], *, kinds: Sequence[str], title: str) -> str:
    """Filled dot: there; ring: absent. A row with a `label` has no dots (patterns pooled because each is small)."""
    left = STEP * len(kinds) + 24
    most = max((row.n for row in rows if row.n), default=1)
    reach = max(760.0 - left - 150.0, 160.0)
    parts = [
        words(STEP * (place + 0.5), 16, kind, text_anchor="middle", fill=QUIET, font_size=SMALL)
        for place, kind in enumerate(kinds)
    ]
    for number, row in enumerate(rows):
        y = 26.0 + ROW * (number + 0.5)
        parts.append(line(0, y + ROW / 2, left - 20, y + ROW / 2, stroke=GRID))
        if row.label:
            parts.append(words(8, y + 4, row.label, fill=QUIET, font_size=SMALL + 1))
        else:
            parts += [_dot(STEP * (place + 0.5), y, is_there, kinds[place]) for place, is_there in enumerate(row.present)]
        width = reach * (row.n or 0) / most
        hidden = row.n is None
        parts.append(box(left, y - 8, 10 if hidden else max(width, 2), 16, fill="none" if hidden else FIRST, **_edge(hidden)))
        parts.append(words(left + (10 if hidden else width) + 8, y + 4, row.told, fill=INK, font_size=SMALL + 1))
    return picture(760, 34.0 + ROW * len(rows), *parts, title=title)


def _dot(x: float, y: float, is_there: bool, kind: str) -> str:
    told = tooltip(f"{kind} {'there' if is_there else 'absent'}")
    if is_there:
        return element("circle", told, cx=x, cy=y, r=5.5, fill=INK)
    return group(element("circle", told, cx=x, cy=y, r=5, fill=PAPER, stroke=SHADE, stroke_width=1.2))


def _edge(hidden: bool) -> dict[str, object]:
    return {"stroke": SHADE, "stroke_dasharray": "2 2"} if hidden else {}
