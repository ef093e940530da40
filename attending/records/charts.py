"""`Table` + `Schema` → charts: one per case, with everything that was left out counted and named.

Rows in = rows used + rows refused, and every cell of an input column ends in exactly one count of its tally. A value that
cannot be used becomes an `Absence` with its reason; under `strict` it is an error.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from attending.case import Absence, CaseId, Chart, Demographics, Evidence, GroupId, Identity, PatientId
from attending.records.cells import Cell, read_column
from attending.records.companions import Asker, complete_units, infer_companion, join_companion
from attending.records.error import RecordError, SchemaError
from attending.records.groups import widest_groups
from attending.records.schema import Column, Role, Schema
from attending.records.table import Table
from attending.records.targets import read_truth
from attending.records.times import read_moment
from attending.records.values import Tally, is_unknown, tally
from attending.records.vectors import gathered, of_one_length, shared


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A row that gave no case, and why."""

    file: str
    row: int
    column: str | None
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Records:
    """What a table gave. `rows[i]` are the row numbers behind `charts[i]`; `counts` a tally per input column over used rows.

    `reasons` count, per column, why values were not used. `missing` are input columns of the schema that the table lacks, and
    companions (`--labs`) that were not given: absent evidence for every case. `unread_labels` counts target cells with a value
    the schema does not list (unknown). `companions` are tallies over the rows of each companion, `companion_reasons` their
    reasons. `n_rows` are the rows of the table after its `where`, `n_read` those before. `schema` is the schema as used,
    with what the companions completed (units of codes): keep this one with a model.
    """

    charts: tuple[Chart, ...] = field(repr=False)
    rows: tuple[tuple[int, ...], ...] = field(repr=False)
    refused: tuple[Refused, ...]
    counts: Mapping[str, Tally]
    reasons: Mapping[str, Mapping[str, int]]
    missing: tuple[str, ...]
    unread_labels: Mapping[str, int]
    companions: Mapping[str, Tally]
    companion_reasons: Mapping[str, Mapping[str, int]]
    schema: Schema = field(repr=False)
    n_rows: int
    n_read: int
    where: str | None = None

    @property
    def n_rows_used(self) -> int:
        return sum(len(rows) for rows in self.rows)


_NONE: Mapping[str, Table] = MappingProxyType({})


