"""Small counts are hidden, and cannot be worked out from what is shown."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.sharing import hidden_classes, shareable, suppress
from tests.evaluation.cohorts import outcomes_of


def test_a_small_count_takes_a_rectangle_with_it():
    # 3 follows from its row and its column unless one more is hidden in each, and those from theirs.
    shown = suppress([[3, 20, 30], [10, 40, 50], [60, 15, 70]])
    assert shown == [[None, None, 30], [None, None, 50], [60, 15, 70]]


def test_large_counts_and_empty_rows_are_shown():
    assert suppress([[5, 6], [0, 0], [7, 8]]) == [[5, 6], [0, 0], [7, 8]]


def test_a_zero_beside_its_total_tells_about_everyone():
    assert suppress([[0, 20], [9, 9]]) == [[None, None], [None, None]]


@settings(max_examples=60, deadline=None)
@given(arrays(int, st.tuples(st.integers(2, 4), st.integers(2, 4)), elements=st.integers(0, 14)))
def test_no_hidden_count_follows_from_what_is_shown(table):
    shown = suppress(table.tolist())
    hidden = np.array([[cell is None for cell in row] for row in shown])
    empty = (table.sum(1, keepdims=True) == 0) | (table.sum(0, keepdims=True) == 0)
    assert not ((table < 5) & ~hidden & ~empty).any()
    if hidden.all():
        return
    # Another table of whole numbers with the same totals and the same shown counts exists for every hidden cell: walk from the
    # true table along swaps of one between two rows and two columns.
    reached = {tuple(table[hidden])}
    frontier = [table]
    movable = np.zeros(int(hidden.sum()), dtype=bool)
    index = np.full(table.shape, -1)
    index[hidden] = np.arange(hidden.sum())
    for _ in range(40):
        following = []
        for current in frontier:
            for move in cycles(hidden):
                moved = current + move
                if (moved >= 0).all() and tuple(moved[hidden]) not in reached:
                    reached.add(tuple(moved[hidden]))
                    movable |= moved[hidden] != table[hidden]
                    following.append(moved)
        frontier = following[:200]
        if movable.all() or not frontier:
            break
    # Where every hidden count is pinned, nothing was left to hide beside it (all the table would have to go).
    assert movable.all() or (hidden | empty).all()


def cycles(hidden):
    """Moves that keep all totals: +1, −1 around a rectangle, or around six cells, of hidden counts."""
    rows, columns = hidden.shape
    for i in range(rows):
        for k in range(rows):
            for j in range(columns):
                for m in range(columns):
                    if i != k and j != m and hidden[i, j] and hidden[i, m] and hidden[k, j] and hidden[k, m]:
                        move = np.zeros(hidden.shape, dtype=int)
                        move[i, j] = move[k, m] = 1
                        move[i, m] = move[k, j] = -1
                        yield move
    for cells in six(hidden):
        move = np.zeros(hidden.shape, dtype=int)
        for n, cell in enumerate(cells):
            move[cell] = 1 if n % 2 == 0 else -1
        yield move


def six(hidden):
    rows, columns = hidden.shape
    for a, b, c in permutations(range(rows), 3):
        for x, y, z in permutations(range(columns), 3):
            cells = [(a, x), (a, y), (b, y), (b, z), (c, z), (c, x)]
            if all(hidden[cell] for cell in cells):
                yield cells


def test_rows_of_small_slices_lose_their_counts_and_the_next_smallest_goes_too():
    rng = np.random.default_rng(0)
    site = np.array(["A"] * 100 + ["B"] * 50 + ["C"] * 20, dtype=object)
    truth = rng.random(170) < 0.4
    truth[150:] = np.arange(20) < 3
    held = outcomes_of(rng.random(170), truth, strata={"site": site})
    rows = judge({"m": held}, terms=Terms(resamples=20))
    shared = shareable(rows)
    assert len(shared) == len(rows)
    by_site = {level: [row for row in shared if row.slice_value == level] for level in "ABC"}
    assert all(row.n is None and row.value is None and "hidden for sharing" in row.note for row in by_site["C"])
    assert all(row.n is None for row in by_site["B"])
    assert all(row.method is None for row in (*by_site["B"], *by_site["C"]))  # "bootstrap of 20 groups" would tell
    assert all(row.n == 100 for row in by_site["A"])
    assert [row for row in shared if row.slice is None] == [row for row in rows if row.slice is None]


def test_counts_of_a_rare_finding_are_hidden_also_in_notes():
    rng = np.random.default_rng(0)
    truth = np.column_stack([np.arange(100) < 40, np.arange(100) < 3])
    rows = judge({"m": outcomes_of(rng.random((100, 2)), truth)}, terms=Terms(resamples=20))
    rare = [row for row in shareable(rows) if row.finding == "f1"]
    assert rare
    for row in rare:
        assert row.n is None
        assert row.events is None
        assert row.prevalence is None
        assert "3" not in row.note


def test_only_tables_are_suppressed():
    with pytest.raises(ValueError, match="rows and columns"):
        suppress([1, 2, 3])


def test_of_findings_that_exclude_each_other_the_next_smallest_is_hidden_too():
    """98 cases are 3 of a, 40 of b and 55 of c: from b and c alone, a would follow."""
    which = np.repeat([0, 1, 2], [3, 40, 55])
    rng = np.random.default_rng(0)
    held = outcomes_of(rng.dirichlet(np.ones(3), 98), which[:, None] == np.arange(3), exclusive=True)
    shared = [row for row in shareable(judge({"m": held}, terms=Terms(resamples=20))) if row.metric == "auroc"]
    told = {row.finding: row.events for row in shared if row.finding != "macro"}
    assert told == {"f0": None, "f1": None, "f2": 55}


def test_at_a_site_no_class_follows_from_the_others():
    """Site A has 4 of class a: a is hidden there, so is the smallest other class, and for both of them another site."""
    site = np.repeat(["A", "B", "C"], [64, 90, 90]).astype(object)
    which = np.concatenate([np.repeat([0, 1, 2], sizes) for sizes in ((4, 20, 40), (20, 30, 40), (30, 30, 30))])
    rng = np.random.default_rng(0)
    truth = which[:, None] == np.arange(3)
    held = outcomes_of(rng.dirichlet(np.ones(3), len(which)), truth, strata={"site": site}, exclusive=True)
    rows = [row for row in judge({"m": held}, terms=Terms(resamples=20)) if row.slice == "site" and row.metric == "auroc"]
    shown = {(row.finding, row.slice_value): row.events for row in shareable(rows)}
    hidden = np.array([[shown[f"f{k}", name] is None for name in "ABC"] for k in range(3)])
    assert hidden[0, 0]
    assert not hidden.all()
    assert all(line.sum() != 1 for line in (*hidden, *hidden.T))


def test_findings_that_may_come_together_are_hidden_one_by_one():
    assert hidden_classes({"a": 3, "b": 40, "c": 56}, {"a": 100, "b": 100, "c": 100}) == {"a"}
    assert hidden_classes({"a": 3, "b": 41, "c": 56}, {"a": 100, "b": 100, "c": 100}) == {"a", "b"}
    assert hidden_classes({"a": 2, "b": 2, "c": 96}, {"a": 100, "b": 100, "c": 100}) == {"a", "b", "c"}
    assert hidden_classes({"a": 20, "b": 30}, {"a": 50, "b": 50}) == set()
    assert hidden_classes({"a": 20, "b": 30}, {"a": 50, "b": 50}, already={"a"}) == {"a", "b"}
