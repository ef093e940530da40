"""Files → `Table`: the cells as they were written, with their row numbers and the file's SHA-256.

Strict by intent: a ragged row, a foreign encoding or a doubled column is refused with its place instead of being guessed
around. Cells of a CSV stay text here; what a cell means is decided by the schema (see `values`).
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from attending.artefacts import sha256
from attending.records.error import RecordError, SchemaError, did_you_mean

_DELIMITERS = (",", ";", "\t")
_FIELD_LIMIT = 64 * 2**20
"""Longest cell in characters; Python's default of 128 KiB would refuse a long note."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table as it lies in its file, after `where`.

    `rows` are row numbers as a spreadsheet shows them: in a CSV the header is row 1, so the first patient is row 2; in
    Parquet the first record is row 1. `n_read` counts the records before `where`.
    """

    frame: pl.DataFrame = field(repr=False)
    path: Path
    rows: Int[np.ndarray, " row"] = field(repr=False)
    sha256: str
    n_read: int
    where: str | None = None

    @property
    def name(self) -> str:
        """File name without its folder, as errors and reports print it."""
        return self.path.name

    def __len__(self) -> int:
        return self.frame.height

    def require(self, columns: Sequence[str], *, purpose: str) -> None:
        """Raise `SchemaError` unless all `columns` exist; `purpose` says what they were wanted for."""
        for column in columns:
            if column not in self.frame.columns:
                hint = did_you_mean(column, self.frame.columns)
                raise SchemaError(
                    f'{self.name}: no column "{column}", which was named as {purpose}.{hint} '
                    f"The table has {self.frame.width} columns; `attending schema` lists them."
                )

    def place(self, column: str) -> str:
        """A column as errors name it, with the rows looked at where these are not all of the file."""
        rows = "" if len(self) == self.n_read else f" rows {self.rows[0]} to {self.rows[-1]},"
        return f'{self.name}{rows} column "{column}"'

    def cells(self, column: str) -> list[str | None]:
        """The cells of a column as text, blank ones as None."""
        return self.frame[column].to_list()


def read_table(path: str | Path, *, where: str | None = None) -> Table:
    """The table in a CSV (comma, semicolon or tab; UTF-8) or Parquet file.

    `where` keeps the rows for which an SQL expression is true, with columns typed as polars infers them; a row for which it
    is unknown is left out. Raises `RecordError` with file, row and remedy for anything that is not a plain rectangle.
    """
    path = Path(path)
    frame, rows = {"csv": _read_csv, "parquet": _read_parquet}[format_of(path)](path)
    if frame.height == 0:
        raise no_rows(path)
    table = Table(frame=frame, path=path, rows=rows, sha256=sha256(path), n_read=frame.height)
    return table if where is None else matching(table, where)


def format_of(path: Path) -> str:
    """ "csv" or "parquet", by the ending. Raises `RecordError` for another one and where there is no file."""
    if not path.is_file():
        raise RecordError(f"{path}: no such file; expected a CSV or Parquet table")
    formats = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}
    if path.suffix.lower() not in formats:
        raise RecordError(f'{path.name}: found the ending "{path.suffix}", expected .csv or .parquet; convert the table')
    return formats[path.suffix.lower()]


def no_rows(path: Path) -> RecordError:
    """What to raise for a table with a header only."""
    return RecordError(f"{path.name}: has a header and no rows; expected at least one patient")


def rows_where(table: Table, column: str, levels: Sequence[str]) -> str:
    """The condition for `where` that keeps the rows of `table` with one of these cells in `column`, added to its own."""
    typed = _typed(table.frame[column])
    if typed.dtype == pl.String:
        written = [f"'{level.replace(chr(39), 2 * chr(39))}'" for level in levels]
    else:
        written = [level.lower() if typed.dtype == pl.Boolean else level for level in levels]
    name = column if re.fullmatch(r"[a-z_][a-z0-9_]*", column) else f'"{column}"'
    kept = f"{name} = {written[0]}" if len(written) == 1 else f"{name} in ({', '.join(written)})"
    return kept if table.where is None else f"({table.where}) and {kept}"


def _read_csv(path: Path) -> tuple[pl.DataFrame, np.ndarray]:
    text = decode(path)
    columns: list[list[str | None]] = []
    rows = []
    header: list[str] = []
    for number, record in records(io.StringIO(text, newline=""), path=path, delimiter=delimiter_of(text.split("\n", 1)[0])):
        if not header:
            header = record
            columns = [[] for _ in header]
            continue
        rows.append(number)
        for column, cell in zip(columns, record, strict=True):
            column.append(cell_of(cell))
    frame = pl.DataFrame(dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String))
    return frame, np.asarray(rows, dtype=np.int64)


def delimiter_of(first_line: str) -> str:
    """Comma, semicolon or tab, whichever the header has most of."""
    return max(_DELIMITERS, key=first_line.count)


def cell_of(text: str) -> str | None:
    """A cell as it was written; None for a blank one."""
    return text if text and not text.isspace() else None


def records(lines: Iterable[str], *, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Row number and fields of the header (row 1) and of every record that is not blank, all as long as the header.

    Takes no line beyond the record that it gives. Raises `RecordError` with the row for anything else.
    """
    limit = csv.field_size_limit(_FIELD_LIMIT)
    number = 1
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header)
        yield 1, header
        for number, record in enumerate(reader, start=2):
            if not record:
                continue
            if len(record) != len(header):
                raise RecordError(
                    f"{path.name} row {number}: found {len(record)} fields, expected {len(header)} as in the header; "
                    "quote cells that contain the separator, or complete the row"
                )
            yield number, record
    except csv.Error as error:
        raise RecordError(
            f"{path.name} row {number + 1}: not readable as CSV ({error}); "
            'expected cells with quotes doubled inside quotes ("" for ") and every quote closed'
        ) from None
    finally:
        csv.field_size_limit(limit)


