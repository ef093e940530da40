"""A film with what was weighed on it: boxes in the film's own pixels, tinted by weight, the heaviest in a frame.

The film is part of the picture (a PNG within it), so the file is patient data. Films are dark in light and in dark pages, and
so the two tints are fixed.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from attending.case import Box
from attending.drawing.contributions import signed
from attending.drawing.svg import box, element, group, picture, tooltip

FOR, AGAINST = "#3fa7ff", "#ff9340"
WIDTH = 360.0
"""Pixels of the picture; the film is scaled to it."""
DEEPEST = 0.62
"""Opacity of the heaviest box: what lies beneath must stay readable."""


def film_overlay(pixels: Float[np.ndarray, "height width"], weights: Sequence[tuple[Box, float]], *, title: str) -> str:
    """The film under its boxes; without weights the film alone. Weight 0 is not tinted."""
    height, width = pixels.shape
    bottom = height * (WIDTH / width)
    film = element("image", href=_png(pixels), x=0, y=0, width=WIDTH, height=bottom, preserveAspectRatio="none")
    return picture(WIDTH, bottom, film, *_marks(weights, WIDTH / width), title=title)


def boxes_alone(shape: tuple[int, int], weights: Sequence[tuple[Box, float]], *, title: str) -> str:
    """The boxes without the film, to be laid over one of this shape (height, width) that the page shows itself."""
    height, width = shape
    return picture(WIDTH, height * (WIDTH / width), *_marks(weights, WIDTH / width), title=title)


def _marks(weights: Sequence[tuple[Box, float]], scale: float) -> list[str]:
    """All boxes as one group, then the frame of the heaviest."""
    heaviest = max((abs(weight) for _, weight in weights), default=0.0)
    boxes = [_tinted(part, weight / heaviest, weight, scale) for part, weight in weights if heaviest and weight != 0.0]
    framed = [part for part, weight in weights if heaviest and abs(weight) == heaviest][:1]
    return [
        group(*boxes),
        *(
            box(p.left * scale, p.top * scale, (p.right - p.left) * scale, (p.bottom - p.top) * scale,
                fill="none", stroke="#ffffff", stroke_width=1.6)
            for p in framed
        ),
    ]  # fmt: skip


def _tinted(part: Box, share: float, weight: float, scale: float) -> str:
    return box(
        part.left * scale,
        part.top * scale,
        (part.right - part.left) * scale,
        (part.bottom - part.top) * scale,
        tooltip(signed(weight)),
        fill=FOR if share > 0 else AGAINST,
        fill_opacity=f"{DEEPEST * abs(share):.3f}",
    )


def _png(pixels: Float[np.ndarray, "height width"]) -> str:
    """The film as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray((np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
