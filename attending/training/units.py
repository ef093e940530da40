"""Units of work: one fit each, independent of the others, so that they run side by side and survive a kill.

A unit's result is a few arrays in one file, written whole. A run that is started again reads what is there and does the rest;
inside a long fit a checkpoint is kept. Since a unit's bits depend on its seed and the threads per unit alone, a run that was
killed and continued gives the bits of one that was not.
"""

import hashlib
import io
import json
import multiprocessing
import os
import threading
import time
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attending.artefacts import ArtefactError, write_bytes
from attending.case import Case, CaseId

Arrays = Mapping[str, np.ndarray]


class WorkerError(ValueError):
    """A process that was fitting ended; what it had finished is kept."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a unit finds where it runs: all cases by id, and a folder for what must outlive a kill (None: nothing does)."""

    cases: Mapping[CaseId, Case]
    folder: Path | None = None

    def choose(self, ids: Sequence[CaseId]) -> list[Case]:
        """The cases with these ids, in this order."""
        return [self.cases[id] for id in ids]

    def note(self, **entry: Any) -> None:
        """Append one line to the journal."""
        if self.folder is not None:
            with (self.folder / JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(json.dumps({"at": round(time.time(), 3)} | entry) + "\n")


JOURNAL = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Unit(ABC):
    """One fit. `name` is unique in a run and says what is fitted on what."""

    name: str
    seed: int

    @abstractmethod
    def work(self, workplace: Workplace) -> Arrays:
        """Do it."""

    @property
    def file_name(self) -> str:
        """The result's file: the name, shortened by a hash so that any name will do."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:24] + ".npz"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is: units done of all, with the name of the last."""

    done: int
    of: int
    last: str
    seconds: float = field(compare=False)


def run_units(units: Sequence[Unit], *, workplace: Workplace, threads: int) -> Iterator[tuple[Unit, Arrays, Progress]]:
    """Yield every unit with its result as it becomes ready, those found on disk first.

    `threads` are shared out: as many processes as there are units to fill them, each with an equal share. The share is
    computed from all units, also those already done, because a result's bits depend on it.
    """
    if not units:
        return
    if len({unit.name for unit in units}) != len(units):
        raise AssertionError("units of one run have different names")
    n_workers = max(1, min(threads, len(units)))
    share = max(1, threads // n_workers)
    started, done = time.monotonic(), 0
    waiting = []
    for unit in units:
        found = _found(unit, workplace)
        if found is None:
            waiting.append(unit)
        else:
            done += 1
            yield unit, found, Progress(done=done, of=len(units), last=unit.name, seconds=time.monotonic() - started)
    for unit, result in _side_by_side(waiting, workplace=workplace, n_workers=n_workers, threads=share):
        done += 1
        yield unit, result, Progress(done=done, of=len(units), last=unit.name, seconds=time.monotonic() - started)


def discard_damaged(folder: Path) -> tuple[str, ...]:
    """Remove the results in a folder that cannot be read, so that their fits are done again. Gives the names of their files."""
    damaged = []
    for path in sorted(folder.glob("*.npz")):
        try:
            _read(path)
        except ArtefactError:
            path.unlink()
            damaged.append(path.name)
    return tuple(damaged)


def _found(unit: Unit, workplace: Workplace) -> Arrays | None:
    if workplace.folder is None:
        return None
    path = workplace.folder / unit.file_name
    return _read(path) if path.is_file() else None


def _read(path: Path) -> Arrays:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}  # the archive checks its own sums
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtefactError(f"{path}: the result of a fit is damaged; remove it, and this fit is done again") from error


def _do(unit: Unit, workplace: Workplace) -> Arrays:
    began = time.monotonic()
    result = unit.work(workplace)
    if workplace.folder is not None:
        content = io.BytesIO()
        np.savez(content, **result)  # type: ignore[arg-type]
        write_bytes(workplace.folder / unit.file_name, content.getvalue())
        workplace.note(unit=unit.name, seconds=round(time.monotonic() - began, 3))
    return result


_here: Workplace | None = None
"""The workplace of this worker process, set once when the process starts."""


def _arrive(workplace: Workplace, threads: int) -> None:
    global _here  # noqa: PLW0603 -- one per process, so that the cases travel once and not with every unit
    _here = workplace
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _use_threads(threads)


def _leave_with_parent() -> None:
    """End this worker when the run that started it is killed; it would wait for its next unit for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do_here(unit: Unit) -> Arrays:
    assert _here is not None
    return _do(unit, _here)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _side_by_side(
    units: Iterable[Unit], *, workplace: Workplace, n_workers: int, threads: int
) -> Iterator[tuple[Unit, Arrays]]:
    units = list(units)
    if n_workers == 1:
        _use_threads(threads)
        for unit in units:
            yield unit, _do(unit, workplace)
        return
    if not units:
        return
    with (
        _environment(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads)),
        ProcessPoolExecutor(
            max_workers=n_workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_arrive,
            initargs=(workplace, threads),
        ) as pool,
    ):
        futures = {pool.submit(_do_here, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "a worker process ended before its fit was done: it was killed, memory ran out, or the script that holds "
                'the study lacks `if __name__ == "__main__":` (then add it, or use threads=1); the same study, started again, '
                "goes on from here"
            ) from error
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def fingerprint(**content: Any) -> str:
    """SHA-256 of settings, so that a run is continued only under the settings it began with."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    try:
        return {"type": type(value).__name__, **asdict(value)}
    except TypeError:
        return sorted(value) if isinstance(value, frozenset) else str(value)
