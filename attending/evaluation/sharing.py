"""What may leave the house: counts under 5 are hidden, and enough others that they cannot be worked out again.

Assumes that a table is published with its row and column totals. A hidden count is None.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import optimize

from attending.evaluation.result import Result

FEWEST = 5

Table = list[list[int | None]]


def suppress(counts: Sequence[Sequence[int]]) -> Table:
    """The table with every count under 5 hidden, and more (smallest first) until no hidden count follows from what is shown.

    A zero is hidden too (beside its total it says that all of a group are otherwise), unless its whole row or column is zero.
    Totals are taken to be published, so a row or column whose total is under 5 should not be shown at all.
    """
    table = np.asarray(counts, dtype=int)
    if table.ndim != 2:
        raise ValueError(f"expected a table of rows and columns, found {table.ndim} dimensions")
    empty = (table.sum(axis=1, keepdims=True) == 0) | (table.sum(axis=0, keepdims=True) == 0)
    hidden = (table < FEWEST) & ~empty
    while hidden.any():
        follows = _determined(table, hidden)
        if not follows.any():
            break
        corners = _cheapest_rectangle(table, hidden, empty, *(int(k) for k in np.argwhere(follows)[0]))
        if corners is None:
            # Nothing in this table can stand beside it: the whole goes.
            hidden = ~np.broadcast_to(empty, table.shape)
            break
        for corner in corners:
            hidden[corner] = True
    return [[None if hidden[i, j] else int(table[i, j]) for j in range(table.shape[1])] for i in range(table.shape[0])]


def _cheapest_rectangle(
    table: np.ndarray, hidden: np.ndarray, empty: np.ndarray, row: int, column: int
) -> list[tuple[int, int]] | None:
    """Three more cells that make a rectangle with this one, along which a count can be shifted without changing a total."""
    best: tuple[int, list[tuple[int, int]]] | None = None
    for k in range(table.shape[0]):
        for m in range(table.shape[1]):
            corners = [(row, m), (k, column), (k, m)]
            if k == row or m == column or any(empty[corner] for corner in corners):
                continue
            can_shift = min(table[row, m], table[k, column]) > 0 or min(table[row, column], table[k, m]) > 0
            cost = sum(int(table[corner]) for corner in corners if not hidden[corner])
            if can_shift and not all(hidden[corner] for corner in corners) and (best is None or cost < best[0]):
                best = (cost, corners)
    return None if best is None else best[1]


def _determined(table: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Hidden counts that totals and shown counts leave only one value for (counts are 0 or more)."""
    cells = np.argwhere(hidden)
    rows, columns = np.unique(cells[:, 0]), np.unique(cells[:, 1])
    totals = np.concatenate([(table * hidden).sum(axis=1)[rows], (table * hidden).sum(axis=0)[columns]]).astype(float)
    member = np.concatenate([rows[:, None] == cells[:, 0], columns[:, None] == cells[:, 1]]).astype(float)
    follows = np.zeros_like(hidden)
    for k, (i, j) in enumerate(cells):
        aim = np.zeros(len(cells))
        aim[k] = 1.0
        least = optimize.linprog(aim, A_eq=member, b_eq=totals, bounds=(0, None), method="highs").fun
        most = -optimize.linprog(-aim, A_eq=member, b_eq=totals, bounds=(0, None), method="highs").fun
        follows[i, j] = most - least < 1.0 - 1e-6
    return follows


def shareable(results: Sequence[Result]) -> tuple[Result, ...]:
    """Rows whose counts may be shared: n, events and values of slices with under 5 cases of a class are hidden.

    Where hiding one level would leave it to be worked out from the others and the total, the next smallest is hidden too. On
    whole findings only the counts are hidden, because the value describes the whole.
    """
    hidden = _hidden_levels(results)
    shared = []
    for row in results:
        if row.slice is not None and (row.finding, row.slice, row.slice_value) in hidden:
            shared.append(
                replace(
                    row,
                    value=None,
                    low=None,
                    high=None,
                    n=None,
                    events=None,
                    clusters=None,
                    prevalence=None,
                    note=f"hidden for sharing: fewer than {FEWEST} cases of a class, or the slice beside such a one",
                )
            )
        elif row.slice is None and _is_small(row):
            note = f"counts hidden for sharing: fewer than {FEWEST} cases of a class"
            shared.append(replace(row, n=None, events=None, prevalence=None, note=_without_counts(row, note)))
        else:
            shared.append(row)
    return tuple(shared)


def _is_small(row: Result) -> bool:
    return row.n is not None and row.events is not None and min(row.events, row.n - row.events) < FEWEST


def _without_counts(row: Result, note: str) -> str:
    """Notes of rows that could not be estimated repeat the counts; of those only the first words remain."""
    kept = row.note.split(":")[0] if row.note else ""
    return f"{kept}; {note}" if kept else note


def _hidden_levels(results: Sequence[Result]) -> set[tuple[str, str | None, str | None]]:
    levels: dict[tuple[str, str | None], dict[str | None, Result]] = {}
    for row in results:
        if row.slice is not None:
            levels.setdefault((row.finding, row.slice), {}).setdefault(row.slice_value, row)
    hidden: set[tuple[str, str | None, str | None]] = set()
    for (finding, slice), held in levels.items():
        counts = {value: (row.events or 0, (row.n or 0) - (row.events or 0)) for value, row in held.items()}
        smallest_first = sorted(counts, key=lambda value: (min(counts[value]), str(value)))
        gone = [value for value in smallest_first if min(counts[value]) < FEWEST]
        for value in smallest_first[len(gone) :]:
            # Beside the published total a single hidden level, or hidden levels with few cases together, could be worked out.
            if not gone or (len(gone) > 1 and min(sum(counts[v][k] for v in gone) for k in (0, 1)) >= FEWEST):
                break
            gone.append(value)
        hidden |= {(finding, slice, value) for value in gone}
    return hidden
