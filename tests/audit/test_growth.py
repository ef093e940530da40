"""Reading and auditing grow with the rows, not with their square: work is counted, no clock is read.

Three counts, because each sees what the others cannot: calls (loops in Python), cells handed out (copies of whole columns) and
the peak of memory (arrays of rows by rows or rows by levels).
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from attending.audit import Material, Verdict, audit
from attending.audit.ranking import indicators
from attending.records import Table, infer_schema, read_charts, read_table
from benchmarks.audit import write_table

SIZES = (200, 400, 800)
"""At 100 rows what does not grow, and the steps in which containers do, are a part of the peak that can be seen."""
MOST = 1.05
"""How much more the second doubling may add for each row than the first one did; a square adds twice as much."""


def read_and_audit(path: Path) -> Verdict:
    table = read_table(path)
    records = read_charts(table, infer_schema(table, targets=["sick"]))
    return audit(Material(table=table, records=records))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("growth")
    made = tuple(write_table(folder / f"{n}.csv", n) for n in SIZES)
    read_and_audit(made[-1])  # what is imported or remembered on first use is not counted
    return made


def steepening(work: Sequence[int]) -> float:
    """What a row of the second doubling adds, in what a row of the first one added: 1 for a line, 2 for a square."""
    few, more, most = work
    return (most - more) / (SIZES[2] - SIZES[1]) / ((more - few) / (SIZES[1] - SIZES[0]))


def test_steepening_by_hand() -> None:
    assert steepening([7 + 3 * n for n in SIZES]) == pytest.approx(1.0)
    assert steepening([n * n for n in SIZES]) == pytest.approx(2.0)


def calls(work: Callable[[], object]) -> int:
    """Calls and returns, of Python and of C."""
    n = 0

    def count(*_: object) -> None:
        nonlocal n
        n += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return n


def test_each_row_takes_as_many_calls_among_many_as_among_few(tables: tuple[Path, ...]) -> None:
    made = [calls(lambda path=path: read_and_audit(path)) for path in tables]  # type: ignore[misc]
    assert made[0] > 100 * SIZES[0]
    assert steepening(made) < MOST


def test_columns_are_taken_out_as_often_for_many_rows_as_for_few(
    tables: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0
    take = Table.cells

    def counted(table: Table, column: str) -> list[str | None]:
        nonlocal taken
        taken += 1
        return take(table, column)

    monkeypatch.setattr(Table, "cells", counted)
    found = []
    for path in tables:
        taken = 0
        read_and_audit(path)
        found.append(taken)
    assert len(set(found)) == 1 < found[0]


def test_each_row_takes_as_much_memory_among_many_as_among_few(tables: tuple[Path, ...]) -> None:
    """Beyond the charts themselves, in the audit alone, which reads what is there already."""
    peaks = []
    for path in tables:
        table = read_table(path)
        material = Material(table=table, records=read_charts(table, infer_schema(table, targets=["sick"])))
        peaks.append(min(peak_of(lambda held=material: audit(held)) for _ in range(3)))  # type: ignore[misc]
    assert steepening(peaks) < MOST


def peak_of(work: Callable[[], object]) -> int:
    """Most bytes alive at once. When cycles are swept depends on all that ran before in this process, so they are not."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_column_of_many_levels_keeps_one_number_per_row() -> None:
    """As a full matrix, a column with a level for every five rows grew with the square of the rows."""
    made = indicators([None if n % 5 == 3 else f"level {n % 40}" for n in range(200)])
    assert made.nnz == 200
    assert made.shape == (200, 33)  # 40 levels, of which 8 are always blank, and the blank one
    assert (made.toarray().sum(axis=1) == 1.0).all()
