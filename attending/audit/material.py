"""What the audit looks at: a table, what was declared about it, its charts and its protocol, on the identified side.

After privacy the ids, paths, raw columns and times that most traps live in are gone. Cells are looked at per case; a case of
several rows shows its first filled cell.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.case import Chart
from attending.cohort import Protocol
from attending.evaluation.sharing import FEWEST as FEWEST_TOLD
from attending.records import Companion, Records, Schema, Table

FEWEST = 10
"""Groups with and groups without a finding from which on anything is said about what predicts it."""
WHITE, MOSTLY_WHITE = 0.998, 0.3
"""From this brightness on a pixel is saturated, and a film of which at least this share is saturated shows little."""

PARTS = ("train", "test", "tune", "calibrate")


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """One finding over the cases whose truth is known: their indices, and whether they have it."""

    finding: str
    cases: Int[np.ndarray, " known"]
    is_event: Bool[np.ndarray, " known"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """`records` are the charts of `table`, read with its `companions`; `protocol` is None before one was planned, and speaks
    of cases by the table's own ids.
    """

    table: Table = field(repr=False)
    records: Records = field(repr=False)
    companions: Mapping[str, Table] = field(default_factory=dict, repr=False)
    protocol: Protocol | None = None

    @property
    def schema(self) -> Schema:
        """The schema as used."""
        return self.records.schema

    @property
    def charts(self) -> tuple[Chart, ...]:
        """The cases, in table order."""
        return self.records.charts

    @property
    def folder(self) -> Path:
        """What image paths are relative to."""
        return self.table.path.parent

    def __len__(self) -> int:
        return len(self.charts)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The table's own id of each case."""
        return tuple(str(chart.id) for chart in self.charts)

    @cached_property
    def rounds(self) -> Int[np.ndarray, "round case"]:
        """Which of `PARTS` each case is in, in each round of the protocol; −1: in none. No protocol: no rounds."""
        if self.protocol is None:
            return np.full((0, len(self)), -1)
        if self.protocol.split is not None:
            told: list[Mapping[str, int]] = [{id: PARTS.index(part) for id, part in self.protocol.split.parts.items()}]
        else:
            told = [dict.fromkeys(fold.train, 0) | dict.fromkeys(fold.test, 1) for fold in self.protocol.folds]
        return np.array([[parts.get(id, -1) for id in self.ids] for parts in told])

    def n_parted(self, pairs: Iterable[tuple[int, int]]) -> int:
        """How many pairs of cases lie in different parts in any round."""
        rounds = self.rounds
        return sum(bool(((rounds[:, a] != rounds[:, b]) & (rounds[:, a] >= 0) & (rounds[:, b] >= 0)).any()) for a, b in pairs)

    @cached_property
    def has_truth(self) -> Bool[np.ndarray, " case"]:
        """Whether any finding is known of a case."""
        return np.array([bool(chart.truth) for chart in self.charts], dtype=bool)

    @cached_property
    def patients(self) -> Int[np.ndarray, " case"]:
        """Number of each case's patient."""
        return np.unique([str(chart.patient) for chart in self.charts], return_inverse=True)[1]

    @cached_property
    def groups(self) -> Int[np.ndarray, " case"]:
        """Number of each case's widest group."""
        return np.unique([str(chart.group) for chart in self.charts], return_inverse=True)[1]

    @cached_property
    def weights(self) -> Float[np.ndarray, " case"]:
        """1 / (number of cases of the patient)."""
        return 1.0 / np.bincount(self.patients)[self.patients]

    def cells(self, column: str) -> list[str | None]:
        """A column's cell of each case, stripped; None for blank. All None where the table lacks the column."""
        if column not in self.table.frame.columns:
            return [None] * len(self)
        cells = self.table.cells(column)
        found: list[str | None] = []
        for rows in self._positions:
            filled = (cells[at] for at in rows)
            cell = next((cell for cell in filled if cell is not None), None)
            found.append(None if cell is None else cell.strip())
        return found

    @cached_property
    def _positions(self) -> tuple[tuple[int, ...], ...]:
        """Positions in the table of the rows behind each case."""
        at = {int(row): position for position, row in enumerate(self.table.rows)}
        return tuple(tuple(at[row] for row in rows) for rows in self.records.rows)

    @cached_property
    def truths(self) -> tuple[Truth, ...]:
        """The findings with at least `FEWEST` groups of either class: only of these can be said what predicts them."""
        return tuple(truth for truth in self.all_truths if self._fewest(truth) >= FEWEST)

    @cached_property
    def any_truth(self) -> tuple[Truth, ...]:
        """Whether a case has any finding at all, where there are several and all are known; empty where it is too rare."""
        findings = self.schema.findings
        if len(findings) < 2 or self.schema.exclusive:
            return ()
        cases = np.array([at for at, chart in enumerate(self.charts) if all(f in chart.truth for f in findings)], dtype=int)
        is_event = np.array([any(self.charts[at].truth[f] for f in findings) for at in cases], dtype=bool)
        truth = Truth(finding="any finding", cases=cases, is_event=is_event)
        return (truth,) if len(cases) and self._fewest(truth) >= FEWEST else ()

    @cached_property
    def too_rare(self) -> tuple[str, ...]:
        """The findings about which nothing can be said, and why, one sentence each; counts under 5 are not told."""
        return tuple(
            f'"{truth.finding}": {self._few(truth)} groups of the rarer class, where {FEWEST} are needed: what predicts it '
            "cannot be asked"
            for truth in self.all_truths
            if self._fewest(truth) < FEWEST
        )

    @cached_property
    def all_truths(self) -> tuple[Truth, ...]:
        """All findings, also those that are too rare to ask what predicts them."""
        made = []
        for finding in self.schema.findings:
            cases = np.array([at for at, chart in enumerate(self.charts) if finding in chart.truth], dtype=int)
            is_event = np.array([self.charts[at].truth[finding] for at in cases], dtype=bool)
            made.append(Truth(finding=finding, cases=cases, is_event=is_event))
        return tuple(made)

    def _few(self, truth: Truth) -> str:
        fewest = self._fewest(truth)
        return str(fewest) if fewest >= FEWEST_TOLD else f"fewer than {FEWEST_TOLD}"

    def _fewest(self, truth: Truth) -> int:
        groups = self.groups[truth.cases]
        return min(len(np.unique(groups[truth.is_event])), len(np.unique(groups[~truth.is_event])))

    def columns_of(self, fields: Iterable[str]) -> tuple[str, ...]:
        """The table's columns behind these fields of evidence; a field of a companion keeps its name."""
        columns = {column.field_name: column.name for column in self.schema.inputs}
        return tuple(columns.get(name, name) for name in fields)

    def leaving_out(self, columns: Sequence[str]) -> str:
        """The remedy that does without these: columns of the table by name, those of a file beside it with that file."""
        own = [name for name in columns if name in self.table.frame.columns]
        told = [f"leave {'it' if len(own) == 1 else 'them'} out (--ignore {','.join(own)})"] if own else []
        others = set(columns) - set(own)
        kinds = [spec.kind for spec in self.schema.companions if others & self._held_by(spec)]
        if kinds:
            told.append(f"give no {' and no '.join(f'--{kind}' for kind in kinds)}")
        return ", and ".join(told)

    def _held_by(self, spec: Companion) -> set[str | None]:
        """The names under which findings tell of what a companion holds."""
        companion = self.companions.get(spec.kind)
        codes = companion.cells(spec.code) if companion is not None and spec.code is not None else []
        return {spec.value, spec.kind.removesuffix("s"), *(None if code is None else code.strip() for code in codes)}

    def named(self, cases: np.ndarray) -> tuple[str, ...]:
        """The ids of these cases."""
        return tuple(self.ids[at] for at in cases)
