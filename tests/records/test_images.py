"""Pictures: right luminance at 8 and 16 bits, upright, bounded before decoding, and never black instead of unreadable."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attending.records import RecordError
from attending.records.images import BombError, ImageError, locate, read_pixels

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_16_bit(path: Path, values: np.ndarray) -> None:
    """A 16-bit grey PNG written by hand (PNG specification, sections 5 and 11), so that no library agrees with itself."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    )


def test_16_bits_are_not_saturated(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    _png_16_bit(tmp_path / "full.png", values)
    pixels = read_pixels(tmp_path / "full.png")
    np.testing.assert_array_equal(pixels, (values / 65535.0).astype(np.float32))
    assert len(np.unique(pixels)) == values.size
    twelve = (np.arange(4096, dtype=np.uint16)).reshape(64, 64)
    _png_16_bit(tmp_path / "twelve.png", twelve)
    assert len(np.unique(read_pixels(tmp_path / "twelve.png"))) == 4096


def test_8_bit_grey_is_exact(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "g.png")
    pixels = read_pixels(tmp_path / "g.png")
    assert (pixels.dtype, pixels.shape) == (np.float32, (16, 16))
    np.testing.assert_array_equal(pixels, (RAMP / 255.0).astype(np.float32))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
def test_grey_reads_alike_in_every_mode(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(RAMP if mode != "1" else (RAMP > 99).astype(np.uint8) * 255)
    grey.convert("RGB").convert(mode, dither=Image.Dither.NONE).save(tmp_path / "x.png") if mode == "1" else grey.convert(
        mode
    ).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_pixels(tmp_path / "x.png"), np.asarray(grey, dtype=np.float64) / 255.0, atol=1e-6)


def test_colours_become_luminance_and_transparent_is_black(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (3, 1))
    picture.putdata([(255, 0, 0, 255), (0, 255, 0, 255), (255, 255, 255, 0)])
    picture.save(tmp_path / "c.png")
    np.testing.assert_allclose(read_pixels(tmp_path / "c.png"), [[0.299, 0.587, 0.0]], atol=1e-6)


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    upright = np.zeros((8, 16), dtype=np.uint8)
    upright[:4, :8] = 255  # bright corner at the top left
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: to be turned 90° clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "r.png", exif=exif)
    np.testing.assert_array_equal(read_pixels(tmp_path / "r.png") > 0.5, upright > 127)


def test_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 128, dtype=np.uint8)).save(tmp_path / "x.jpg", quality=95)
    pixels = read_pixels(tmp_path / "x.jpg")
    assert pixels.shape == (20, 30)
    np.testing.assert_allclose(pixels, 128 / 255, atol=2 / 255)


def test_shrinking_averages_areas_and_never_enlarges(tmp_path: Path) -> None:
    chess = ((np.indices((8, 16)).sum(axis=0) % 2) * 255).astype(np.uint8)
    Image.fromarray(chess).save(tmp_path / "chess.png")
    small = read_pixels(tmp_path / "chess.png", longest_side=8)
    assert small.shape == (4, 8)
    np.testing.assert_allclose(small, 0.5, atol=1e-6)
    assert read_pixels(tmp_path / "chess.png", longest_side=99).shape == (8, 16)


def test_a_bomb_is_refused_on_its_header(tmp_path: Path) -> None:
    """A header that claims 30,000 × 30,000 pixels over a few bytes: decoding it would fail differently, or fill memory."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + _chunk(b"IEND", b"")
    )
    with pytest.raises(BombError, match=r"more pixels than the limit of 67108864; expected a film: shrink it"):
        read_pixels(tmp_path / "bomb.png")
    Image.fromarray(RAMP).save(tmp_path / "small.png")
    with pytest.raises(BombError, match="16 × 16 pixels, more than the limit of 255"):
        read_pixels(tmp_path / "small.png", most_pixels=255)
    with pytest.raises(BombError, match="bytes, more than the limit of 10"):
        read_pixels(tmp_path / "small.png", most_bytes=10)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "empty", "gif", "missing"])
def test_what_cannot_be_read_is_an_error_and_never_black(tmp_path: Path, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = tmp_path / "x.png"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(content[:600] + bytes([content[600] ^ 255]) + content[601:])
    elif damage == "text":
        path.write_bytes(b"not a picture")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "gif":
        Image.fromarray(noise).save(path, format="GIF")
    else:
        path.unlink()
    with pytest.raises(ImageError, match=r"not a readable PNG or JPEG|does not exist"):
        read_pixels(path)


def test_a_path_stays_in_the_data_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    for reference in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "a/../../secret.png", "x\0.png"):
        with pytest.raises(RecordError, match="outside the data folder"):
            locate(reference, folder)
    assert locate("a/b.png", folder) == folder.resolve() / "a" / "b.png"
