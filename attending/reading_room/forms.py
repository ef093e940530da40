"""The fields of a form as it was sent. Knows no framework; refuses what is no form, and never repeats what was sent."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from attending.service.problem import Problem

MOST_BYTES = 256 * 1024
MOST_FIELDS = 5_000


class Fields:
    """What was sent, by name; a name may stand more than once."""

    def __init__(self, sent: Mapping[str, tuple[str, ...]]) -> None:
        self._sent = dict(sent)

    def one(self, name: str) -> str:
        """The last of this name, without blanks around it; empty where there is none."""
        return self._sent.get(name, ("",))[-1].strip()

    def all(self, name: str) -> tuple[str, ...]:
        """All of this name."""
        return self._sent.get(name, ())

    def numbered(self, stem: str) -> Mapping[int, str]:
        """Fields called `stem-0`, `stem-1` …, by their number."""
        found = {}
        for name in self._sent:
            head, _, number = name.rpartition("-")
            if head == stem and number.isascii() and number.isdecimal() and len(number) < 7:
                found[int(number)] = self.one(name)
        return found


def fields_of(body: bytes, *, media_type: str) -> Fields:
    """The form in a body. Raises `Problem` 415 for another media type, 413 and 422 for what is too much or no form."""
    if media_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "media-type", "a form is sent as application/x-www-form-urlencoded")
    if len(body) > MOST_BYTES:
        raise Problem(413, "too-large", f"a form has at most {MOST_BYTES} bytes; shorten what was written")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:  # also what is not UTF-8
        raise Problem(422, "form", f"the form cannot be read: expected at most {MOST_FIELDS} fields of UTF-8 text") from None
    return Fields(_gathered(pairs))


def query_of(query: str) -> Fields:
    """The fields of an address; what cannot be read is as if it had not been sent."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=100, errors="replace")
    except ValueError:
        pairs = []
    return Fields(_gathered(pairs))


def _gathered(pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found
