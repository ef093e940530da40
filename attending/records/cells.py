"""One input column → what each of its cells gives: evidence, or the reason why none.

The readers by role; `charts` puts their cells together. A cell is read at its own time, and what is later than the question
or before the look-back window is left out and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from attending.case import UNSTATED as UNSTATED_UNIT
from attending.case import Absence, Embedding, Evidence, Hours, Lab, Note, Scan, Sign, Unit
from attending.records.column import AT_QUESTION, UNRECORDED_TIME, UNSTATED, Column, Role, ValueRules
from attending.records.error import RecordError
from attending.records.images import ImageError, locate, read_pixels
from attending.records.kinds import read_vector
from attending.records.schema import Schema
from attending.records.table import Table
from attending.records.times import hours_of
from attending.records.units import UnitError, canonical, convert
from attending.records.values import Number, Reading, is_unknown, looks_like_unit, read_number, refuse_other_marks

_SEX = {"m": "male", "male": "male", "man": "male", "boy": "male", "männlich": "male", "f": "female", "female": "female",
        "woman": "female", "girl": "female", "w": "female", "weiblich": "female"}  # fmt: skip
OLDEST_YEARS = 130.0


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell gave. `why` is a reason without the cell's content."""

    reading: Reading
    evidence: tuple[Evidence, ...] = ()
    absent: tuple[Absence, ...] = ()
    age_years: float | None = None
    sex: str | None = None
    why: str = ""


_BLANK = Cell(Reading.BLANK)
_UNKNOWN = Cell(Reading.UNKNOWN)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """Where a column is read from, for its readers."""

    table: Table
    column: Column
    rows: Sequence[int]
    at: list["Hours | str"]  # hours per row, or the reason why the time is not known
    folder: Path
    longest_side: int | None
    views: list[str | None] | None
    unit_cells: list[str | None] | None

    def refuse(self, kind: type[Evidence], why: str, reading: Reading = Reading.REFUSED) -> Cell:
        return Cell(reading, absent=(Absence(kind=kind, name=self.column.field_name, reason=why),), why=why)


def read_column(
    table: Table,
    schema: Schema,
    column: Column,
    *,
    asked: Sequence[datetime | None],
    rows: Sequence[int],
    folder: Path,
    longest_side: int | None,
    is_strict: bool,
) -> list[Cell]:
    """A `Cell` for each of `rows`. Under `is_strict` a cell that cannot be read raises `RecordError` with its place."""
    view = next((each for each in schema.of(Role.VIEW) if each.name in table.frame.columns), None)
    source = _Source(
        table=table,
        column=column,
        rows=rows,
        at=_hours(table, schema, column, asked),
        folder=folder,
        longest_side=longest_side,
        views=table.cells(view.name) if view else None,
        unit_cells=_unit_cells(table, column),
    )
    raw = table.cells(column.name)
    if column.role in (Role.NUMBER, Role.AGE):
        refuse_other_marks((raw[i] for i in rows), column.rules.decimal, place=table.place(column.name))
    read = _READERS[column.role]
    result = []
    # evidence is frozen, so equal cells at one time with one unit may share it: most signs and many numbers repeat
    seen: dict[tuple[str, Hours | str, str | None], Cell] = {}
    is_repeatable = column.role in (Role.NUMBER, Role.SIGN, Role.AGE, Role.SEX)
    for i in rows:
        cell = raw[i]
        if cell is None:
            result.append(_BLANK)
            continue
        key = (cell, source.at[i], None if source.unit_cells is None else source.unit_cells[i])
        known = seen.get(key) if is_repeatable else None
        if known is not None:
            result.append(known)
            continue
        try:
            found = read(source, i, cell)
        except UnitError as error:
            raise UnitError(
                f'{table.name} row {table.rows[i]}, column "{column.unit_column or column.name}": {error} Mend the unit, or '
                f'have such values left out and counted: rules = {{ misfit = "refused" }} of "{column.name}" in the schema'
            ) from None
        if found.evidence:  # also of a cell with one film to read and one that cannot be
            found = _within_window(source, found, i, schema.look_back_hours)
        if is_strict and found.reading is Reading.REFUSED:
            raise RecordError(
                f'{table.name} row {table.rows[i]}, column "{column.name}" ({column.role.value}): {found.why}; '
                "mend the cell, give the column a rule in the schema, or read without --strict"
            )
        if is_repeatable:
            seen[key] = found
        result.append(found)
    return result


