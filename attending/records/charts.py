"""`Table` + `Schema` → charts: one per case, with everything that was left out counted and named.

Rows in = rows used + rows refused, and every cell of an input column ends in exactly one count of its tally. A value that
cannot be used becomes an `Absence` with its reason; under `strict` it is an error.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from attending.case import Absence, CaseId, Chart, Demographics, Evidence, GroupId, Identity, Note, PatientId
from attending.records.cells import Cell, read_column
from attending.records.column import Column, Role
from attending.records.companions import Asker, Joined, complete_units, infer_companion, join_companion
from attending.records.error import SchemaError
from attending.records.groups import widest_groups
from attending.records.label_words import without_label_words
from attending.records.rows import Rows, choose_rows
from attending.records.schema import Schema
from attending.records.table import Table
from attending.records.values import Reading, Tally, is_unknown, tally
from attending.records.vectors import gathered, lengths, of_one_length, shared


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
    reasons, `companion_outcomes` what became of each row and why. `n_rows` are the rows of the table after its `where`,
    `n_read` those before. `schema` is the schema as used, with what the companions completed (units of codes): keep this one
    with a model.
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
    companion_outcomes: Mapping[str, Sequence[tuple[Reading, str]]] = field(repr=False)
    schema: Schema = field(repr=False)
    n_rows: int
    n_read: int
    where: str | None = None

    @property
    def n_rows_used(self) -> int:
        return sum(len(rows) for rows in self.rows)


_NONE: Mapping[str, Table] = MappingProxyType({})
_UNKNOWN_LENGTHS: Mapping[str, int] = MappingProxyType({})


def read_charts(
    table: Table,
    schema: Schema,
    *,
    folder: Path | None = None,
    companions: Mapping[str, Table] = _NONE,
    longest_side: int | None = None,
    is_strict: bool = False,
    needs_truth: bool = True,
    vector_lengths: Mapping[str, int] = _UNKNOWN_LENGTHS,
) -> Records:
    """The charts of a table, with what its `companions` (labs, notes, images → table) hold of its cases.

    `folder` is the data folder that image paths are relative to and may not leave (default: the table's own). With
    `longest_side` larger pictures are shrunk to it. `is_strict` makes an undeclared unit or time, an absent input column and
    a value that cannot be read an error. Without `needs_truth` the target columns may be absent, as when predicting.
    `vector_lengths` are those of embeddings where a larger table, of which this is a piece, has told them (`count_vectors`).
    """
    schema = with_companions(schema, companions)
    check_columns(table, schema, companions, is_strict=is_strict, needs_truth=needs_truth)
    rows = choose_rows(table, schema)
    data = folder or table.path.parent
    reader = _Inputs(table, schema, rows, folder=data, longest_side=longest_side, is_strict=is_strict)
    read = reader.read(vector_lengths)
    text = _Texts(table, schema)
    askers = [Asker(names=text.identity(own), asked_at=rows.asked[own[0]]) for own in rows.by_case.values()]
    joined = {
        spec.kind: join_companion(
            spec, companions[spec.kind], askers, look_back_hours=schema.look_back_hours, folder=data,
            longest_side=longest_side, is_strict=is_strict,
        )
        for spec in schema.companions
        if spec.kind in companions
    }  # fmt: skip
    return Records(
        charts=tuple(_charts(table, schema, rows, read=read, joined=tuple(joined.values()), text=text)),
        rows=tuple(tuple(int(table.rows[i]) for i in own) for own in rows.by_case.values()),
        refused=tuple(
            Refused(file=table.name, row=int(table.rows[i]), column=column, reason=reason)
            for i, (column, reason) in sorted(rows.refused.items())
        ),
        counts={name: tally(cell.reading for cell in cells) for name, cells in read.items()},
        reasons={name: _reasons(cells) for name, cells in read.items()},
        missing=(
            *_missing(table, schema),
            *(f"--{spec.kind}" for spec in schema.companions if spec.kind not in companions),
        ),
        unread_labels={name: sum(i in unread for i in rows.used) for name, unread in rows.unread.items() if unread},
        companions={kind: each.counts for kind, each in joined.items()},
        companion_reasons={kind: each.reasons for kind, each in joined.items()},
        companion_outcomes={kind: each.outcomes for kind, each in joined.items()},
        schema=schema,
        n_rows=len(table),
        n_read=table.n_read,
        where=table.where,
    )


def _charts(
    table: Table,
    schema: Schema,
    rows: Rows,
    *,
    read: Mapping[str, list[Cell]],
    joined: Sequence[Joined],
    text: "_Texts",
) -> Iterator[Chart]:
    """A chart per case, in the order of `rows.by_case`, with what each companion gave it."""
    whole = [table.cells(column.name) for column in schema.of(Role.GROUP)]
    wider = [[cells[i] for i in rows.used] for cells in whole]
    group_of = dict(zip(rows.used, widest_groups([rows.patients[i] for i in rows.used], wider), strict=True))
    position = {i: at for at, i in enumerate(rows.used)}
    for at, (case, own) in enumerate(rows.by_case.items()):
        cells = [read[name][position[i]] for i in own for name in read]
        beside = [e for each in joined for e in each.evidence[at]]
        yield Chart(
            id=CaseId(case),
            patient=PatientId(rows.patients[own[0]]),
            group=GroupId(group_of[own[0]]),
            evidence=_as_declared((*_evidence(cells, is_joined=len(own) > 1), *beside), schema),
            truth=_merged_truth([rows.truths[i] for i in own]),
            site=text.site(own),
            strata=text.strata(own),
            absent=_absences(cells, [each.absent[at] for each in joined]),
            identity=Identity(values=text.identity(own)),
            asked_at=rows.asked[own[0]],
        )


def _as_declared(evidence: tuple[Evidence, ...], schema: Schema) -> tuple[Evidence, ...]:
    """Notes without the words that name a finding, where the schema masks them."""
    if not schema.masks_label_words:
        return evidence
    return tuple(replace(e, text=without_label_words(e.text, schema)) if isinstance(e, Note) else e for e in evidence)


def count_vectors(table: Table, schema: Schema) -> Mapping[str, Counter[int]]:
    """How many vectors of each length every embedding of the table has."""
    inputs = _Inputs(table, schema, choose_rows(table, schema), folder=table.path.parent, longest_side=None, is_strict=False)
    return {
        name: Counter(n for n in lengths(cells) if n is not None)
        for name, parts in inputs.embeddings().items()
        for _, cells in [inputs.vectors(parts)]
    }


class _Inputs:
    """What the cells of every input column that is there give."""

    def __init__(
        self, table: Table, schema: Schema, rows: Rows, *, folder: Path, longest_side: int | None, is_strict: bool
    ) -> None:
        self._table, self._schema, self._rows = table, schema, rows
        self._folder, self._longest_side, self._is_strict = folder, longest_side, is_strict
        self._present = set(table.frame.columns)

    def read(self, vector_lengths: Mapping[str, int]) -> dict[str, list[Cell]]:
        """By column, in the order of the schema."""
        embeddings = self.embeddings()
        read: dict[str, list[Cell]] = {}
        for column in self._schema.inputs:
            if column.name in read or column.name not in self._present:
                continue
            if column.role is not Role.EMBEDDING:
                read[column.name] = self._cells(self._table, column)
                continue
            parts = embeddings[column.field_name]
            whole, cells = self.vectors(parts)
            alike = of_one_length(
                cells,
                table=self._table,
                column=whole.field_name,
                rows=self._rows.used,
                is_strict=self._is_strict,
                usual=vector_lengths.get(whole.field_name),
            )
            read |= {name: held for name, held in shared(alike, parts).items() if name in self._present}
        return read

    def embeddings(self) -> dict[str, tuple[Column, ...]]:
        """The columns of each embedding of which any is there."""
        parts = self._schema.parts
        present = (column for column in self._schema.of(Role.EMBEDDING) if column.name in self._present)
        return {column.field_name: parts.get(column.field_name, (column,)) for column in present}

    def vectors(self, parts: Sequence[Column]) -> tuple[Column, list[Cell]]:
        """An embedding as one column, and what its cells give, whatever their lengths."""
        wide, whole = gathered(self._table, parts) if len(parts) > 1 else (self._table, parts[0])
        return whole, self._cells(wide, whole)

    def _cells(self, table: Table, column: Column) -> list[Cell]:
        return read_column(
            table,
            self._schema,
            column,
            asked=self._rows.asked,
            rows=self._rows.used,
            folder=self._folder,
            longest_side=self._longest_side,
            is_strict=self._is_strict,
        )


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


def check_columns(table: Table, schema: Schema, companions: Mapping[str, Table], *, is_strict: bool, needs_truth: bool) -> None:
    """Raise `SchemaError` unless the columns are there that a reading by this schema cannot do without."""
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


def _merged_truth(truths: Sequence[Mapping[str, bool]]) -> dict[str, bool]:
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
        self._identity = cells(Role.IDENTITY, Role.PATIENT, Role.GROUP, Role.ID, Role.CASE, Role.VISIT)

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
