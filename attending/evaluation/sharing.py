"""What may leave the house: counts under 5 are hidden, and enough others that they cannot be worked out again.

Assumes that a table is published with its row and column totals. A hidden count is None.
"""

from collections.abc import Collection, Mapping, Sequence
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


def hidden_classes(events: Mapping[str, int], n: Mapping[str, int], *, already: Collection[str] = ()) -> set[str]:
    """Findings of which a class has fewer than 5 of `n` known cases, and those hidden `already`.

    Where findings exclude each other (their events are all the cases) so many more, the smallest first, that none follows from
    the rest.
    """
    hidden = {finding for finding, count in events.items() if min(count, n[finding] - count) < FEWEST or finding in already}
    if len(events) > 1 and set(n.values()) == {sum(events.values())}:
        for finding in sorted(set(events) - hidden, key=lambda finding: (events[finding], finding)):
            if not hidden or (len(hidden) > 1 and sum(events[one] for one in hidden) >= FEWEST):
                break
            hidden.add(finding)
    return hidden


def shareable(results: Sequence[Result]) -> tuple[Result, ...]:
    """Rows whose counts may be shared: n, events and values of slices with under 5 cases of a class are hidden.

    Where hiding one level would leave it to be worked out from the others and the total, the next smallest is hidden too. On
    whole findings only the counts are hidden, because the value describes the whole. Findings that exclude each other tell of
    each other too: where one is hidden the next smallest goes with it, as a whole and at each level.
    """
    hidden = _hidden_levels(results)
    rare = _rare(results)
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
                    method=None,
                    note=f"hidden for sharing: fewer than {FEWEST} cases of a class, or the slice beside such a one",
                )
            )
        elif row.slice is None and (row.finding in rare or _is_small(row)):
            note = f"counts hidden for sharing: fewer than {FEWEST} cases of a class, or beside such a one"
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


def _rare(results: Sequence[Result]) -> set[str]:
    whole = _counts({row.finding: row for row in reversed(results) if row.slice is None and row.events is not None})
    return hidden_classes(*whole)


def _counts(rows: Mapping[str, Result]) -> tuple[dict[str, int], dict[str, int]]:
    """Events and known cases by finding."""
    return {name: row.events or 0 for name, row in rows.items()}, {name: row.n or 0 for name, row in rows.items()}


def _hidden_levels(results: Sequence[Result]) -> set[tuple[str, str | None, str | None]]:
    """Finding, slice and level of what is hidden: by finding over its levels, by level over its findings, until both hold."""
    levels: dict[str | None, dict[tuple[str, str | None], Result]] = {}
    for row in results:
        if row.slice is not None:
            levels.setdefault(row.slice, {}).setdefault((row.finding, row.slice_value), row)
    hidden: set[tuple[str, str | None, str | None]] = set()
    for slice, held in levels.items():
        gone: set[tuple[str, str | None]] = set()
        while True:
            before = len(gone)
            for finding in dict.fromkeys(finding for finding, _ in held):
                by_level = {level: row for (one, level), row in held.items() if one == finding}
                found = _hidden_of_one(by_level, {level for one, level in gone if one == finding})
                gone |= {(finding, level) for level in found}
            for level in dict.fromkeys(level for _, level in held):
                at_level = {finding: row for (finding, one), row in held.items() if one == level}
                gone |= {
                    (one, level) for one in hidden_classes(*_counts(at_level), already={f for f, at in gone if at == level})
                }
            if len(gone) == before:
                break
        hidden |= {(finding, slice, level) for finding, level in gone}
    return hidden


def _hidden_of_one(held: Mapping[str | None, Result], gone: set[str | None]) -> set[str | None]:
    """Levels of one finding that are small or `gone` already, and the next smallest while beside the published total a single
    hidden level, or hidden levels with few cases together, could be worked out."""
    counts = {level: (row.events or 0, (row.n or 0) - (row.events or 0)) for level, row in held.items()}
    found = gone | {level for level, both in counts.items() if min(both) < FEWEST}
    for level in sorted(set(counts) - found, key=lambda level: (min(counts[level]), str(level))):
        if not found or (len(found) > 1 and min(sum(counts[one][k] for one in found) for k in (0, 1)) >= FEWEST):
            break
        found.add(level)
    return found
