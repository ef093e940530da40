"""Dates in prose: found in the usual ways of writing them, and shifted where they can be read in one way only.

A date that is not complete or could be read in two ways (03/04/2020) is replaced by a placeholder. Years alone stay.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan", "januar"), ("february", "feb", "februar"), ("march", "mar", "märz"), ("april", "apr"),
            ("may", "mai"), ("june", "jun", "juni"), ("july", "jul", "juli"), ("august", "aug"),
            ("september", "sep", "sept"), ("october", "oct", "oktober", "okt"), ("november", "nov"),
            ("december", "dec", "dezember", "dez"),
        ),
        start=1,
    )
    for name in names
}  # fmt: skip
_NAMES = "|".join(sorted(_MONTHS, key=len, reverse=True))
_MONTH = rf"(?P<month>{_NAMES})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?"
_YEAR = r"(?P<year>(?:19|20)\d{2})"
PLACEHOLDER = "[date]"

_ISO = re.compile(r"(?<![\w.])(?P<year>(?:19|20)\d{2})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})(?!\w|[-/.]\d)")
_NUMERIC = re.compile(
    r"(?<![\w.])(?P<first>\d{1,2})(?P<sep>[-/.])(?P<second>\d{1,2})(?P=sep)(?P<year>(?:19|20)\d{2}|\d{2})(?!\w|[-/.]\d)"
)
_DAY_FIRST = re.compile(rf"\b{_DAY}\s*(?:of\s+)?[- ]?{_MONTH}(?:[- ,]\s*{_YEAR})?\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"\b{_MONTH}\s+{_DAY}\b(?:\s*,?\s*{_YEAR})?\b", re.IGNORECASE)
_MONTH_YEAR = re.compile(rf"\b{_MONTH},?\s+(?:of\s+)?{_YEAR}\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_STEMS = tuple(sorted({name[:3] for name in _MONTHS}))


def find_dates(text: str) -> Iterator[re.Match[str]]:
    """Everything in a text that is written like a date; where two ways of writing overlap, the more complete one first."""
    if not _DIGIT.search(text):
        return
    yield from _ISO.finditer(text)
    yield from _NUMERIC.finditer(text)
    lower = text.lower()
    if any(stem in lower for stem in _STEMS):  # most notes name no month, and these patterns are the slow ones
        for pattern in (_DAY_FIRST, _MONTH_FIRST, _MONTH_YEAR):
            yield from pattern.finditer(text)


def shifted(match: re.Match[str], shift: timedelta) -> str:
    """The date of a match moved by the patient's offset and written as it was, or the placeholder."""
    found = _read(match)
    if found is None:
        return PLACEHOLDER
    try:
        moved = found + shift
    except OverflowError:
        return PLACEHOLDER
    if match.re is _ISO:
        return f"{moved:%Y}{match['sep']}{moved:%m}{match['sep']}{moved:%d}"
    if match.re is _NUMERIC:
        return f"{moved:%d}{match['sep']}{moved:%m}{match['sep']}{moved:%Y}"
    # written out without strftime's %B, whose language depends on the machine
    month = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
             "December")[moved.month - 1]  # fmt: skip
    return f"{moved.day} {month} {moved.year}" if match.re is _DAY_FIRST else f"{month} {moved.day}, {moved.year}"


def _read(match: re.Match[str]) -> date | None:
    parts = match.groupdict()
    try:
        if match.re is _NUMERIC:
            first, second, year = int(parts["first"]), int(parts["second"]), parts["year"]
            is_certain = parts["sep"] == "." or first > 12
            return date(int(year), second, first) if is_certain and len(year) == 4 else None
        if match.re is _ISO:
            return date(int(parts["year"]), int(parts["month"]), int(parts["day"]))
        if not parts.get("year") or not parts.get("day"):
            return None
        return date(int(parts["year"]), _MONTHS[parts["month"].lower()], int(parts["day"]))
    except ValueError:
        return None
