"""Which rows of a table that stays on disk make which case, found from ids alone, so that evidence can be read case by case.

The whole table is asked what only the whole table knows: ids that stand twice, rows of one case that lie apart or do not fit
together, other visits of a patient. Held are some forty bytes a row. What is a case is told by `rows`, as for whole tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from attending.records.charts import Refused
from attending.records.column import Role
from attending.records.paged import BATCH, PagedTable
from attending.records.rows import RowReason, choose_rows, nobody, sort_rows, who_and_when
from attending.records.schema import Schema
from attending.records.table import Table

NAMING = (Role.ID, Role.CASE, Role.PATIENT, Role.GROUP, Role.VISIT, Role.IDENTITY, Role.ASKED_AT, Role.TARGET)
"""Roles of the columns that say which case a row is of, and whose."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CasePlan:
    """The cases of a table, in the order of their first rows.

    `rows` are positions in the table, the rows of case i from `starts[i]` to `starts[i + 1]`; `patient` numbers each case's.
    `n_rows` are the rows after `where`: those of all cases and those `refused`.
    """

    table: PagedTable
    naming: tuple[str, ...]
    rows: Int[np.ndarray, " used"] = field(repr=False)
    starts: Int[np.ndarray, " bound"] = field(repr=False)
    patient: Int[np.ndarray, " case"] = field(repr=False)
    refused: tuple[Refused, ...]
    n_rows: int

    def __len__(self) -> int:
        return len(self.patient)

    def piece(self, start: int, stop: int) -> Table:
        """All rows of the cases from `start` to before `stop`, in the order of the file."""
        return self.table.take(np.sort(self.rows[self.starts[start] : self.starts[stop]]))

    def other_visits(self, start: int, stop: int) -> Table | None:
        """The rows of all other cases of those patients, without evidence: who they are. None where there are none."""
        alike = np.flatnonzero(np.isin(self.patient, self.patient[start:stop]))
        others = alike[(alike < start) | (alike >= stop)]
        if not len(others):
            return None
        at = np.concatenate([self.rows[self.starts[case] : self.starts[case + 1]] for case in others])
        return self.table.take(np.sort(at), self.naming)


def plan_cases(table: PagedTable, schema: Schema, *, where: str | None = None) -> CasePlan:
    """Reads the ids of all rows that `where` keeps.

    Raises `RecordError` where no row can be used, and where an id that names one row stands in two.
    """
    kept = np.zeros(len(table), dtype=bool)
    kept[table.where(where)] = True
    naming = tuple(dict.fromkeys(c.name for role in NAMING for c in schema.of(role) if c.name in table.columns))
    naming = naming or table.columns[:1]  # each row a person: rows are counted by any column
    positions, cases, patients, refused = _names(table, schema, naming, kept)
    number, patient = _numbered(cases), _numbered(patients)
    order = np.argsort(number, kind="stable")
    rows, starts = positions[order], np.append(0, np.cumsum(np.bincount(number)))
    first = patient[order][starts[:-1]]
    clashes = _clashes(table, schema, naming, rows, starts)
    refused |= clashes
    stays = ~np.isin(rows, np.fromiter(clashes, dtype=np.int64, count=len(clashes)))
    lengths = np.diff(starts)[stays[starts[:-1]]]
    n_rows = int(kept.sum())
    if not len(lengths):
        raise nobody(table.name, n_rows, refused[min(refused)][1])
    return CasePlan(
        table=table,
        naming=naming,
        rows=rows[stays],
        starts=np.append(0, np.cumsum(lengths)),
        patient=first[stays[starts[:-1]]],
        refused=_told(table, refused),
        n_rows=n_rows,
    )


def _names(
    table: PagedTable, schema: Schema, naming: Sequence[str], kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, RowReason]]:
    """Position, case and patient of every row that has them, names as 64-bit hashes, and why the other rows have none.

    Equal names have equal hashes, so nothing that belongs together parts; two names in 10¹⁹ share one by chance.
    """
    found: list[np.ndarray] = []
    refused: dict[int, RowReason] = {}
    for at, batch in table.batches(naming):
        _, ids, patients, reasons = who_and_when(batch, schema)
        refused |= {int(at[i]): reason for i, reason in reasons.items() if kept[at[i]]}
        usable = [i for i in range(len(batch)) if i not in reasons and kept[at[i]]]
        named = [(int(at[i]), hash(ids[i]), hash(patients[i])) for i in usable]
        found.append(np.array(named, dtype=np.int64).reshape(-1, 3))
    positions, cases, people = np.concatenate(found).T
    return positions, cases, people, refused


def _numbered(names: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """Names as numbers from 0, in the order in which they first appear."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _clashes(
    table: PagedTable, schema: Schema, naming: Sequence[str], rows: np.ndarray, starts: np.ndarray
) -> dict[int, RowReason]:
    """Why rows that name one case cannot be one, by position. Cases of several rows are read some thousand rows at a time."""
    several = np.flatnonzero(np.diff(starts) > 1)
    if not len(several):
        return {}
    if schema.one(Role.CASE) is None:  # an id names one row: the first that stands twice is refused with its place
        choose_rows(table.take(np.sort(rows[starts[several[0]] : starts[several[0] + 1]]), naming), schema)
    refused: dict[int, RowReason] = {}
    n_before = np.append(0, np.cumsum(np.diff(starts)[several]))
    for part in np.split(several, np.flatnonzero(np.diff(n_before[:-1] // BATCH)) + 1):
        at = np.sort(np.concatenate([rows[starts[case] : starts[case + 1]] for case in part]))
        refused |= {int(at[i]): reason for i, reason in sort_rows(table.take(at, naming), schema).refused.items()}
    return refused


def _told(table: PagedTable, refused: Mapping[int, RowReason]) -> tuple[Refused, ...]:
    numbers = table.take(np.array(sorted(refused), dtype=np.int64), table.columns[:1]).rows
    return tuple(
        Refused(file=table.name, row=int(number), column=column, reason=reason)
        for number, (_, (column, reason)) in zip(numbers, sorted(refused.items()), strict=True)
    )
