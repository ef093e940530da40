"""Whether a PNG file holds all rows that its header promises; Pillow fills those that are missing with black and says nothing.

Layout of the file: PNG specification (ISO/IEC 15948), 5.3 (chunks), 7.2 (scan lines) and 8.2 (interlace method 1, "Adam7").
"""

import struct
import zlib

_SIGNATURE = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers a pixel, by colour type."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""(first column, first row, column step, row step) of each pass."""
_AT_ONCE = 1 << 20


def holds_all_rows(content: bytes) -> bool:
    """False where the compressed rows end before the last. `content` has been read by Pillow, so its chunks are sound."""
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", content[_SIGNATURE + 8 : _SIGNATURE + 21])
    bits = depth * _CHANNELS[colour]
    expected = _bytes_of(width, height, bits)
    if interlace:
        expected = sum(_bytes_of(-(-(width - x) // dx), -(-(height - y) // dy), bits) for x, y, dx, dy in _ADAM7)
    return _unpacked(content, enough=expected) >= expected


def _bytes_of(width: int, height: int, bits: int) -> int:
    """Rows with a filter byte each; a pass without columns has no rows either."""
    return height * (1 + (width * bits + 7) // 8) if width > 0 and height > 0 else 0


def _unpacked(content: bytes, *, enough: int) -> int:
    """Bytes that the image data unpack to, counted no further than `enough`."""
    stream, found, place = zlib.decompressobj(), 0, _SIGNATURE
    while place + 8 <= len(content) and found < enough:
        length, name = struct.unpack(">I4s", content[place : place + 8])
        waiting = content[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        while waiting and not stream.eof and found < enough:
            found += len(stream.decompress(waiting, _AT_ONCE))
            waiting = stream.unconsumed_tail
        place += length + 12
    return found
