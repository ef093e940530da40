"""A table that stays on disk: any rows of it, with the cells, row numbers and refusals of `read_table`.

Opening a CSV reads it once from end to end, to check it and to learn where each row begins. Of a row only its number and its
place in the file are remembered (16 bytes). Parquet is read by its row groups: one of some ten thousand rows at a time is held.
What rows mean is not known here.
"""

import codecs
import io
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
from jaxtyping import Int

from attending.artefacts import sha256
from attending.records.error import RecordError
from attending.records.table import (
    Table,
    as_text,
    cell_of,
    decode,
    delimiter_of,
    format_of,
    matching,
    no_rows,
    records,
)

BATCH = 4096
"""Rows read at a time when all are looked at."""
_BLOCK = 2**20


class _Source(ABC):
    """Where rows come from, by their positions, which are ascending."""

    columns: tuple[str, ...]
    numbers: Int[np.ndarray, " row"]

    @abstractmethod
    def read(self, at: Int[np.ndarray, " row"], columns: Sequence[str]) -> pl.DataFrame:
        """The cells of these rows as text, blank ones as None."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PagedTable:
    """A table whose rows are read when they are asked for. Positions count its rows from 0."""

    path: Path
    sha256: str
    _source: _Source = field(repr=False)

    @property
    def name(self) -> str:
        """File name without its folder, as errors and reports print it."""
        return self.path.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The header."""
        return self._source.columns

    def __len__(self) -> int:
        return len(self._source.numbers)

    def header(self) -> Table:
        """The table without its rows."""
        return self.take(np.zeros(0, dtype=np.int64))

    def take(self, at: Int[np.ndarray, " row"], columns: Sequence[str] | None = None) -> Table:
        """The rows at these ascending positions, with all columns or those named."""
        chosen = self.columns if columns is None else tuple(columns)
        frame = pl.DataFrame(schema=dict.fromkeys(chosen, pl.String)) if not len(at) else self._source.read(at, chosen)
        return Table(frame=frame, path=self.path, rows=self._source.numbers[at], sha256=self.sha256, n_read=len(self))

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Int[np.ndarray, " row"], Table]]:
        """All rows with these columns, in order, some thousand at a time, with their positions."""
        for start in range(0, len(self), BATCH):
            at = np.arange(start, min(start + BATCH, len(self)))
            yield at, self.take(at, columns)

    def where(self, condition: str | None) -> Int[np.ndarray, " row"]:
        """Positions of the rows for which an SQL expression is true; all without one.

        The columns that it names are held whole, since what they are typed as is told by all of their cells. Raises
        `RecordError` as `read_table` does.
        """
        if condition is None:
            return np.arange(len(self))
        try:
            named = set(pl.sql_expr(condition).meta.root_names())
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            named = {condition}
        columns = tuple(name for name in self.columns if name in named) or self.columns[:1]
        if not named <= set(self.columns):  # refused by the first rows, or a pattern that may mean any column
            matching(self.take(np.arange(min(len(self), BATCH))), condition)
            columns = self.columns
        frames = [table.frame for _, table in self.batches(columns)]
        whole = Table(frame=pl.concat(frames), path=self.path, rows=self._source.numbers, sha256=self.sha256, n_read=len(self))
        return np.searchsorted(self._source.numbers, matching(whole, condition).rows)


def open_table(path: str | Path) -> PagedTable:
    """The table in a CSV or Parquet file. Raises `RecordError` for whatever `read_table` refuses."""
    path = Path(path)
    source: _Source = {"csv": _CsvRows, "parquet": _ParquetRows}[format_of(path)](path)
    if not len(source.numbers):
        raise no_rows(path)
    return PagedTable(path=path, sha256=sha256(path), _source=source)