def _unit_cells(table: Table, column: Column) -> list[str | None] | None:
    """The unit beside every value; all blank, so that every value is refused, where the unit column is missing."""
    if column.unit_column is None:
        return None
    return table.cells(column.unit_column) if column.unit_column in table.frame.columns else [None] * len(table)


def _hours(table: Table, schema: Schema, column: Column, asked: Sequence[datetime | None]) -> "list[Hours | str]":
    """Hours relative to the question for every row of the table, or why they are not known."""
    if column.time in (None, AT_QUESTION, UNRECORDED_TIME):
        return [0.0] * len(table)
    time = schema.column(str(column.time))
    if time.name not in table.frame.columns:
        return [f'its time column "{time.name}" is missing'] * len(table)
    cells = table.cells(time.name)
    unit = time.unit or "h"
    return [hours_of(cell, unit=unit, asked_at=at, column=time.name) for cell, at in zip(cells, asked, strict=True)]


def _within_window(source: _Source, cell: Cell, i: int, look_back: Hours | None) -> Cell:
    at = source.at[i]
    kind = type(cell.evidence[0])
    if isinstance(at, str):
        return source.refuse(kind, at)
    if look_back is not None and at < -look_back:
        return source.refuse(kind, f"before the look-back window of {look_back:g} hours", Reading.EARLY)
    return cell


def _late(source: _Source, kind: type[Evidence]) -> Cell:
    return source.refuse(kind, "later than the question", Reading.LATE)


def _at(source: _Source, i: int) -> "Hours | None":
    """Hours of a row, 0 where the time is not known (the caller refuses those), None where later than the question."""
    at = source.at[i]
    if isinstance(at, str):
        return 0.0
    return at if at <= 0.0 else None


def _read_lab(source: _Source, i: int, cell: str) -> Cell:
    column = source.column
    unit = None if column.unit in (None, UNSTATED) else column.unit
    number = read_number(cell, column.rules, unit=unit, code=column.field_name)
    if number.reading in (Reading.BLANK, Reading.UNKNOWN):
        return _UNKNOWN
    if number.reading is Reading.REFUSED:
        return source.refuse(Lab, number.why)
    at = _at(source, i)
    if at is None:
        return _late(source, Lab)
    if source.unit_cells is not None:
        number = in_unit(number, source.unit_cells[i], unit, code=column.field_name, rules=column.rules)
        if number.reading is Reading.REFUSED:
            return source.refuse(Lab, number.why)
    held = Unit(unit) if unit else UNSTATED_UNIT
    lab = Lab(at=at, code=column.field_name, value=number.value, unit=held, censoring=number.censoring)
    return Cell(number.reading, (lab,))


def in_unit(number: Number, found: str | None, expected: str | None, *, code: str, rules: ValueRules) -> Number:
    """The number converted from the unit beside it, or refused with the reason where that unit is blank.

    `expected` None is a column held in no unit, beside which none may stand. Raises `UnitError` for a unit that does not
    fit, unless the rules have it refused and counted.
    """
    if found is None or is_unknown(found):
        return number if expected is None else Number(Reading.REFUSED, why="its unit is blank")
    try:
        if expected is None:
            raise UnitError(f'found unit "{found}", and nothing says in which unit "{code}" is held; declare it in the schema.')
        return Number(number.reading, convert(number.value, found, expected, code=code))
    except UnitError as error:
        why = str(error) if looks_like_unit(found) else "what stands for its unit is none."
        if rules.misfit == "error":
            raise UnitError(why) from None
        return Number(Reading.REFUSED, why=why)


