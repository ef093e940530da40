"""PNG files by hand, whole and with rows missing: Pillow often reads both, and paints what is missing black."""

import struct
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attending.records.images import ImageError, read_pixels
from attending.records.png_rows import holds_all_rows

NOT_WHOLE = "ends before its last row|not a readable PNG"
"""Pillow notices some of them: it depends on how the data are cut into chunks."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = "1646264677777777565656567777777736463646777777775656565677777777"
"""The pass in which each pixel of an 8 × 8 square is told (PNG specification, figure 4.8), row by row."""


def png(rows: list[bytes], *, width: int, height: int, depth: int, colour: int, interlace: int = 0, pieces: int = 1) -> bytes:
    """A PNG of these rows (without filter bytes), its data in so many chunks."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    step = -(-len(packed) // pieces)
    data = b"".join(chunk(b"IDAT", packed[start : start + step]) for start in range(0, len(packed), step))
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + palette + data + chunk(b"IEND", b"")


def adam7_rows(values: np.ndarray) -> list[list[bytes]]:
    """The rows of each of the seven passes of 8-bit grey values."""
    height, width = values.shape
    number = np.array([[int(ADAM7[8 * (y % 8) + x % 8]) for x in range(width)] for y in range(height)])
    passes = []
    for one in range(1, 8):
        held = [values[y][number[y] == one].tobytes() for y in range(height)]
        passes.append([row for row in held if row])
    return passes


@pytest.mark.parametrize(
    ("depth", "colour"), [(1, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 3), (2, 3), (8, 4), (8, 6)]
)
def test_missing_rows_are_found_in_every_kind_of_picture(tmp_path: Path, depth: int, colour: int) -> None:
    width, height = 13, 40
    row = b"\x55" * ((width * depth * CHANNELS[colour] + 7) // 8)
    asked = {"width": width, "height": height, "depth": depth, "colour": colour}
    for lacking, pieces in product((0, 1, 17, 39), (1, 3)):
        content = png([row] * (height - lacking), **asked, pieces=pieces)
        assert holds_all_rows(content) == (lacking == 0)
        (tmp_path / "film.png").write_bytes(content)
        if lacking:
            with pytest.raises(ImageError, match=NOT_WHOLE):
                read_pixels(tmp_path / "film.png")
        else:
            assert read_pixels(tmp_path / "film.png").shape == (height, width)


@pytest.mark.parametrize("shape", [(11, 13), (8, 8), (1, 1), (3, 2), (5, 1), (1, 5)])
def test_interlaced_pictures_are_told_from_those_that_end_early(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(1, 256, shape).astype(np.uint8)
    passes = adam7_rows(values)
    asked = {"width": shape[1], "height": shape[0], "depth": 8, "colour": 0, "interlace": 1}
    rows = [row for one in passes for row in one]
    (tmp_path / "film.png").write_bytes(png(rows, **asked))
    np.testing.assert_array_equal(read_pixels(tmp_path / "film.png"), (values / 255.0).astype(np.float32))
    if len(rows) > 1:
        (tmp_path / "film.png").write_bytes(png(rows[:-1], **asked))
        with pytest.raises(ImageError, match=NOT_WHOLE):
            read_pixels(tmp_path / "film.png")


def test_what_pillow_paints_black_without_a_word_is_refused(tmp_path: Path) -> None:
    content = png([b"\x80" * 9] * 5, width=9, height=9, depth=8, colour=0)
    (tmp_path / "film.png").write_bytes(content)
    with Image.open(tmp_path / "film.png") as picture:
        assert (np.asarray(picture)[5:] == 0).all()
    with pytest.raises(ImageError, match="ends before its last row"):
        read_pixels(tmp_path / "film.png")


def test_a_film_that_is_black_below_is_whole(tmp_path: Path) -> None:
    rows = [b"\x80" * 9] * 5 + [b"\0" * 9] * 4
    (tmp_path / "film.png").write_bytes(png(rows, width=9, height=9, depth=8, colour=0))
    assert (read_pixels(tmp_path / "film.png")[5:] == 0).all()


def test_a_stream_that_unpacks_to_far_more_is_not_unpacked() -> None:
    content = png([b"\0" * 9] * 2_000_000, width=9, height=2, depth=8, colour=0)
    assert len(content) < 60_000
    assert holds_all_rows(content)
