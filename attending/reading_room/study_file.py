"""The file of a reader study: a CSV to which lines are added and in which none is changed, on the disk before the page goes on.

A stage of a case (opened, judged before, judged after) is written at once. A process that was killed may leave a stage in
pieces at the end; the next start cuts those off and the reader is asked again. Free text cannot become a formula of a
spreadsheet.
"""

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attending.reading_room.judgement import SCALES, Scale

COLUMNS = (
    "study", "reader", "position", "case", "stage", "finding", "judgement", "seconds", "interrupted",
    "estimate", "threshold", "model_side", "abstained", "override_reason", "model", "at",
)  # fmt: skip
"""Of a study by numbers from 0 to 100; other scales have columns of their own behind `judgement`."""
OPENED, BEFORE, AFTER = "opened", "before", "after"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class StudyError(ValueError):
    """A reader study cannot go on in this file."""


class StudyFile:
    """An open file of one study on one scale. `groups` are the whole stages that it held when it was opened, in their order."""

    def __init__(self, path: Path, *, study: str, findings: Sequence[str], scale: Scale) -> None:
        """Raises `StudyError` where it is another study's, in use, or no such file; what is torn off its end is cut."""
        self.path, self._study, self._findings = path, study, tuple(findings)
        self._scale, self.columns = scale, columns_of(scale)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StudyError(f"--study {path}: another process writes to it; name another file") from None
            self.groups = self._opened()
        except BaseException:
            os.close(self._file)
            raise

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write one stage, flushed to the disk. Raises `OSError` where it cannot be."""
        content = _lines([[_defused(row[name]) for name in self.columns] for row in rows]).encode()
        size = os.fstat(self._file).st_size
        try:
            while content:
                content = content[os.write(self._file, content) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _opened(self) -> tuple[tuple[Mapping[str, str], ...], ...]:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        header = _header(self._scale)
        if not whole:
            if content and not header.startswith(content):
                raise StudyError(f"--study {self.path}: holds something else than a reader study; name another file")
            os.ftruncate(self._file, 0)
            os.write(self._file, header)
            os.fsync(self._file)
            return ()
        if not whole.startswith(header):
            other = next((scale.name for scale in SCALES.values() if whole.startswith(_header(scale))), None)
            if other is not None:
                raise StudyError(f"--study {self.path}: was begun with --judgement {other}; give that again, or another file")
            raise StudyError(f"--study {self.path}: holds something else than a reader study; name another file")
        groups, kept = self._groups(whole, len(header))
        if kept < len(content):
            os.ftruncate(self._file, kept)
            os.fsync(self._file)
        return groups

    def _groups(self, whole: bytes, start: int) -> tuple[tuple[tuple[Mapping[str, str], ...], ...], int]:
        """The stages, and the byte after the last whole one."""
        groups: list[tuple[Mapping[str, str], ...]] = []
        current: list[Mapping[str, str]] = []
        at = kept = start
        for line in io.BytesIO(whole[start:]):  # a reason holds no line break (see `_defused`), so a line is a row
            at += len(line)
            cells = next(csv.reader([line.decode("utf-8", errors="replace")]), [])
            row = dict(zip(self.columns, cells, strict=False))
            if len(cells) != len(self.columns) or row["study"] != self._study or row["stage"] not in (OPENED, BEFORE, AFTER):
                raise StudyError(
                    f"--study {self.path}: was begun with another model, table or --study-seed; name another file for this one"
                )
            current.append(row)
            expected = 1 if row["stage"] == OPENED else len(self._findings)
            if len(current) == expected:
                groups.append(tuple(current))
                current, kept = [], at
        return tuple(groups), kept


def columns_of(scale: Scale) -> tuple[str, ...]:
    """The columns of a study on this scale."""
    after = COLUMNS.index("judgement") + 1
    return (*COLUMNS[:after], *scale.more_columns, *COLUMNS[after:])


def _header(scale: Scale) -> bytes:
    return _lines([columns_of(scale)]).encode()


def _lines(rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _defused(value: object) -> str:
    """A cell on one line that no spreadsheet takes for a formula; numbers, which are ours, stay as they are."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value) if isinstance(value, float) else str(value)
    text = " ".join(str(value).replace("\x00", "").split())
    return f"'{text}" if text.startswith(_FORMULA) or str(value).startswith(_FORMULA) else text
