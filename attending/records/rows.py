"""Which rows of a table make which case, and why the others make none.

Asked by `charts` before any evidence is read: ids, patients, the moment of the question and the recorded truth.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from attending.records.column import Role
from attending.records.error import RecordError
from attending.records.schema import Schema
from attending.records.table import Table
from attending.records.targets import read_truth
from attending.records.times import read_moment

RowReason = tuple[str | None, str]
"""Column and reason for which a row is refused."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Which rows of the table make which case, and why the others make none. Lists go by row of the table."""

    asked: Sequence[datetime | None]
    patients: Sequence[str]
    truths: Sequence[Mapping[str, bool]]
    unread: Mapping[str, set[int]]
    by_case: Mapping[str, list[int]]
    refused: Mapping[int, RowReason]
    used: Sequence[int]


def choose_rows(table: Table, schema: Schema) -> Rows:
    """As `sort_rows`. Raises `RecordError` where no row is left."""
    rows = sort_rows(table, schema)
    if not rows.by_case:
        raise nobody(table.name, len(table), next(iter(rows.refused.values()))[1])
    return rows


def nobody(name: str, n_rows: int, why: str) -> RecordError:
    """What to raise where no row of a table can be used; `why` is the reason of the first."""
    return RecordError(f"{name}: none of {n_rows} rows can be used; the first: {why}")


def sort_rows(table: Table, schema: Schema) -> Rows:
    """Which rows make which case. Raises `RecordError` where an id that names one row stands in two."""
    asked, ids, patients, refused = who_and_when(table, schema)
    by_case = _rows_by_case(table, schema, ids, [i for i in range(len(table)) if i not in refused])
    truths, unread = _truths(table, schema)
    for case, rows in list(by_case.items()):
        clash = _clash(rows, patients, truths, asked)
        if clash:
            refused |= dict.fromkeys(rows, clash)
            del by_case[case]
    used = sorted(i for rows in by_case.values() for i in rows)
    return Rows(asked=asked, patients=patients, truths=truths, unread=unread, by_case=by_case, refused=refused, used=used)


def who_and_when(
    table: Table, schema: Schema
) -> tuple[list[datetime | None], list[str | None], list[str], dict[int, RowReason]]:
    """Moment of the question, id and patient per row, and the rows that lack one."""
    refused: dict[int, RowReason] = {}
    n = len(table)

    def required(role: Role) -> list[str | None] | None:
        column = schema.one(role)
        if column is None:
            return None
        cells = [None if cell is None else cell.strip() for cell in table.cells(column.name)]
        for i, cell in enumerate(cells):
            if cell is None:
                refused.setdefault(i, (column.name, f'column "{column.name}" ({role.value}) is blank'))
        return cells

    patients = required(Role.PATIENT) or [f"row {row}" for row in table.rows]
    ids = required(Role.CASE) or required(Role.ID) or [f"row {row}" for row in table.rows]
    asked: list[datetime | None] = [None] * n
    column = schema.one(Role.ASKED_AT)
    if column is not None:
        asked = [None if cell is None else read_moment(cell) for cell in table.cells(column.name)]
        needs_moment = any(each.unit == "datetime" for each in schema.of(Role.TIME)) or schema.companions
        for i, moment in enumerate(asked):
            if moment is None and needs_moment:
                refused.setdefault(
                    i, (column.name, f'column "{column.name}" is not a readable moment (expected 2020-03-01 14:30)')
                )
    return asked, ids, [patient or "" for patient in patients], refused


def _rows_by_case(table: Table, schema: Schema, ids: list[str | None], usable: Sequence[int]) -> dict[str, list[int]]:
    by_case: dict[str, list[int]] = defaultdict(list)
    for i in usable:
        by_case[ids[i] or ""].append(i)
    column = schema.one(Role.ID)
    if column is not None and schema.one(Role.CASE) is None:
        for rows in by_case.values():
            if len(rows) > 1:
                raise RecordError(
                    f'{table.name} row {table.rows[rows[1]]}, column "{column.name}": the id already stands in row '
                    f"{table.rows[rows[0]]}, expected one row per id; mend the id, or give the column the role "
                    f'"{Role.CASE.value}" in the schema if rows that share it are one case'
                )
    return dict(by_case)


def _truths(table: Table, schema: Schema) -> tuple[list[dict[str, bool]], dict[str, set[int]]]:
    truths: list[dict[str, bool]] = [{} for _ in range(len(table))]
    unread: dict[str, set[int]] = {}
    for target in schema.targets:
        if target.column not in table.frame.columns:
            continue
        unread[target.column] = set()
        seen: dict[str | None, Mapping[str, bool] | None] = {}
        for i, cell in enumerate(table.cells(target.column)):
            if cell not in seen:
                seen[cell] = read_truth(target, cell)
            truth = seen[cell]
            if truth is None:
                unread[target.column].add(i)
            else:
                truths[i].update(truth)
    return truths, unread


def _clash(
    rows: list[int], patients: list[str], truths: list[dict[str, bool]], asked: Sequence[datetime | None]
) -> RowReason | None:
    """Why joined rows cannot be one case, or None."""
    if len({patients[i] for i in rows}) > 1:
        return None, "rows of one case name different patients"
    if len({asked[i] for i in rows} - {None}) > 1:  # what was known at the later moment may not answer the earlier question
        return None, "rows of one case name different prediction times"
    if len(rows) > 1:
        for finding in {name for i in rows for name in truths[i]}:
            if len({truths[i][finding] for i in rows if finding in truths[i]}) > 1:
                return finding, "rows of one case disagree on the target"
    return None
