"""A table that stays on disk gives the rows of the same table in memory, and refuses what it refuses."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.records import RecordError, Table, read_table
from attending.records.paged import BATCH, open_table

CELLS = st.text(st.sampled_from('ab 1,;\t"\n\rü€𝒳'), max_size=6)
FILES: dict[str, bytes] = {
    "plain": b"id,a\n1,x\n2,y\n3,\n",
    "byte order mark": b"\xef\xbb\xbfid,a\n1,x\n2,y\n3,z\n",
    "carriage returns": b"id,a\r\n1,x\r\n2,y\r\n3,z\r\n",
    "carriage returns alone": b"id,a\r1,x\r2,y\r3,z\r",
    "blank lines": b"id,a\n\n1,x\n\n\n2,y\n3,z\n\n",
    "no last line end": b"id;a\n1;x\n2;y\n3;z",
    "quoted header": b'"i\nd","a"\n1,"x\ny"\n2,"y""q"\n3,"z\r\n"\n',
    "wide characters": "id,a\n1,ä\n2,€𝒳\n3,z\n".encode(),
}
REFUSED: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n \n",
    "only a header": b"id,a\n",
    "Latin-1": "id,a\n1,x\n2,ä\n".encode("latin-1"),
    "cut in a character": "id,a\n1,ä".encode()[:-1],
    "UTF-16": "id,a\n1,x\n".encode("utf-16"),
    "NUL": b"id,a\n1,x\n2,\0\n",
    "short": b"id,a\n1,x\n2\n",
    "long": b"id,a\n1,x\n2,y,z\n",
    "open quote": b'id,a\n1,x\n2,"y\n',
    "doubled column": b"a,a\n1,2\n",
    "column without a name": b"a,\n1,2\n",
}


def agree(path: Path, at: list[int] | None = None) -> None:
    """The paged table's rows are the whole table's, all of them and those at these positions."""
    whole, paged = read_table(path), open_table(path)
    assert (len(paged), paged.columns, paged.sha256) == (len(whole), tuple(whole.frame.columns), whole.sha256)
    chosen = np.array(range(len(whole)) if at is None else at, dtype=np.int64)
    taken = paged.take(chosen)
    assert taken.frame.equals(whole.frame[chosen])
    assert taken.rows.tolist() == whole.rows[chosen].tolist()
    narrow = paged.take(chosen, paged.columns[::-1][:2])
    assert narrow.frame.equals(whole.frame[chosen].select(paged.columns[::-1][:2]))


@pytest.mark.parametrize("name", FILES)
def test_rows_of_a_file_however_it_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_bytes(FILES[name])
    for at in (None, [], [0], [1], [2], [0, 2], [1, 2]):
        agree(tmp_path / "t.csv", at)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_whole_table_refuses_is_refused_in_its_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_bytes(REFUSED[name])
    with pytest.raises(RecordError) as whole:
        read_table(tmp_path / "t.csv")
    with pytest.raises(RecordError) as paged:
        open_table(tmp_path / "t.csv")
    assert str(paged.value) == str(whole.value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12), st.data())
def test_any_rows_of_any_table(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], data: st.DataObject
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("a", "b"), *cells])
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(text.getvalue().encode())
    agree(path, sorted(data.draw(st.sets(st.integers(0, len(cells) - 1)))))


def test_a_cell_may_be_longer_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,a\n1," + "ä" * 1_100_000 + "\n2,y\n3,z\n")
    agree(path, [0, 2])


def test_rows_of_parquet_that_lie_far_apart(tmp_path: Path) -> None:
    n = 2 * BATCH + 5
    frame = pl.DataFrame({"id": range(n), "x": [float(i % 7) for i in range(n)], "a list": [[i, i + 1] for i in range(n)]})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=1000)
    agree(tmp_path / "t.parquet")
    agree(tmp_path / "t.parquet", [0, 3, 999, 1000, BATCH - 1, BATCH, n - 1])


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(RecordError, match=r"t\.parquet: not readable as Parquet"):
        open_table(tmp_path / "t.parquet")


REFUSED_CONDITIONS = ("missing > 3", "a >>> 3", "a + 1", "a > 1000", "1 = 1")


@pytest.mark.parametrize("condition", ["a > 3", "b = 'x' and a < 8", "a > avg(a)", *REFUSED_CONDITIONS])
def test_a_condition_keeps_the_same_rows_or_is_refused_alike(tmp_path: Path, condition: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,a,b\n" + "".join(f"{i},{i if i != 4 else ''},{'xy'[i % 2]}\n" for i in range(12)))
    paged = open_table(path)

    def told(kept: Callable[[], Table]) -> list[int] | str:
        try:
            return [int(row) for row in kept().rows]
        except RecordError as error:
            return str(error)

    expected = told(lambda: read_table(path, where=condition))
    assert told(lambda: paged.take(paged.where(condition))) == expected
    assert isinstance(expected, str) == (condition in REFUSED_CONDITIONS)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(FILES["plain"])
    paged = open_table(path)
    path.write_bytes(b"id,a\n1,x\n2,\n\n\n\n")
    with pytest.raises(RecordError, match=r"t\.csv: changed while it was read"):
        paged.take(np.arange(3))