def read_charts(
    table: Table,
    schema: Schema,
    *,
    folder: Path | None = None,
    companions: Mapping[str, Table] = _NONE,
    longest_side: int | None = None,
    is_strict: bool = False,
    needs_truth: bool = True,
) -> Records:
    """The charts of a table, with what its `companions` (labs, notes, images → table) hold of its cases.

    `folder` is the data folder that image paths are relative to and may not leave (default: the table's own). With
    `longest_side` larger pictures are shrunk to it. `is_strict` makes an undeclared unit or time, an absent input column and
    a value that cannot be read an error. Without `needs_truth` the target columns may be absent, as when predicting.
    """
    schema = with_companions(schema, companions)
    _check_columns(table, schema, companions, is_strict=is_strict, needs_truth=needs_truth)
    asked, ids, patients, refused = _who_and_when(table, schema)
    usable = [i for i in range(len(table)) if i not in refused]
    by_case = _rows_by_case(table, schema, ids, usable)
    truths, unread = _truths(table, schema)
    for case, rows in list(by_case.items()):
        clash = _clash(rows, patients, truths, asked)
        if clash:
            refused |= dict.fromkeys(rows, clash)
            del by_case[case]
    if not by_case:
        first = next(iter(refused.values()))
        raise RecordError(f"{table.name}: none of {len(table)} rows can be used; the first: {first[1]}")
    used = sorted(i for rows in by_case.values() for i in rows)
    groups = widest_groups(
        [patients[i] for i in used], [[table.cells(column.name)[i] for i in used] for column in schema.of(Role.GROUP)]
    )
    group_of = dict(zip(used, groups, strict=True))
    data = folder or table.path.parent
    read = _read_inputs(table, schema, asked=asked, rows=used, folder=data, longest_side=longest_side, is_strict=is_strict)
    position = {i: at for at, i in enumerate(used)}
    charts = []
    row_numbers = []
    text = _Texts(table, schema)
    askers = [Asker(names=text.identity(rows), asked_at=asked[rows[0]]) for rows in by_case.values()]
    joined = {
        spec.kind: join_companion(
            spec, companions[spec.kind], askers, look_back_hours=schema.look_back_hours, folder=data,
            longest_side=longest_side, is_strict=is_strict,
        )
        for spec in schema.companions
        if spec.kind in companions
    }  # fmt: skip
    for at, (case, rows) in enumerate(by_case.items()):
        cells = [read[name][position[i]] for i in rows for name in read]
        charts.append(
            Chart(
                id=CaseId(case),
                patient=PatientId(patients[rows[0]]),
                group=GroupId(group_of[rows[0]]),
                evidence=(
                    *_evidence(cells, is_joined=len(rows) > 1),
                    *(e for each in joined.values() for e in each.evidence[at]),
                ),
                truth=_merged_truth([truths[i] for i in rows]),
                site=text.site(rows),
                strata=text.strata(rows),
                absent=_absences(cells, [each.absent[at] for each in joined.values()]),
                identity=Identity(values=askers[at].names),
                asked_at=asked[rows[0]],
            )
        )
        row_numbers.append(tuple(int(table.rows[i]) for i in rows))
    return Records(
        charts=tuple(charts),
        rows=tuple(row_numbers),
        refused=tuple(
            Refused(file=table.name, row=int(table.rows[i]), column=column, reason=reason)
            for i, (column, reason) in sorted(refused.items())
        ),
        counts={name: tally(cell.reading for cell in cells) for name, cells in read.items()},
        reasons={name: _reasons(cells) for name, cells in read.items()},
        missing=(
            *_missing(table, schema),
            *(f"--{spec.kind}" for spec in schema.companions if spec.kind not in companions),
        ),
        unread_labels={name: sum(i in rows for i in used) for name, rows in unread.items() if rows},
        companions={kind: each.counts for kind, each in joined.items()},
        companion_reasons={kind: each.reasons for kind, each in joined.items()},
        schema=schema,
        n_rows=len(table),
        n_read=table.n_read,
        where=table.where,
    )


def _read_inputs(
    table: Table,
    schema: Schema,
    *,
    asked: Sequence[datetime | None],
    rows: Sequence[int],
    folder: Path,
    longest_side: int | None,
    is_strict: bool,
) -> dict[str, list[Cell]]:
    """What the cells of every input column that is there give, in the order of the schema."""

    def cells_of(table: Table, column: Column) -> list[Cell]:
        return read_column(
            table, schema, column, asked=asked, rows=rows, folder=folder, longest_side=longest_side, is_strict=is_strict
        )

    present = set(table.frame.columns)
    read: dict[str, list[Cell]] = {}
    for column in schema.inputs:
        if column.name in read or column.name not in present:
            continue
        if column.role is not Role.EMBEDDING:
            read[column.name] = cells_of(table, column)
            continue
        parts = schema.parts.get(column.field_name, (column,))
        wide, whole = gathered(table, parts) if len(parts) > 1 else (table, column)
        cells = of_one_length(cells_of(wide, whole), table=table, column=whole.field_name, rows=rows, is_strict=is_strict)
        read |= {name: held for name, held in shared(cells, parts).items() if name in present}
    return read


def _missing(table: Table, schema: Schema) -> list[str]:
    """Input columns that the table lacks; an embedding that lacks every column by its own name."""
    present = set(table.frame.columns)
    lacking = {column.name: column.name for column in schema.inputs if column.name not in present}
    for name, columns in schema.parts.items():
        if all(column.name in lacking for column in columns):
            lacking |= {column.name: name for column in columns}
    return list(dict.fromkeys(lacking.values()))


def with_companions(schema: Schema, companions: Mapping[str, Table]) -> Schema:
    """The schema with every companion given described: as it declares them, else by their columns' names."""
    described = {
        spec.kind: complete_units(spec, companions[spec.kind], schema) for spec in schema.companions if spec.kind in companions
    }
    described |= {kind: infer_companion(kind, table, schema) for kind, table in companions.items() if kind not in described}
    kept = [described.pop(spec.kind, spec) for spec in schema.companions]
    return replace(schema, companions=(*kept, *described.values()))


