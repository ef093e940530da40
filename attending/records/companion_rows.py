"""A companion read once and asked for the rows of some cases at a time, with one count of what became of every row.

Held in memory whole: its cells, and where each id stands. What its rows mean is told by `companions`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from attending.records.companions import BEST, OF_NO_CASE, check_companion
from attending.records.schema import Companion
from attending.records.table import Table
from attending.records.values import Reading

Outcome = tuple[int, Reading, str]
"""Position of a row, what became of it, and the reason where there is one."""


class CompanionRows:
    """The rows by the id that they are joined by."""

    def __init__(self, spec: Companion, table: Table) -> None:
        check_companion(spec, table)
        self.spec, self.table = spec, table
        self._by_id: dict[str, list[int]] = defaultdict(list)
        for at, cell in enumerate(table.cells(spec.id)):
            self._by_id[(cell or "").strip()].append(at)

    def of(self, piece: Table) -> Int[np.ndarray, " row"]:
        """Positions of the rows that may belong to the cases of a piece of the table, ascending."""
        if self.spec.id not in piece.frame.columns:
            return np.zeros(0, dtype=np.int64)
        names = {(cell or "").strip() for cell in piece.cells(self.spec.id)}
        return np.array(sorted(at for name in names for at in self._by_id.get(name, ())), dtype=np.int64)

    def take(self, at: Int[np.ndarray, " row"]) -> Table:
        """Those rows as a companion."""
        return replace(self.table, frame=self.table.frame[at], rows=self.table.rows[at])


def outcomes_at(at: Int[np.ndarray, " row"], outcomes: Sequence[tuple[Reading, str]]) -> tuple[Outcome, ...]:
    """What became of the rows at these positions, without those that are of no case of the piece."""
    told = zip(at, outcomes, strict=True)
    return tuple((int(row), reading, why) for row, (reading, why) in told if reading is not Reading.UNMATCHED)


def count_reasons(n_rows: int, outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Why rows of a companion were not used. A row that several cases see counts once, as the best that became of it."""
    best = np.full(n_rows, len(BEST))
    reasons = [OF_NO_CASE, ""]
    why = np.zeros(n_rows, dtype=np.int64)
    number = {reason: n for n, reason in enumerate(reasons)}
    for at, reading, reason in outcomes:
        if BEST.index(reading) < best[at]:
            best[at] = BEST.index(reading)
            why[at] = number.setdefault(reason, len(number))
    named = list(number)
    counts = Counter(named[n] for n in why)
    return {reason: count for reason, count in counts.items() if reason}
