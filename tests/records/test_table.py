"""Reading tables: what is a rectangle is read as it is, and everything else is refused with its place."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from attending.artefacts import sha256
from attending.records import RecordError, SchemaError, read_table

Write = Callable[..., Path]


def test_cells_stay_as_written(csv: Write) -> None:
    path = csv("""
        id,crp,note
        1,<5,"fever, cough"
        2, ,
        3,007,"he said ""no"" twice"
    """)
    table = read_table(path)
    assert table.cells("crp") == ["<5", None, "007"]
    assert table.cells("note") == ["fever, cough", None, 'he said "no" twice']
    assert (table.rows.tolist(), table.n_read, table.sha256) == ([2, 3, 4], 3, sha256(path))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolon_and_tab_are_read_too(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"id{separator}crp\n1{separator}2,5\n", encoding="utf-8-sig")
    assert read_table(path).cells("crp") == ["2,5"]


def test_row_numbers_count_records_not_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,note\n1,"two\nlines"\n2,x\n\n3,y\n', encoding="utf-8")
    assert read_table(path).rows.tolist() == [2, 3, 5]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n3\n", "t.csv row 3: found 1 fields, expected 2"),
        (b"a,b\n1,2,3\n", "t.csv row 2: found 3 fields, expected 2"),
        (b"a,b\n1,M\xfcller\n", "t.csv line 2: byte 0xFC is not UTF-8"),
        (b"\xff\xfea\x00,\x00", "found UTF-16, expected UTF-8"),
        (b"a,a\n1,2\n", 'column "a" stands twice'),
        (b"a,,c\n1,2,3\n", "column 2 has no name"),
        (b'a,b\n1,"open\n2,x\n', "t.csv row 2: not readable as CSV"),
        (b'a,b\n1,"x"y\n', "t.csv row 2: not readable as CSV"),
        (b"a,b\n1,\x00\n", "NUL character"),
        (b"", "the file is empty"),
        (b"a,b\n", "no rows"),
    ],
)
def test_what_is_no_rectangle_is_refused_with_its_place(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r".") as caught:
        read_table(path)
    assert expected in str(caught.value)


def test_a_missing_file_and_a_foreign_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(RecordError, match=r'the ending ".xlsx", expected .csv or .parquet'):
        read_table(tmp_path / "t.xlsx")


def test_a_long_note_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'id,note\n1,"{"word " * 100_000}"\n', encoding="utf-8")
    assert len(read_table(path).cells("note")[0] or "") == 500_000


def test_parquet_gives_the_cells_of_its_csv(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2, 3],
            "crp": [1.5, None, float("nan")],
            "inf": [float("inf"), 2.0, 3.0],
            "is_ill": [True, False, None],
            "day": [pl.Series(["2020-01-02"]).str.to_date()[0], None, None],
            "labels": [["a", "b"], [], None],
            "text": ["x", " ", None],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.rows.tolist() == [1, 2, 3]
    assert {name: table.cells(name) for name in table.frame.columns} == {
        "id": ["1", "2", "3"],
        "crp": ["1.5", None, None],
        "inf": ["inf", "2.0", "3.0"],
        "is_ill": ["true", "false", None],
        "day": ["2020-01-02", None, None],
        "labels": ["a;b", None, None],
        "text": ["x", None, None],
    }


def test_a_broken_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(RecordError, match="not readable as Parquet"):
        read_table(tmp_path / "t.parquet")


def test_where_compares_numbers_as_numbers_and_keeps_the_row_numbers(csv: Write) -> None:
    path = csv("""
        id,age,site
        1,9,A
        2,10,A
        3,,A
        4,100,B
    """)
    table = read_table(path, where="age >= 10 and site in ('A', 'B')")
    assert (table.cells("id"), table.rows.tolist(), table.n_read) == (["2", "4"], [3, 5], 4)
    assert table.cells("age") == ["10", "100"]


@pytest.mark.parametrize(
    ("where", "expected"), [("agee > 3", "cannot be evaluated"), ("age >", "cannot be evaluated"), ("age > 1000", "keeps none")]
)
def test_a_where_that_cannot_be_used_is_refused(csv: Write, where: str, expected: str) -> None:
    path = csv("id,age\n1,9")
    with pytest.raises(RecordError, match=expected):
        read_table(path, where=where)


def test_a_where_quotes_no_cell(csv: Write) -> None:
    path = csv("id,note\n1,Secret\n2,Fever")
    with pytest.raises(RecordError, match="cannot be evaluated") as caught:
        read_table(path, where="cast(note as int) > 3")
    assert "Secret" not in str(caught.value)


def test_a_missing_column_is_named_with_the_nearest(csv: Write) -> None:
    table = read_table(csv("patient_id,age\n1,9"))
    with pytest.raises(SchemaError, match=r'no column "patient", which was named as the target. Did you mean "patient_id"'):
        table.require(["patient"], purpose="the target")
