"""What one cell says: a number, a number beyond a limit, nothing, something unknown, or something that cannot be read.

Every cell ends in exactly one of the six outcomes of `Reading`, so a column's tally always adds up to its rows.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import NamedTuple

from attending.case import Censoring
from attending.records.column import UNKNOWN_WORDS, Rule, ValueRules
from attending.records.error import RecordError
from attending.records.units import UnitError, convert, is_unit


class Reading(Enum):
    """What became of one cell, or of one row of a companion."""

    READ = "read"
    BELOW = "below"  # `<5`: the truth lies below the value written
    ABOVE = "above"
    BLANK = "blank"
    UNKNOWN = "unknown"  # a word that means "not known"
    REFUSED = "refused"  # not readable as what the schema says, or refused by a rule of the schema
    LATE = "late"  # known only after the question
    EARLY = "early"  # before the look-back window
    UNMATCHED = "unmatched"  # of no case of the table (companions only)


class Number(NamedTuple):
    """A cell of a number column. `value` means something for READ, BELOW and ABOVE; `why` says why it was refused."""

    reading: Reading
    value: float = math.nan
    why: str = ""

    @property
    def censoring(self) -> Censoring:
        return {Reading.BELOW: Censoring.BELOW, Reading.ABOVE: Censoring.ABOVE}.get(self.reading, Censoring.NONE)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many cells of one column ended how. `rows` are the cells there were."""

    read: int = 0
    below: int = 0
    above: int = 0
    blank: int = 0
    unknown: int = 0
    refused: int = 0
    late: int = 0
    early: int = 0
    unmatched: int = 0

    @property
    def rows(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))

    @property
    def used(self) -> int:
        return self.read + self.below + self.above


def tally(readings: Iterable[Reading]) -> Tally:
    """Count the readings of one column."""
    counts = dict.fromkeys((reading.value for reading in Reading), 0)
    for reading in readings:
        counts[reading.value] += 1
    return Tally(**counts)


_MARK = re.compile(r"^(<=|>=|=<|=>|<|>|≤|≥|~<|~>)?\s*(.*)$", re.DOTALL)
_POINT = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*)$", re.DOTALL)
_COMMA = re.compile(r"([-+]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][-+]?\d+)?)\s*(.*)$", re.DOTALL)
_INFINITE = re.compile(r"([-+]?)(?:inf|infinity|∞)$", re.IGNORECASE)
_MARKED = {Rule.UNKNOWN: Reading.UNKNOWN, Rule.REFUSED: Reading.REFUSED}


def is_unknown(text: str, words: tuple[str, ...] = UNKNOWN_WORDS) -> bool:
    """Whether a cell is one of the words for "not known", without regard to case."""
    return text.strip().lower() in words


def read_number(  # noqa: PLR0911 -- one return per reading
    cell: str | None, rules: ValueRules, *, unit: str | None = None, code: str = ""
) -> Number:
    """One cell of a number column by its rules.

    A unit written behind the number is converted to `unit`; without a known `unit` it is refused, since a number whose unit
    is only sometimes written cannot be trusted. Raises `UnitError` for a unit that does not fit unless `rules` refuse it.
    """
    if cell is None or not cell.strip():
        return Number(Reading.BLANK)
    text = cell.strip().replace("−", "-")  # U+2212, the typographic minus
    if text.lower() in rules.unknown:
        return Number(Reading.UNKNOWN)
    infinite = _INFINITE.fullmatch(text)
    if infinite:
        return _read_infinite(is_low=infinite[1] == "-", rules=rules)
    match = _MARK.match(text)
    mark, rest = (match[1], match[2]) if match else (None, text)
    number = (_POINT if rules.decimal == "point" else _COMMA).match(rest)
    if number is None:
        return Number(Reading.REFUSED, why="not a number")
    value = float(number[1].replace(",", "."))
    if not math.isfinite(value):
        return Number(Reading.REFUSED, why="a number too large to hold")
    if number[2]:
        try:
            if unit is None:
                return Number(Reading.REFUSED, why="not a plain number, and the schema states no unit to convert to")
            value = convert(value, number[2].strip(), unit, code=code)
        except UnitError as error:
            if rules.misfit == "error" and is_unit(number[2]):
                raise
            return Number(Reading.REFUSED, why=str(error) if looks_like_unit(number[2]) else "not a number")
    if mark is None:
        return Number(Reading.READ, value)
    is_below = "<" in mark or mark == "≤"
    rule = rules.below if is_below else rules.above
    if rule is Rule.CENSORED:
        return Number(Reading.BELOW if is_below else Reading.ABOVE, value)
    return Number(_MARKED[rule], why=f'"{mark}" is {rule.value} by the schema')


def looks_like_unit(text: str) -> bool:
    """Whether a text may be quoted as a unit: short and without spaces, so no prose about the patient."""
    return re.fullmatch(r"[^\s]{1,8}(/[^\s]{1,6})?", text.strip()) is not None


def _read_infinite(*, is_low: bool, rules: ValueRules) -> Number:
    if rules.infinite is not Rule.CENSORED:
        return Number(_MARKED[rules.infinite], why=f"beyond the detection range is {rules.infinite.value} by the schema")
    limit = rules.detection_low if is_low else rules.detection_high
    if limit is None:
        return Number(Reading.UNKNOWN)
    return Number(Reading.BELOW if is_low else Reading.ABOVE, limit)


def refuse_other_marks(cells: Iterable[str | None], decimal: str, *, place: str) -> None:
    """Raise `RecordError` where numbers have another decimal mark than the schema says."""
    mark, name, other = (",", "comma", "point") if decimal == "point" else (".", "point", "comma")
    pattern = re.compile(rf"[-+−]?\d*{re.escape(mark)}\d+(?:[eE][-+]?\d+)?")
    found = sum(cell is not None and pattern.fullmatch(cell.strip().lstrip("<>=≤≥~ ")) is not None for cell in cells)
    if found:
        raise RecordError(
            f"{place}: {found} numbers have a decimal {name}, expected a decimal {other} as in the schema; "
            f'write them so, or correct the rule where all have one: rules = {{ decimal = "{name}" }}'
        )


def decimal_mark(cells: Iterable[str | None], *, place: str) -> str:
    """ "point" or "comma", whichever the numbers of a column use.

    Raises `RecordError` for a column that mixes them, and for one whose commas could as well separate thousands.
    """
    points = commas = 0
    could_be_thousands = True
    for cell in cells:
        if cell is None:
            continue
        text = cell.strip().lstrip("<>=≤≥~ ")
        if re.fullmatch(r"[-+−]?\d*\.\d+(?:[eE][-+]?\d+)?", text):
            points += 1
        elif re.fullmatch(r"[-+−]?\d*,\d+(?:[eE][-+]?\d+)?", text):
            commas += 1
            could_be_thousands &= re.fullmatch(r"[-+−]?[1-9]\d{0,2},\d{3}", text) is not None
    if commas and points:
        raise RecordError(
            f"{place}: {commas} numbers have a decimal comma and {points} a decimal point, expected one of them; "
            "write the column with decimal points"
        )
    if commas and could_be_thousands:
        raise RecordError(
            f'{place}: all {commas} commas stand before three digits, so "1,234" may be 1.234 or 1234; '
            "write the column without thousands separators and with decimal points"
        )
    return "comma" if commas else "point"
