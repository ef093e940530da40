"""Taking patients in piece by piece: the cases of a table of any length, some hundred at a time, as `intake` gives them.

Ids of the whole table are looked at first, so a case has all of its rows however far they lie apart, and a patient's names are
known from all visits. Pieces may be asked for in any order; what a case holds does not depend on how the table is cut.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from attending.intake import LONGEST_SIDE, NO_COMPANIONS, Intake
from attending.privacy import Deidentified, deidentify, project_key
from attending.records import Schema, Table, read_charts, read_table, with_companions
from attending.records.case_plan import CasePlan, plan_cases
from attending.records.charts import check_columns, count_vectors
from attending.records.column import INPUTS, Role
from attending.records.companion_rows import CompanionRows, Outcome, outcomes_at
from attending.records.images import locate
from attending.records.paged import PagedTable


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Some cases of a table, and what became of those rows of each companion that are theirs."""

    intake: Intake
    companion_rows: Mapping[str, tuple[Outcome, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """A table whose cases are taken in when they are asked for. `schema` is complete with what the companions told."""

    plan: CasePlan
    schema: Schema = field(repr=False)
    companions: Mapping[str, CompanionRows] = field(repr=False)
    key: bytes = field(repr=False)
    is_strict: bool
    vector_lengths: Mapping[str, int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.plan)

    def films(self, start: int, stop: int) -> str:
        """A fingerprint of the picture files that these cases name: their paths, sizes and times of change, not their content.

        Empty where the schema knows no pictures. What lies outside the folder or is not there is told as such, and not refused.
        """
        columns = [c for c in self.schema.of(Role.IMAGE) if c.name in self.plan.table.columns]
        companion = self.companions.get("images")
        if not columns and companion is None:
            return ""
        table = self.plan.piece(start, stop)
        named = [
            reference
            for column in columns
            for cell in table.cells(column.name)
            for reference in ([cell] if column.separator is None else (cell or "").split(column.separator))
        ]
        if companion is not None:
            named += companion.take(companion.of(table)).cells(companion.spec.value)
        folder, digest = table.path.parent, hashlib.sha256()
        for reference in named:
            digest.update(f"{reference}\0{_stamp(reference, folder)}\0".encode())
        return digest.hexdigest()

    def take_in(self, start: int, stop: int) -> Piece:
        """The cases from `start` to before `stop`, in table order."""
        table = self.plan.piece(start, stop)
        rows = {kind: companion.of(table) for kind, companion in self.companions.items()}
        beside = {kind: companion.take(rows[kind]) for kind, companion in self.companions.items()}
        records = read_charts(
            table,
            self.schema,
            companions=beside,
            longest_side=LONGEST_SIDE,
            is_strict=self.is_strict,
            needs_truth=False,
            vector_lengths=self.vector_lengths,
        )
        n = len(records.charts)
        assert n == stop - start, f"{table.name}: {n} cases where {stop - start} were planned"
        visits = self.plan.other_visits(start, stop)
        # a note of one visit may hold names that only another visit's row gives
        others = () if visits is None else read_charts(visits, without_evidence(self.schema), needs_truth=False).charts
        whole = deidentify([*records.charts, *others], key=self.key)
        cases = Deidentified(cases=whole.cases[:n], manifest=whole.manifest, offsets=whole.offsets[:n])
        return Piece(
            intake=Intake(table=table, records=records, deidentified=cases, companions=beside),
            companion_rows={kind: outcomes_at(rows[kind], outcomes) for kind, outcomes in records.companion_outcomes.items()},
        )


def open_stream(
    table: PagedTable,
    schema: Schema,
    *,
    key_file: Path,
    where: str | None = None,
    companions: Mapping[str, Path | Table] = NO_COMPANIONS,
    is_strict: bool = False,
    piece: int = 1024,
) -> Stream:
    """The cases of a table by a model's schema; the target may be absent. `piece` cases are read at a time where all are.

    Raises `RecordError` for what can be told of the whole table: columns, ids, companions.
    """
    beside = {kind: one if isinstance(one, Table) else read_table(one) for kind, one in companions.items()}
    schema = with_companions(schema, beside)
    check_columns(table.header(), schema, beside, is_strict=is_strict, needs_truth=False)
    stream = Stream(
        plan=plan_cases(table, schema, where=where),
        schema=schema,
        companions={spec.kind: CompanionRows(spec, beside[spec.kind]) for spec in schema.companions if spec.kind in beside},
        key=project_key(key_file),
        is_strict=is_strict,
    )
    return replace(stream, vector_lengths=_vector_lengths(stream, piece)) if schema.of(Role.EMBEDDING) else stream


def without_evidence(schema: Schema) -> Schema:
    """The schema with nothing but who a row is of, and when."""
    return replace(schema, columns=tuple(c for c in schema.columns if c.role not in INPUTS), companions=())


def _vector_lengths(stream: Stream, piece: int) -> Mapping[str, int]:
    """The length that most vectors of each embedding have. Only the whole table knows it, so it is read once for that."""
    kept = tuple(c for c in stream.schema.columns if c.role not in INPUTS or c.role is Role.EMBEDDING)
    schema = replace(stream.schema, columns=kept, companions=())
    counts: dict[str, Counter[int]] = {}
    for start in range(0, len(stream), piece):
        for name, found in count_vectors(stream.plan.piece(start, min(start + piece, len(stream))), schema).items():
            counts.setdefault(name, Counter()).update(found)
    return {name: count.most_common(1)[0][0] for name, count in counts.items() if count}


def _stamp(reference: str | None, folder: Path) -> str:
    """Size and time of change of the file that a cell names."""
    if reference is None or not reference.strip():
        return ""
    try:
        found = locate(reference, folder).stat()
    except (OSError, ValueError):  # reading the case says what is wrong with it
        return "none"
    return f"{found.st_size} {found.st_mtime_ns}"
