"""Long-format files beside the table: many values, notes or images per case, joined by id and time.

A row that belongs to a patient with several cases goes to each case at whose question it was known and inside the look-back
window. Every row of a companion ends in exactly one count.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from attending.case import UNSTATED as UNSTATED_UNIT
from attending.case import Absence, Evidence, Hours, Lab, Note, Scan, Unit
from attending.records import names, units
from attending.records.cells import in_unit
from attending.records.column import UNSTATED, Role, ValueRules
from attending.records.error import RecordError, SchemaError
from attending.records.images import ImageError, locate, read_pixels
from attending.records.schema import Companion, Schema
from attending.records.table import Table
from attending.records.times import hours_of, time_unit
from attending.records.values import Reading, Tally, decimal_mark, is_unknown, read_number, refuse_other_marks, tally

_KINDS: Mapping[str, type[Evidence]] = {"labs": Lab, "notes": Note, "images": Scan}
_VALUE = {
    "labs": ("value", "result", "valuenum", "number", "measurement"),
    "notes": ("text", "note", "notes", "report", "content"),
    "images": ("image", "path", "file", "film", "filename", "image_path"),
}
_CODE = ("code", "test", "analyte", "lab", "parameter", "item", "itemid", "loinc", "variable", "label", "name")
_TIME = ("taken_at", "collected_at", "measured_at", "charttime", "datetime", "timestamp", "time", "at", "date", "hours", "hour",
         "offset_hours", "hours_offset", "day", "days", "day_offset", "dayoffset", "offset_days")  # fmt: skip
_UNIT = ("unit", "units", "uom", "valueuom")
_LOW = ("low", "lower", "ref_low", "reference_low", "ref_range_lower", "lower_limit", "min")
_HIGH = ("high", "upper", "ref_high", "reference_high", "ref_range_upper", "upper_limit", "max")
OF_NO_CASE = "its id is of no case"
_JOINS = (Role.CASE, Role.ID, Role.VISIT, Role.PATIENT)  # the narrowest first


class Asker(NamedTuple):
    """One case as a companion sees it: its names by role, and when its question is asked."""

    names: Mapping[str, str]  # column → value, of the columns a companion may join by
    asked_at: datetime | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """What a companion gave: evidence and absences per case, and what became of each of its rows."""

    evidence: Sequence[list[Evidence]] = field(repr=False)
    absent: Sequence[list[Absence]] = field(repr=False)
    counts: Tally
    reasons: Mapping[str, int]
    outcomes: Sequence[tuple[Reading, str]] = field(repr=False)  # of each row, with the reason where there is one


def infer_companion(kind: str, companion: Table, schema: Schema) -> Companion:
    """The columns of a companion by their names. Raises `SchemaError` for one without id, value or code."""
    if kind not in _KINDS:
        raise SchemaError(f'companion "{kind}": expected labs, notes or images')
    by_name = {"_".join(names.words(name)): name for name in reversed(companion.frame.columns)}

    def first(vocabulary: Sequence[str]) -> str | None:
        return next((by_name[word] for word in vocabulary if word in by_name), None)

    joins = [column.name for role in _JOINS for column in schema.of(role)]
    join = next((name for name in joins if name in companion.frame.columns), None)
    if join is None:
        raise SchemaError(
            f"{companion.name}: shares no id with the table; expected one of its columns {', '.join(joins) or 'with an id'}"
        )
    value, code = first(_VALUE[kind]), first(_CODE)
    if value is None:
        raise SchemaError(f"{companion.name}: no column for the {kind}; expected one of {', '.join(_VALUE[kind])}")
    if kind == "labs" and code is None:
        raise SchemaError(f"{companion.name}: no column that says what was measured; expected one of {', '.join(_CODE)}")
    time = first(_TIME)
    unit = None
    if time is not None:
        unit = time_unit(time, (cell for cell in companion.cells(time) if cell is not None and not is_unknown(cell)))
        if unit is None:
            raise SchemaError(
                f'{companion.name} column "{time}": not readable as times; expected moments such as 2020-03-01 14:30, or '
                "hours or days relative to the question in a column whose name says which"
            )
    found = Companion(kind=kind, id=join, value=value, code=code, time=time, time_unit=unit)
    if kind != "labs":
        return found
    mark = decimal_mark(companion.cells(value), place=f'{companion.name} column "{value}"')
    found = replace(found, unit=first(_UNIT), low=first(_LOW), high=first(_HIGH), rules=ValueRules(decimal=mark))
    return complete_units(found, companion, schema)


def complete_units(spec: Companion, companion: Table, schema: Schema) -> Companion:
    """The companion with a unit for every code: as declared, else the table's unit for that code, else the most frequent."""
    if spec.kind != "labs" or spec.code is None:
        return spec
    by_code = {column.field_name: column.unit for column in schema.of(Role.NUMBER) if column.unit not in (None, UNSTATED)}
    written: dict[str, Counter[str]] = defaultdict(Counter)
    codes = companion.cells(spec.code)
    for code, unit in zip(codes, companion.cells(spec.unit) if spec.unit else [None] * len(codes), strict=True):
        if code is not None:
            known = unit is not None and units.is_unit(unit)
            written[code.strip()].update([units.canonical(str(unit))] if known else [])
    found = {code: next(iter(counts.most_common(1)), (UNSTATED, 0))[0] for code, counts in sorted(written.items())}
    return replace(spec, units={code: by_code.get(code) or unit for code, unit in found.items()} | dict(spec.units))


