"""Embeddings computed elsewhere: one list a cell, or one number a column (`emb_0`, `emb_1`, …), which are gathered to lists.

Only the gathering and what makes vectors comparable; `cells` reads a list. The columns of one embedding share their `code`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from attending.case import Absence, Embedding
from attending.records import names
from attending.records.cells import Cell
from attending.records.column import Column, Role
from attending.records.error import RecordError
from attending.records.table import Table
from attending.records.values import Reading, ValueRules, is_unknown, read_number

_NUMBERED = re.compile(r"(.*?)[_\-. ]?(\d+)")


def numbered_columns(table: Table) -> Mapping[str, tuple[str, ...]]:
    """Name of an embedding → its columns in order: those whose names speak of one and count on from 0 or 1 without a gap.

    Every filled cell is a number. A single column is no embedding.
    """
    found: dict[str, dict[int, str]] = {}
    for name in table.frame.columns:
        match = _NUMBERED.fullmatch(name)
        if match and match[1] and names.has_word(match[1], names.EMBEDDING):
            found.setdefault(match[1], {})[int(match[2])] = name
    gathered = {stem: tuple(columns[at] for at in sorted(columns)) for stem, columns in found.items() if _counts_on(columns)}
    return {stem: columns for stem, columns in gathered.items() if all(_is_numeric(table, name) for name in columns)}


def _counts_on(columns: Iterable[int]) -> bool:
    numbers = sorted(columns)
    return len(numbers) > 1 and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _is_numeric(table: Table, name: str) -> bool:
    cells = {cell for cell in table.cells(name) if cell is not None and not is_unknown(cell)}
    rules = (ValueRules(), ValueRules(decimal="comma"))
    return any(all(read_number(cell, rule).reading is Reading.READ for cell in cells) for rule in rules)


def gathered(table: Table, columns: Sequence[Column]) -> tuple[Table, Column]:
    """The table with one column of lists more, and that column: what `columns`, the parts of one embedding, hold together.

    A row in which every part is blank or unknown has no list; a part that is not there makes an unreadable one.
    """
    first = columns[0]
    name = first.field_name
    while name in table.frame.columns:
        name += " "
    present = set(table.frame.columns)
    nothing = [None] * len(table)
    parts = [table.cells(column.name) if column.name in present else nothing for column in columns]
    lists = []
    for row in zip(*parts, strict=True):
        known = ["" if cell is None or is_unknown(cell) else cell.strip() for cell in row]
        if first.rules.decimal == "comma":
            known = [cell.replace(",", ".") for cell in known]
        lists.append(";".join(known) if any(known) else None)
    frame = table.frame.with_columns(pl.Series(name, lists, dtype=pl.String))
    return replace(table, frame=frame), replace(first, name=name, code=first.field_name)


def shared(cells: Sequence[Cell], columns: Sequence[Column]) -> Mapping[str, list[Cell]]:
    """What each part of an embedding gave: the first carries the evidence and the reasons, the others the same readings."""
    first, *rest = columns
    return {first.name: list(cells)} | {column.name: [Cell(cell.reading) for cell in cells] for column in rest}


def lengths(cells: Sequence[Cell]) -> list[int | None]:
    """How many numbers the vector of each cell has, None where there is none."""
    return [next((len(e.vector) for e in cell.evidence if isinstance(e, Embedding)), None) for cell in cells]


def of_one_length(
    cells: Sequence[Cell], *, table: Table, column: str, rows: Sequence[int], is_strict: bool, usual: int | None
) -> list[Cell]:
    """The cells, without vectors of another length than most have: one encoder gives one length.

    `usual` is that length where it is known, None to ask these cells. Under `is_strict` the first of those raises
    `RecordError`.
    """
    found = lengths(cells)
    if usual is None:
        usual = next(iter(Counter(length for length in found if length is not None).most_common(1)), (None, 0))[0]
    kept = []
    for at, (cell, length) in enumerate(zip(cells, found, strict=True)):
        if length in (None, usual):
            kept.append(cell)
            continue
        why = f"a vector of {length} numbers, where most have {usual}"
        if is_strict:
            raise RecordError(
                f'{table.name} row {table.rows[rows[at]]}, column "{column}" ({Role.EMBEDDING.value}): {why}; '
                "compute it with the same encoder, or blank the cell"
            )
        kept.append(Cell(Reading.REFUSED, absent=(Absence(kind=Embedding, name=column, reason=why),), why=why))
    return kept
