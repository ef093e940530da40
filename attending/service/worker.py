"""One thread that owns the networks: it gathers the cases that are waiting, has them answered together, and gives each its own.

Explanations take their turn between batches, one at a time, so that they hold nobody up for longer than one of them takes. A
case that cannot be answered fails alone. Knows no HTTP.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from attending.case import Case, Note
from attending.diagnosis import Diagnosis
from attending.explanation.shapley import Shapley, Shares
from attending.model.trained import TrainedModel

MOST_CASES = 32
MOST_CHARACTERS = 200_000
"""Cases of a batch times the characters of its longest notes: a long note makes every other case as long."""
LINGER_SECONDS = 0.002
"""How long a batch waits for company, and only where the last one had some: whoever is alone does not wait."""
MOST_WAITING = 512
T = TypeVar("T")


class BusyError(Exception):
    """More cases wait than will be answered soon, or the worker has stopped."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the model says of one case. `absence_in_set` by finding, None where findings exclude each other."""

    diagnosis: Diagnosis
    absence_in_set: Mapping[str, bool] | None
    shares: Mapping[str, Shares] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    case: Case
    explains: bool
    future: "Future[Answered]" = field(default_factory=Future)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Errand:
    """Something else that is asked of the networks."""

    task: Callable[[TrainedModel], Any]
    future: "Future[Any]" = field(default_factory=Future)


class Worker:
    """Answers cases of any number of threads. `close` waits for what it is at and turns away the rest."""

    def __init__(self, model: TrainedModel, *, threads: int = 0, seen: Callable[[int], None] = lambda _: None) -> None:
        self.model = model
        self._threads, self._seen = threads, seen
        self._plain: deque[_Asked] = deque()
        self._explained: deque[_Asked | _Errand] = deque()
        self._changed = threading.Condition()
        self._stops = False
        self._had_company = False
        self._thread = threading.Thread(target=self._work, name="attending-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Cases in the queues."""
        return len(self._plain) + len(self._explained)

    @property
    def is_alive(self) -> bool:
        """Whether cases will be answered."""
        return self._thread.is_alive() and not self._stops

    def submit(self, case: Case, *, explains: bool = False) -> "Future[Answered]":
        """The answer, as soon as it is there. Raises `BusyError`."""
        asked = _Asked(case=case, explains=explains)
        with self._changed:
            if self._stops or self.waiting >= MOST_WAITING:
                raise BusyError
            (self._explained if explains else self._plain).append(asked)
            self._changed.notify()
        return asked.future

    def run(self, task: Callable[[TrainedModel], T]) -> "Future[T]":
        """What a task makes of the model, in its turn among the explanations. Raises `BusyError`."""
        errand = _Errand(task=task)
        with self._changed:
            if self._stops or self.waiting >= MOST_WAITING:
                raise BusyError
            self._explained.append(errand)
            self._changed.notify()
        return errand.future

    def close(self) -> None:
        """Stop. Cases that wait are cancelled."""
        with self._changed:
            self._stops = True
            for asked in (*self._plain, *self._explained):
                asked.future.cancel()
            self._plain.clear()
            self._explained.clear()
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        # One core stays for reading cases and for the network, or both would wait for each other.
        torch.set_num_threads(self._threads or max(torch.get_num_threads() - 1, 1))
        while True:
            with self._changed:
                while not (self._stops or self._plain or self._explained):
                    self._changed.wait()
                if self._stops:
                    return
                batch = self._gathered()
                explained = self._explained.popleft() if self._explained else None
            if batch:
                self._answer(batch)
            if isinstance(explained, _Errand):
                self._do(explained)
            elif explained is not None:
                self._answer([explained])

    def _gathered(self) -> list[_Asked]:
        """Those in front, up to a batch. Called with the lock held."""
        until = time.monotonic() + LINGER_SECONDS
        while self._had_company and self._plain and len(self._plain) < MOST_CASES and not self._explained:
            if not self._changed.wait(until - time.monotonic()):
                break
        batch: list[_Asked] = []
        longest = 0
        while self._plain and len(batch) < MOST_CASES:
            longest = max(longest, sum(len(note.text) for note in self._plain[0].case.of(Note)))
            if batch and (len(batch) + 1) * longest > MOST_CHARACTERS:
                break
            batch.append(self._plain.popleft())
        self._had_company = len(batch) > 1
        return batch

    def _do(self, errand: _Errand) -> None:
        if not errand.future.set_running_or_notify_cancel():
            return
        try:
            errand.future.set_result(errand.task(self.model))
        except Exception as error:  # it belongs to whoever asked, and the thread lives on
            errand.future.set_exception(error)

    def _answer(self, batch: Sequence[_Asked]) -> None:
        """Give each its answer. Where a batch fails, each is tried alone: one case may not fail another."""
        batch = [asked for asked in batch if not asked.future.cancelled()]
        if not batch:
            return
        try:
            answers = self._answers(batch)
        except Exception as error:  # whatever it is, it belongs to those who asked, and the thread lives on
            if len(batch) > 1:
                for asked in batch:
                    self._answer([asked])
            else:
                _settle(batch[0], error)
            return
        for asked, answered in zip(batch, answers, strict=True):
            _settle(asked, answered)

    def _answers(self, batch: Sequence[_Asked]) -> list[Answered]:
        self._seen(len(batch))
        diagnoses = self.model.diagnose([asked.case for asked in batch])
        probability = np.array([[finding.probability for finding in each.findings] for each in diagnoses])
        conformal, findings = self.model.settling.conformal, self.model.task.findings
        absent = None if conformal is None else conformal.sets(probability)[1]
        answers = []
        for row, (asked, diagnosis) in enumerate(zip(batch, diagnoses, strict=True)):
            absence = None if absent is None else dict(zip(findings, map(bool, absent[row]), strict=True))
            explains = asked.explains and diagnosis.abstained is None
            shares = Shapley(self.model).all_shares(asked.case) if explains else None
            answers.append(Answered(diagnosis=diagnosis, absence_in_set=absence, shares=shares))
        return answers


def _settle(asked: _Asked, outcome: "Answered | Exception") -> None:
    """Hand over an outcome, unless nobody waits for it any more."""
    if not asked.future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        asked.future.set_exception(outcome)
    else:
        asked.future.set_result(outcome)