def check_companion(spec: Companion, companion: Table) -> None:
    """Raise `SchemaError` for a column that is not there, `RecordError` for numbers with another decimal mark."""
    wanted = (spec.id, spec.value, spec.code, spec.unit, spec.time, spec.low, spec.high)
    companion.require([name for name in wanted if name is not None], purpose=f'part of the companion "{spec.kind}"')
    if spec.kind == "labs":
        refuse_other_marks(companion.cells(spec.value), spec.rules.decimal, place=f'{companion.name} column "{spec.value}"')


def join_companion(
    spec: Companion,
    companion: Table,
    askers: Sequence[Asker],
    *,
    look_back_hours: Hours | None,
    folder: Path,
    longest_side: int | None,
    is_strict: bool,
) -> Joined:
    """The rows of a companion as evidence of the cases. Under `is_strict` a row that cannot be read raises `RecordError`."""
    check_companion(spec, companion)
    owners: dict[str, list[int]] = defaultdict(list)
    for at, asker in enumerate(askers):
        if spec.id in asker.names:
            owners[asker.names[spec.id]].append(at)
    evidence: list[list[Evidence]] = [[] for _ in askers]
    absent: list[list[Absence]] = [[] for _ in askers]
    outcomes: list[tuple[Reading, str]] = []
    row_reader = _RowReader(spec, companion, folder=folder, longest_side=longest_side)
    ids = companion.cells(spec.id)
    times = companion.cells(spec.time) if spec.time else None
    for i in range(len(companion)):
        cases = owners.get((ids[i] or "").strip(), [])
        outcome, why = Reading.UNMATCHED, OF_NO_CASE
        best = len(BEST)
        for at in cases:
            hours: Hours | str = 0.0
            if times is not None and spec.time is not None:
                hours = hours_of(times[i], unit=spec.time_unit or "h", asked_at=askers[at].asked_at, column=spec.time)
            try:
                reading, said, found = _place_in_time(row_reader, i, hours, look_back_hours)
            except units.UnitError as error:
                raise units.UnitError(
                    f'{companion.name} row {companion.rows[i]}, column "{spec.unit or spec.value}": {error} Mend the unit, or '
                    f'have such values left out and counted: rules = {{ misfit = "refused" }} of companion "{spec.kind}"'
                ) from None
            if isinstance(found, Absence):
                absent[at].append(found)
            elif found is not None:
                evidence[at].append(found)
            if BEST.index(reading) < best:
                best, outcome, why = BEST.index(reading), reading, said
        if is_strict and outcome is Reading.REFUSED:
            raise RecordError(
                f'{companion.name} row {companion.rows[i]}, column "{spec.value}": {why}; mend the row or drop it'
            )
        outcomes.append((outcome, why))
    return Joined(
        evidence=evidence,
        absent=absent,
        counts=tally(outcome for outcome, _ in outcomes),
        reasons=dict(Counter(why for _, why in outcomes if why)),
        outcomes=outcomes,
    )


BEST = (
    Reading.READ,
    Reading.BELOW,
    Reading.ABOVE,
    Reading.UNKNOWN,
    Reading.BLANK,
    Reading.REFUSED,
    Reading.EARLY,
    Reading.LATE,
)
"""A row that several cases see counts once, as the best that became of it."""


