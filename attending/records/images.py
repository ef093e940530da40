"""PNG and JPEG files → luminance in [0, 1], without saturating 16 bits and without believing what a file says of itself.

Sizes are checked on the header before a pixel is decoded. A picture that cannot be read raises `ImageError`, one that would
fill the memory `BombError`; nothing here ever returns a black picture instead. Transparent pixels show black, as behind a film.
"""

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from attending.records.error import RecordError
from attending.records.png_rows import holds_all_rows

MOST_PIXELS = 64 * 2**20
"""Largest picture decoded: 8,192 × 8,192, above any film; at four bytes a pixel 256 MiB."""
MOST_BYTES = 256 * 2**20
FORMATS = ("PNG", "JPEG")
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in JPEG itself
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


class ImageError(RecordError):
    """A picture cannot be read. The message is a reason without the file's name, fit for an `Absence`."""


class BombError(RecordError):
    """A file says that it is larger than any film. Not evidence that is missing but a file that must be looked at."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}; expected a film: shrink it, or blank the cell")


def locate(reference: str, folder: Path) -> Path:
    """The file that a cell refers to, relative to `folder`. Raises `RecordError` when it lies outside the folder."""
    root = folder.resolve()
    try:
        path = (root / reference.strip()).resolve()
        is_inside = path.is_relative_to(root)
    except (OSError, ValueError):  # a NUL character, a loop of links
        is_inside = False
    if not is_inside:
        raise RecordError(
            f'the path leads outside the data folder "{folder.name}"; expected a file below it: '
            "move the pictures there or name another folder"
        )
    return path


def read_pixels(
    path: Path, *, longest_side: int | None = None, most_pixels: int = MOST_PIXELS, most_bytes: int = MOST_BYTES
) -> Float[np.ndarray, "height width"]:
    """Luminance of a picture as float32 in [0, 1], turned upright by its EXIF orientation.

    8 and 16 bit, grey, RGB, palette and alpha. `longest_side` shrinks larger pictures by area averages (never enlarges).
    Raises `ImageError` with the reason, and `BombError` for a picture or file beyond the limits, before it is decoded.
    """
    if not path.is_file():
        raise ImageError("the file does not exist")
    if path.stat().st_size > most_bytes:
        raise BombError(f"the file has {path.stat().st_size} bytes, more than the limit of {most_bytes}")
    return _decoded(path, longest_side=longest_side, most_pixels=most_pixels)


def pixels_of(
    content: bytes, *, longest_side: int | None = None, most_pixels: int = MOST_PIXELS
) -> Float[np.ndarray, "height width"]:
    """As `read_pixels`, of a picture that is held in memory and never was a file."""
    return _decoded(BytesIO(content), longest_side=longest_side, most_pixels=most_pixels)


def pixels_told(content: bytes) -> int:
    """How many pixels the header of a picture names, which costs no decoding; 0 where it has none that can be read.

    The beginning of a file is enough.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=FORMATS) as picture:
                return int(picture.width * picture.height)
    except (Image.DecompressionBombError, *_UNREADABLE):  # decoding will refuse it
        return 0


def _decoded(source: Path | BytesIO, *, longest_side: int | None, most_pixels: int) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > most_pixels:
                    raise BombError(f"the picture has {width} × {height} pixels, more than the limit of {most_pixels}")
                picture.load()
                if picture.format == "PNG" and _may_lack_rows(picture) and not holds_all_rows(_content(source)):
                    raise ImageError("the picture ends before its last row")
                luminance = _luminance(ImageOps.exif_transpose(picture))
    except (ImageError, BombError):
        raise
    except Image.DecompressionBombError:  # Pillow looks before we do
        raise BombError(f"the picture's header names more pixels than the limit of {most_pixels}") from None
    except _UNREADABLE as error:
        raise ImageError(f"not a readable {' or '.join(FORMATS)} picture ({type(error).__name__})") from None
    return luminance if longest_side is None else _shrink(luminance, longest_side)


def _may_lack_rows(picture: Image.Image) -> bool:
    """Rows that are missing are black: a last row that is not, in a picture told row by row, speaks for all of them."""
    return bool(picture.info.get("interlace")) or not np.asarray(picture.crop((0, picture.height - 1, *picture.size))).any()


def _content(source: Path | BytesIO) -> bytes:
    return source.getvalue() if isinstance(source, BytesIO) else source.read_bytes()


def _luminance(picture: Image.Image) -> np.ndarray:
    mode = picture.mode
    if mode.startswith("I;16"):
        return (np.asarray(picture, dtype=np.float64) / 65535.0).astype(np.float32)
    if mode == "I":
        # Pillow widens some 16-bit grey pictures to 32-bit integers; anything beyond 16 bits is not from these formats
        values = np.asarray(picture, dtype=np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("grey values beyond 16 bits")
        return (values / 65535.0).astype(np.float32)
    if mode in ("1", "L") and "transparency" not in picture.info:
        return (np.asarray(picture.convert("L"), dtype=np.float64) / 255.0).astype(np.float32)
    converters: dict[str, Callable[[], Image.Image]] = {"CMYK": lambda: picture.convert("RGB").convert("RGBA")}
    colour = np.asarray(converters.get(mode, lambda: picture.convert("RGBA"))(), dtype=np.float64) / 255.0
    return (colour[..., :3] @ _LUMA * colour[..., 3]).clip(0.0, 1.0).astype(np.float32)


def _shrink(luminance: np.ndarray, longest_side: int) -> np.ndarray:
    height, width = luminance.shape
    scale = longest_side / max(height, width)
    if scale >= 1.0:
        return luminance
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # area averages neither ring nor leave [0, 1] except by rounding
    shrunk = np.asarray(Image.fromarray(luminance).resize(size, Image.Resampling.BOX), dtype=np.float32)
    return shrunk.clip(0.0, 1.0)
