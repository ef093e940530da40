"""Times: reading moments and offsets, and turning them into hours relative to the question.

ISO 8601 dates and times, and whole numbers of hours or days. A date without a time of day stands for its first moment; a
day counted relative to the question (0 = the same day) for that many full days.
"""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from attending.case import Hours
from attending.records.units import UnitError, convert
from attending.records.values import is_unknown

_DATE_FIRST = re.compile(r"\d{4}-\d{2}-\d{2}")


def read_moment(cell: str) -> datetime | None:
    """The moment in an ISO 8601 cell (`2020-03-01`, `2020-03-01 14:30`, `…T14:30:00+01:00`, in UTC), or None."""
    text = cell.strip()
    if not _DATE_FIRST.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def read_offset(cell: str, unit: str) -> Hours | None:
    """Hours relative to the question in a cell that counts `unit` (h, d, min, …; negative is before), or None."""
    try:
        number = float(cell.strip().replace("−", "-").replace(",", "."))
        hours = convert(number, unit, "h")
    except (ValueError, UnitError):
        return None
    return hours if math.isfinite(hours) else None


def hours_between(moment: datetime, asked_at: datetime) -> Hours:
    """Hours from the question to the moment; positive is later than the question."""
    return (moment - asked_at).total_seconds() / 3600.0


def hours_of(cell: str | None, *, unit: str, asked_at: datetime | None, column: str) -> "Hours | str":
    """Hours relative to the question in a cell of a time column, or the reason why they are not known.

    `unit` is "datetime" for moments, else the unit of an offset. A time that is not known is never taken for the question's.
    """
    if cell is None or is_unknown(cell):
        return f'its time ("{column}") is blank'
    if unit == "datetime":
        moment = read_moment(cell)
        if moment is None:
            return f'its time ("{column}") is not readable'
        return "the row has no prediction time to compare with" if asked_at is None else hours_between(moment, asked_at)
    offset = read_offset(cell, unit)
    return f'its time ("{column}") is not readable' if offset is None else offset


def time_unit(name: str, cells: Iterable[str]) -> str | None:
    """ "datetime", "h" or "d" for the cells of a time column, or None where they are no times or count nobody knows what."""
    cells = list(cells)
    if cells and all(read_moment(cell) for cell in cells):
        return "datetime"
    if not all(read_offset(cell, "h") is not None for cell in cells):
        return None
    lower = name.lower()
    return "h" if "hour" in lower else "d" if "day" in lower else None