def _place_in_time(
    row_reader: "_RowReader", i: int, hours: "Hours | str", look_back: Hours | None
) -> tuple[Reading, str, Evidence | Absence | None]:
    if isinstance(hours, str):
        return Reading.REFUSED, hours, row_reader.absence(i, hours)
    if hours > 0.0:
        return Reading.LATE, "later than the question", None
    if look_back is not None and hours < -look_back:
        return Reading.EARLY, f"before the look-back window of {look_back:g} hours", None
    return row_reader.read(i, hours)


class _RowReader:
    """One row of a companion as evidence at a given hour."""

    def __init__(self, spec: Companion, companion: Table, *, folder: Path, longest_side: int | None) -> None:
        self._spec, self._companion = spec, companion
        self._folder, self._longest_side = folder, longest_side
        self._value = companion.cells(spec.value)
        self._columns = {
            name: companion.cells(column) if column else None
            for name, column in (("code", spec.code), ("unit", spec.unit), ("low", spec.low), ("high", spec.high))
        }

    def _cell(self, name: str, i: int) -> str | None:
        cells = self._columns[name]
        cell = None if cells is None else cells[i]
        return None if cell is None else cell.strip()

    def name(self, i: int) -> str:
        return self._cell("code", i) or self._spec.kind.removesuffix("s")

    def absence(self, i: int, why: str) -> Absence:
        return Absence(kind=_KINDS[self._spec.kind], name=self.name(i), reason=why)

    def read(self, i: int, hours: Hours) -> tuple[Reading, str, Evidence | Absence | None]:
        cell = self._value[i]
        if cell is None:
            return Reading.BLANK, "", None
        if self._spec.kind == "labs":
            return self._lab(i, cell, hours)
        if self._spec.kind == "notes":
            return Reading.READ, "", Note(at=hours, text=cell, field_name=self.name(i))
        if is_unknown(cell):
            return Reading.UNKNOWN, "", None
        return self._scan(i, cell, hours)

    def _lab(self, i: int, cell: str, hours: Hours) -> tuple[Reading, str, Evidence | Absence | None]:
        code = self._cell("code", i)
        if code is None:
            return Reading.REFUSED, "no code says what was measured", None
        held = self._spec.units.get(code, UNSTATED)
        unit = None if held == UNSTATED else held
        number = read_number(cell, self._spec.rules, unit=unit, code=code)
        if number.reading in (Reading.BLANK, Reading.UNKNOWN):
            return number.reading, "", None
        if number.reading is not Reading.REFUSED and self._spec.unit is not None:
            number = in_unit(number, self._cell("unit", i), unit, code=code, rules=self._spec.rules)
        if number.reading is Reading.REFUSED:
            return Reading.REFUSED, number.why, self.absence(i, number.why)
        lab = Lab(
            at=hours,
            code=code,
            value=number.value,
            unit=Unit(unit) if unit else UNSTATED_UNIT,
            reference=self._reference(i, unit, code),
            censoring=number.censoring,
        )
        return number.reading, "", lab

    def _reference(self, i: int, unit: str | None, code: str) -> tuple[float, float] | None:
        ends = []
        for name in ("low", "high"):
            number = read_number(self._cell(name, i), self._spec.rules, unit=unit, code=code)
            if number.reading is Reading.READ and unit is not None and self._spec.unit is not None:
                number = in_unit(number, self._cell("unit", i), unit, code=code, rules=self._spec.rules)
            if number.reading is not Reading.READ:
                return None
            ends.append(number.value)
        return (ends[0], ends[1]) if ends[0] <= ends[1] else None

    def _scan(self, i: int, cell: str, hours: Hours) -> tuple[Reading, str, Evidence | Absence | None]:
        try:
            pixels = read_pixels(locate(cell, self._folder), longest_side=self._longest_side)
        except ImageError as error:
            return Reading.REFUSED, str(error), self.absence(i, str(error))
        except RecordError as error:
            raise RecordError(
                f'{self._companion.name} row {self._companion.rows[i]}, column "{self._spec.value}": {error}'
            ) from None
        return Reading.READ, "", Scan(at=hours, pixels=pixels, field_name=self.name(i))