def _absences(cells: list[Cell], joined: Sequence[Sequence[Absence]]) -> tuple[Absence, ...]:
    return tuple(
        dict.fromkeys([*(absence for cell in cells for absence in cell.absent), *(a for each in joined for a in each)])
    )


def _check_columns(
    table: Table, schema: Schema, companions: Mapping[str, Table], *, is_strict: bool, needs_truth: bool
) -> None:
    for role in (Role.ID, Role.CASE, Role.PATIENT, Role.GROUP, Role.ASKED_AT):
        table.require([column.name for column in schema.of(role)], purpose=f"the {role.value}")
    if needs_truth:
        table.require([target.column for target in schema.targets], purpose="the target")
    if not is_strict:
        return
    table.require([column.name for column in schema.inputs], purpose="an input")
    for spec in schema.companions:
        if spec.kind not in companions:
            raise SchemaError(
                f"{table.name}: the schema declares the companion {spec.kind}, which was not given; "
                f"give it (--{spec.kind} FILE)"
            )
    undeclared = schema.undeclared()
    if undeclared:
        raise SchemaError(
            f"{table.name}: under --strict every unit and time is declared, found {len(undeclared)} that are not, first "
            f"{undeclared[0]}; declare them in the schema file"
        )


_RowReason = tuple[str | None, str]
"""Column and reason for which a row is refused."""


def _who_and_when(
    table: Table, schema: Schema
) -> tuple[list[datetime | None], list[str | None], list[str], dict[int, _RowReason]]:
    """Moment of the question, id and patient per row, and the rows that lack one."""
    refused: dict[int, _RowReason] = {}
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
) -> _RowReason | None:
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


def _merged_truth(truths: list[dict[str, bool]]) -> dict[str, bool]:
    return {finding: is_true for truth in truths for finding, is_true in truth.items()}


def _evidence(cells: list[Cell], *, is_joined: bool) -> tuple[Evidence, ...]:
    """All evidence of a case, the same thing said in two joined rows once, and age and sex as one."""
    evidence: list[Evidence] = []
    age = sex = None
    for cell in cells:
        evidence.extend(cell.evidence)
        age = age if cell.age_years is None else cell.age_years
        sex = sex if cell.sex is None else cell.sex
    # pictures and vectors compare by identity, so only notes, labs and signs can be said twice
    unique = list(dict.fromkeys(evidence)) if is_joined else evidence
    if age is not None or sex is not None:
        unique.append(Demographics(age_years=age, sex=sex))
    return tuple(unique)


def _reasons(cells: list[Cell]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for cell in cells:
        if cell.why:
            counts[cell.why] += 1
    return dict(counts)


class _Texts:
    """Site, strata and identity of a case, from the first of its rows that has them."""

    def __init__(self, table: Table, schema: Schema) -> None:
        present = set(table.frame.columns)

        def cells(*roles: Role) -> dict[str, list[str | None]]:
            return {
                column.name: table.cells(column.name) for role in roles for column in schema.of(role) if column.name in present
            }

        self._site = cells(Role.SITE)
        self._strata = cells(Role.VIEW, Role.STRATUM, Role.REFERENCE)
        self._identity = cells(Role.IDENTITY, Role.PATIENT, Role.ID, Role.CASE, Role.VISIT)

    def site(self, rows: list[int]) -> str | None:
        return next(iter(self._first(self._site, rows).values()), None)

    def strata(self, rows: list[int]) -> dict[str, str]:
        return self._first(self._strata, rows)

    def identity(self, rows: list[int]) -> dict[str, str]:
        return self._first(self._identity, rows)

    @staticmethod
    def _first(columns: Mapping[str, list[str | None]], rows: list[int]) -> dict[str, str]:
        found = {}
        for name, cells in columns.items():
            value = next((cell.strip() for cell in (cells[i] for i in rows) if cell is not None and not is_unknown(cell)), None)
            if value is not None:
                found[name] = value
        return found