def _read_sign(source: _Source, i: int, cell: str) -> Cell:
    text = cell.strip()
    if text not in source.column.levels:
        if is_unknown(text):
            return _UNKNOWN
        text = next((level for level in source.column.levels if level.lower() == text.lower()), "")
        if not text:
            return source.refuse(Sign, f"a value that is not one of the {len(source.column.levels)} levels of the schema")
    at = _at(source, i)
    if at is None:
        return _late(source, Sign)
    return Cell(Reading.READ, (Sign(at=at, name=source.column.field_name, value=text, levels=source.column.levels),))


def _read_note(source: _Source, i: int, cell: str) -> Cell:
    at = _at(source, i)
    if at is None:
        return _late(source, Note)
    separator = source.column.separator
    texts = [cell] if separator is None else [part for part in cell.split(separator) if part.strip()]
    return Cell(Reading.READ, tuple(Note(at=at, text=text, field_name=source.column.field_name) for text in texts))


def _read_image(source: _Source, i: int, cell: str) -> Cell:
    if is_unknown(cell):
        return _UNKNOWN
    at = _at(source, i)
    if at is None:
        return _late(source, Scan)
    name, separator = source.column.field_name, source.column.separator
    scans: list[Evidence] = []
    absent = []
    view = None if source.views is None or source.views[i] is None or is_unknown(str(source.views[i])) else source.views[i]
    references = [cell] if separator is None else [part for part in cell.split(separator) if part.strip()]
    if not references:
        return _BLANK
    for reference in references:
        try:
            pixels = read_pixels(locate(reference, source.folder), longest_side=source.longest_side)
        except ImageError as error:
            absent.append(Absence(kind=Scan, name=name, reason=str(error)))
        except RecordError as error:
            raise RecordError(
                f'{source.table.name} row {source.table.rows[i]}, column "{source.column.name}": {error}'
            ) from None
        else:
            scans.append(Scan(at=at, pixels=pixels, field_name=name, view=view))
    why = absent[0].reason if absent else ""
    return Cell(Reading.READ if scans and not absent else Reading.REFUSED, tuple(scans), tuple(absent), why=why)


def _read_embedding(source: _Source, i: int, cell: str) -> Cell:
    at = _at(source, i)
    if at is None:
        return _late(source, Embedding)
    vector = np.asarray(read_vector(cell) or [], dtype=np.float32)
    if not vector.size or not np.isfinite(vector).all():
        return source.refuse(Embedding, "not a full list of finite numbers")
    return Cell(Reading.READ, (Embedding(at=at, name=source.column.field_name, vector=vector),))


def _read_age(source: _Source, _row: int, cell: str) -> Cell:
    number = read_number(cell, source.column.rules)
    if number.reading is Reading.UNKNOWN:
        return _UNKNOWN
    if number.reading is Reading.REFUSED:
        return Cell(Reading.REFUSED, why=number.why)
    years = (
        number.value if canonical(source.column.unit or "a") == "a" else convert(number.value, source.column.unit or "a", "a")
    )
    if not 0.0 <= years <= OLDEST_YEARS:
        return Cell(Reading.REFUSED, why=f"an age outside 0 to {OLDEST_YEARS:g} years")
    return Cell(number.reading, age_years=years)


def _read_sex(source: _Source, _row: int, cell: str) -> Cell:
    text = cell.strip()
    if is_unknown(text):
        return _UNKNOWN
    sex, levels = sex_of(text), {sex_of(level) for level in source.column.levels}
    if levels and sex not in levels:
        return Cell(Reading.REFUSED, why=f"a value that is not one of the {len(levels)} levels of the schema")
    return Cell(Reading.READ, sex=sex)


def sex_of(text: str) -> str:
    """`female` or `male` for the words that mean it; any other text in lower case."""
    word = text.strip().lower()
    return _SEX.get(word, word)


_READERS: dict[Role, Callable[[_Source, int, str], Cell]] = {
    Role.NUMBER: _read_lab,
    Role.SIGN: _read_sign,
    Role.NOTE: _read_note,
    Role.IMAGE: _read_image,
    Role.EMBEDDING: _read_embedding,
    Role.AGE: _read_age,
    Role.SEX: _read_sex,
}
