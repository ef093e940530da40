"""Words on the left, words on the right, and a link for each weight: rest on a word and only its own links stay, with numbers.

Works by style sheet alone, in the picture itself: no script, also by keyboard. Not for more than some dozens of words.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from attending.drawing.forest import shortened
from attending.drawing.palette import FIRST, INK, PAPER, QUIET, SECOND, SMALL
from attending.drawing.svg import box, element, group, picture, words

ROW = 21.0
LONGEST = 22
LEAST = 0.02
"""Links that are lighter are not drawn, unless they are the strongest of their word."""
STYLE = """
.links .asks { cursor: default; outline: none; }
.links:has(.asks:is(:hover, :focus)) .asks:not(:hover, :focus) .drawn { opacity: .05; }
.links .asks:is(:hover, :focus) .told { opacity: 1; }
.links .asks:is(:hover, :focus) > .name { font-weight: 700; }
"""


def word_links(
    weights: Float[np.ndarray, "query key"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    most: float | None = None,
) -> str:
    """What each word of `rows` looks at among `columns`. `most` is the weight of full colour (None: the largest here)."""
    largest = float(np.abs(weights).max()) if weights.size else 0.0
    top_of = most or largest or 1.0
    left, right, top = 168.0, 372.0, 30.0
    parts = [
        element("style", STYLE),
        words(left, 14, "asks", text_anchor="end", fill=QUIET, font_size=SMALL),
        words(right, 14, "is looked at", fill=QUIET, font_size=SMALL),
    ]
    for j, word in enumerate(columns):
        parts.append(words(right, top + ROW * (j + 0.5) + 4, shortened(word, LONGEST), fill=INK, font_size=13))
    for i, word in enumerate(rows):
        y = top + ROW * (i + 0.5)
        row = weights[i]
        own = float(np.abs(row).max(initial=0.0))
        kept = [j for j, weight in enumerate(row) if weight != 0 and (abs(weight) >= LEAST or abs(weight) == own)]
        links = [_link(left + 6, y, right - 6, top + ROW * (j + 0.5), float(row[j]) / top_of) for j in kept]
        told = [
            words(right + 176, top + ROW * (j + 0.5) + 4, f"{row[j]:.2f}".replace("-", "−"), fill=INK, font_size=SMALL + 1)
            for j in kept
        ]
        parts.append(
            group(
                box(0, y - ROW / 2, left + 6, ROW, fill=PAPER, fill_opacity=0),
                words(left, y + 4, shortened(word, LONGEST), text_anchor="end", fill=INK, font_size=13, class_="name"),
                group(*links, class_="drawn"),
                group(*told, class_="told", opacity=0),
                class_="asks",
                tabindex=0,
            )
        )
    height = top + ROW * max(len(rows), len(columns)) + 6
    return picture(right + 220, height, group(*parts, class_="links"), title=title)


def _link(x1: float, y1: float, x2: float, y2: float, share: float) -> str:
    colour, size = (FIRST if share > 0 else SECOND), min(abs(share), 1.0)
    middle = (x1 + x2) / 2
    return element(
        "path",
        d=f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}",
        fill="none",
        stroke=colour,
        stroke_width=f"{0.6 + 2.6 * size:.2f}",
        stroke_opacity=f"{0.06 + 0.9 * size:.2f}",
    )
