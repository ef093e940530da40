"""multipart/form-data (RFC 7578) in memory: no part of a case is ever written to a temporary file.

One part `case` with the JSON, and files whose part names are the fields they are of.
"""

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from attending.service.messages import MOST_IMAGES
from attending.service.problem import Fault, Problem, refused

if TYPE_CHECKING:  # only a name for type checkers there too
    from python_multipart.multipart import MultipartCallbacks

CASE = "case"
_LONGEST_NAME = 400


def parts_of(body: bytes, content_type: str) -> tuple[bytes, list[tuple[str | None, bytes]]]:
    """The JSON (an empty object where there is none) and the files with their fields. Raises `Problem`."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
        raise Problem(415, "media-type", "send multipart/form-data with a boundary (RFC 7578)")
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks(), max_header_count=8, max_header_size=4096)
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise Problem(400, "not-multipart", "the body is not readable as multipart/form-data; see RFC 7578") from None
    if not collector.has_ended:
        raise Problem(400, "not-multipart", "the body ends before its last boundary; see RFC 7578")
    cases = [content for name, content in collector.parts if name == CASE]
    files = [(name, content) for name, content in collector.parts if name != CASE]
    if len(cases) > 1:
        raise refused([Fault(pointer="", found='holds more than one part named "case"', remedy="send one")])
    if len(files) > MOST_IMAGES:
        raise refused([Fault(pointer="/files", found=f"are more than {MOST_IMAGES}", remedy="send the pictures that matter")])
    return cases[0] if cases else b"{}", files


class _Collector:
    """What the parser tells, as named parts."""

    def __init__(self) -> None:
        self.parts: list[tuple[str | None, bytes]] = []
        self.has_ended = False
        self._name: str | None = None
        self._data: list[bytes] = []
        self._header = (bytearray(), bytearray())

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": lambda: self.parts.append((self._name, b"".join(self._data))),
            "on_header_begin": self._header_began,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_ended,
            "on_end": self._ended,
        }

    def _begin(self) -> None:
        if len(self.parts) > MOST_IMAGES + 1:
            raise refused([Fault(pointer="/files", found=f"are more than {MOST_IMAGES}", remedy="send fewer")])
        self._name, self._data = None, []

    def _header_began(self) -> None:
        for part in self._header:
            part.clear()

    def _header_ended(self) -> None:
        field, value = (bytes(each) for each in self._header)
        if field.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            name = options.get(b"name", b"").decode("utf-8", errors="replace")
            self._name = name if 0 < len(name) <= _LONGEST_NAME else ""

    def _ended(self) -> None:
        self.has_ended = True
