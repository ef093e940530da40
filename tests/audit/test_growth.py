"""Reading and auditing grow with the rows, not with their square: work is counted, no clock is read.

Three counts, because each sees what the others cannot: calls (loops in Python), cells handed out (copies of whole columns) and
the peak of memory (arrays of rows by rows or rows by levels).
"""

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from attending.audit import Material, Verdict, audit
from attending.audit.ranking import indicators
from attending.records import Table, infer_schema, read_charts, read_table
from benchmarks.audit import write_table

FEW, TIMES = 100, 4
MOST = 1.15 * TIMES
"""What the work may grow by: a sort's logarithm on top of the rows, far from the square's 16."""


def read_and_audit(path: Path) -> Verdict:
    table = read_table(path)
    records = read_charts(table, infer_schema(table, targets=["sick"]))
    return audit(Material(table=table, records=records))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("growth")
    few, many = (write_table(folder / f"{n}.csv", n) for n in (FEW, TIMES * FEW))
    read_and_audit(few)  # what is imported or remembered on first use is not counted
    return few, many


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


def test_four_times_the_rows_take_four_times_the_calls(tables: tuple[Path, Path]) -> None:
    few, many = (calls(lambda path=path: read_and_audit(path)) for path in tables)  # type: ignore[misc]
    assert few > 100 * FEW
    assert many < MOST * few


def test_columns_are_taken_out_as_often_for_many_rows_as_for_few(
    tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
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
    assert found[0] == found[1] > 0


def test_four_times_the_rows_take_four_times_the_memory(tables: tuple[Path, Path]) -> None:
    peaks = []
    for path in tables:
        tracemalloc.start()
        try:
            read_and_audit(path)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < MOST * peaks[0]


def test_a_column_of_many_levels_keeps_one_number_per_row() -> None:
    """As a full matrix, a column with a level for every five rows grew with the square of the rows."""
    made = indicators([None if n % 5 == 3 else f"level {n % 40}" for n in range(200)])
    assert made.nnz == 200
    assert made.shape == (200, 33)  # 40 levels, of which 8 are always blank, and the blank one
    assert (made.toarray().sum(axis=1) == 1.0).all()