def decode(path: Path) -> str:
    """All text of a file. Raises `RecordError` for anything but UTF-8, naming the line."""
    content = path.read_bytes()
    if not content.strip():
        raise RecordError(f"{path.name}: the file is empty; expected a header and rows")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RecordError(f"{path.name}: found UTF-16, expected UTF-8; save the table as CSV UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise RecordError(
            f"{path.name} line {row}: byte 0x{content[error.start]:02X} is not UTF-8 (often Windows-1252 or Latin-1); "
            "save the table as CSV UTF-8"
        ) from None
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise RecordError(f"{path.name} line {row}: found a NUL character, expected text; this is not a CSV table")
    return text


def _check_header(path: Path, header: list[str]) -> None:
    for position, name in enumerate(header, start=1):
        if not name:
            raise RecordError(f"{path.name} row 1: column {position} has no name; name every column")
        if header.index(name) != position - 1:
            raise RecordError(
                f'{path.name} row 1: column "{name}" stands twice (positions {header.index(name) + 1} and {position}); '
                "rename or remove one"
            )


def _read_parquet(path: Path) -> tuple[pl.DataFrame, np.ndarray]:
    try:
        typed = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RecordError(f"{path.name}: not readable as Parquet ({type(error).__name__}); write the file again") from None
    frame = pl.DataFrame({series.name: as_text(series, path) for series in typed.iter_columns()})
    return frame, np.arange(1, frame.height + 1, dtype=np.int64)


def as_text(series: pl.Series, path: Path) -> pl.Series:
    """A typed column as a CSV would have it. Raises `RecordError` for a type that no cell can be read from."""
    kind = series.dtype
    if isinstance(kind, pl.Categorical | pl.Enum | pl.String):
        text = series.cast(pl.String)
    elif isinstance(kind, pl.List | pl.Array):
        text = series.cast(pl.List(pl.String)).list.join(";")
    elif isinstance(kind, pl.Datetime):
        text = series.dt.strftime("%Y-%m-%d %H:%M:%S")
    elif kind.is_float():
        # repr of a float is the shortest text that reads back to the same bits; NaN is how pandas writes a blank
        return pl.Series(
            series.name, [None if v is None or math.isnan(v) else repr(v) for v in series.to_list()], dtype=pl.String
        )
    elif kind.is_integer() or kind in (pl.Boolean, pl.Date):
        text = series.cast(pl.String)
    elif kind == pl.Null:
        return pl.Series(series.name, [None] * len(series), dtype=pl.String)
    else:
        raise RecordError(
            f'{path.name}: column "{series.name}" has type {kind}, expected text, numbers, dates or lists of them'
        )
    blank = text.str.strip_chars() == ""
    return pl.select(pl.when(blank).then(None).otherwise(text).alias(series.name)).to_series()


def matching(table: Table, where: str) -> Table:
    """The rows for which the SQL expression is true, with columns typed as polars infers them."""
    typed = table.frame.select(_typed(series) for series in table.frame.iter_columns())
    try:
        keep = typed.select(pl.sql_expr(where).alias("keep"))["keep"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = re.split(r"values?:|\n", str(error), maxsplit=1)[0].strip()[:200]  # behind "values:" polars quotes cells
        raise RecordError(
            f"{table.name}: --where cannot be evaluated ({reason}); expected an SQL condition "
            "such as \"age_years >= 18 and site = 'A'\""
        ) from None
    if keep.dtype != pl.Boolean or len(keep) != len(table):
        raise RecordError(f"{table.name}: --where gives {keep.dtype}, expected true or false for every row")
    chosen = keep.fill_null(False)
    if not chosen.any():
        raise RecordError(f"{table.name}: --where keeps none of {len(table)} rows; loosen the condition")
    return replace(table, frame=table.frame.filter(chosen), rows=table.rows[chosen.to_numpy()], where=where)


def _typed(series: pl.Series) -> pl.Series:
    """The column as polars types it when reading a CSV: whole numbers, numbers, booleans, dates, else text."""
    filled = series.drop_nulls()
    if len(filled):
        for kind in (pl.Int64, pl.Float64):
            if filled.cast(kind, strict=False).null_count() == 0:
                return series.cast(kind)
        if filled.str.to_lowercase().is_in(["true", "false"]).all():
            return series.str.to_lowercase() == "true"
    return series
