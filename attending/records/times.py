"""Times: reading moments and offsets, and turning them into hours relative to the question.

ISO 8601 dates and times, and whole numbers of hours or days. A date without a time of day stands for its first moment; a
day counted relative to the question (0 = the same day) for that many full days.
"""

import math
import re
from datetime import UTC, datetime

from attending.case import Hours
from attending.records.units import UnitError, convert

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
