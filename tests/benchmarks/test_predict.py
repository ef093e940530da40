"""The benchmark of predicting: its tables and films are read, its sum is right, a process that fails gives no number."""

import sys
from pathlib import Path

import pytest

from attending.intake import read_table
from attending.records.images import read_pixels
from benchmarks.predict import FIELDS, Row, growth, measured, write_film, write_table


def test_a_table_and_its_films_are_read(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", n=30, seed=0, has_films=True)
    table = read_table(tmp_path / "t.csv")
    assert (len(table), tuple(table.frame.columns)) == (30, FIELDS)
    assert set(table.cells("sick")) == {"yes", "no"}
    write_film(tmp_path / "film0.png", side=24, seed=0)
    assert read_pixels(tmp_path / "film0.png").shape == (24, 24)


def test_growth_is_bytes_a_further_row() -> None:
    rows = [
        Row(way="predict", rows=n, seconds=1.0, largest_megabytes=m) for n, m in ((4000, 112.0), (1000, 100.0), (2000, 150.0))
    ]
    assert growth(rows) == pytest.approx(4000.0)
    assert growth(rows[:1]) == 0.0


def test_memory_is_that_of_the_process() -> None:
    held = measured("holding", [sys.executable, "-c", "held = bytearray(b'x') * 200_000_000"], rows=1)
    assert held.largest_megabytes > 200.0  # and at least what this process, which started it, holds
    with pytest.raises(RuntimeError, match="failing of 7 rows ended with code 1: ValueError: no"):
        measured("failing", [sys.executable, "-c", "raise ValueError('no')"], rows=7)