class _CsvRows(_Source):
    """Rows of a CSV by the bytes that they lie in."""

    def __init__(self, path: Path) -> None:
        _check_text(path)
        self._path = path
        with path.open("rb") as handle:
            first = handle.readline().decode("utf-8-sig")
        self._delimiter = delimiter_of(first)
        numbers, ends = array("q"), array("q")
        with path.open(encoding="utf-8-sig", newline="") as text:
            lines = _Counted(text, n_bytes=len(codecs.BOM_UTF8) if _has_mark(path) else 0)
            for number, record in records(lines, path=path, delimiter=self._delimiter):
                if not ends:
                    self.columns = tuple(record)
                else:
                    numbers.append(number)
                ends.append(lines.n_bytes)
        self.numbers = np.asarray(numbers, dtype=np.int64)
        self._ends = np.asarray(ends, dtype=np.int64)  # where the header ends, then each row
        with path.open("rb") as handle:
            self._header = handle.read(int(self._ends[0])).decode("utf-8-sig")

    def read(self, at: Int[np.ndarray, " row"], columns: Sequence[str]) -> pl.DataFrame:
        wanted = [self.columns.index(name) for name in columns]
        cells: list[list[str | None]] = [[] for _ in wanted]
        with self._path.open("rb") as handle:
            for run in np.split(at, np.flatnonzero(np.diff(at) != 1) + 1):
                handle.seek(int(self._ends[run[0]]))
                text = handle.read(int(self._ends[run[-1] + 1] - self._ends[run[0]])).decode("utf-8")
                lines = io.StringIO(self._header + text, newline="")
                for number, record in records(lines, path=self._path, delimiter=self._delimiter):
                    if number > 1:
                        for column, index in zip(cells, wanted, strict=True):
                            column.append(cell_of(record[index]))
        if any(len(column) != len(at) for column in cells):
            raise _changed(self._path)
        return pl.DataFrame(dict(zip(columns, cells, strict=True)), schema=dict.fromkeys(columns, pl.String))


class _Counted:
    """Lines of a text as they are asked for, and the bytes of those given."""

    def __init__(self, text: Iterable[str], *, n_bytes: int) -> None:
        self._text, self.n_bytes = text, n_bytes

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.n_bytes += len(line) if line.isascii() else len(line.encode())
            yield line


def _has_mark(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _check_text(path: Path) -> None:
    """Raise `RecordError` for an empty file and for anything but UTF-8. A file that is wrong is read whole, to say where."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_blank, is_sound = True, True
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                is_sound = False
                break
            is_blank &= not block.strip()
            is_sound &= b"\0" not in block
    try:
        decoder.decode(b"", final=is_sound)
    except UnicodeDecodeError:
        is_sound = False
    if is_blank or not is_sound:
        decode(path)


class _ParquetRows(_Source):
    """Records of a Parquet file by their number, from 1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._scan = pl.scan_parquet(path, glob=False)
            self.columns = tuple(self._scan.collect_schema().names())
            n = int(self._scan.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(path, error) from None
        self.numbers = np.arange(1, n + 1, dtype=np.int64)

    def read(self, at: Int[np.ndarray, " row"], columns: Sequence[str]) -> pl.DataFrame:
        chosen = self._scan.select(cs.by_name(*columns))
        frames = []
        # never more than a batch is held, however far the rows lie apart
        for near in np.split(at, np.flatnonzero(np.diff(at // BATCH)) + 1):
            first, n = int(near[0]), int(near[-1] - near[0]) + 1
            try:
                typed = chosen.slice(first, n).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise _unreadable(self._path, error) from None
            if typed.height != n:
                raise _changed(self._path)
            asked = typed if len(near) == n else typed[near - first]
            frames.append(pl.DataFrame({series.name: as_text(series, self._path) for series in asked.iter_columns()}))
        return pl.concat(frames).select(cs.by_name(*columns))


def _unreadable(path: Path, error: Exception) -> RecordError:
    return RecordError(f"{path.name}: not readable as Parquet ({type(error).__name__}); write the file again")


def _changed(path: Path) -> RecordError:
    return RecordError(f"{path.name}: changed while it was read; leave it alone and start again")
