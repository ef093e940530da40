"""The house's drawings, made fit for a page that allows no inline style; and the film as a picture of its own.

Nothing is drawn anew: bars, marked words and overlays are those of `attending.drawing`. Only the small bar of one value, which
stands in a row of a table, is put together here.
"""

import io
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from PIL import Image

from attending.case import Box
from attending.drawing.contributions import signed
from attending.drawing.overlay import boxes_alone
from attending.drawing.palette import FIRST, QUIET, SECOND
from attending.drawing.svg import box, line, picture

_STYLE = re.compile(r'(<svg[^>]*?) style="[^"]*"')
BAR_WIDTH, BAR_HEIGHT = 120.0, 14.0


def inlined(svg: str) -> Markup:
    """A drawing for the page, its size left to the style sheet: a strict policy would refuse its own `style`."""
    return Markup(_STYLE.sub(r"\1", svg))  # made by `attending.drawing`, which escapes all words


def film_png(pixels: Float[np.ndarray, "height width"]) -> bytes:
    """The film, 8 bits deep, as the overlays have it."""
    buffer = io.BytesIO()
    Image.fromarray((np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def marks_on_film(shape: tuple[int, int], weights: Sequence[tuple[Box, float]], *, title: str) -> Markup:
    """The weighed boxes, to lie over a film of this shape."""
    return inlined(boxes_alone(shape, weights, title=title))


def bar(value: float, *, reach: float, name: str) -> Markup:
    """One signed bar from a line in the middle; `reach` is the longest of the table."""
    middle = BAR_WIDTH / 2
    length = 0.0 if not reach else (middle - 2) * abs(value) / reach
    drawn = box(middle if value >= 0 else middle - length, 3, length, BAR_HEIGHT - 6, fill=FIRST if value >= 0 else SECOND)
    zero = line(middle, 0, middle, BAR_HEIGHT, stroke=QUIET, vector_effect="non-scaling-stroke")
    svg = picture(BAR_WIDTH, BAR_HEIGHT, drawn, zero, title=f"{name}: {signed(value)}")
    return inlined(svg.replace("<svg ", '<svg preserveAspectRatio="none" ', 1))  # a cell is as wide as its table has room
