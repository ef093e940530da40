"""The thread that owns the networks: it gathers, keeps cases apart, survives any of them, and turns away what is too much."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import replace

import pytest

from attending.case import Case, Note
from attending.model.trained import TrainedModel
from attending.service import worker as room
from attending.service.worker import Answered, BusyError, Worker
from tests.explanation.models_at_hand import CASES, WHOLE, model_of
from tests.service.asking import WHOLE as MESSAGE
from tests.service.asking import Client


class Held:
    """A gate through which batches pass only when it is open."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, size: int) -> None:
        self.sizes.append(size)
        self.entered.set()
        assert self.open.wait(10)


@pytest.fixture(scope="module")
def small() -> TrainedModel:
    return model_of(members=1)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def worker(small: TrainedModel, held: Held) -> Iterator[Worker]:
    made = Worker(small, seen=held)
    yield made
    held.open.set()
    made.close()


def busy(worker: Worker, held: Held) -> "Future[Answered]":
    """The worker at its first case, which it does not finish before `held.open` is set."""
    first = worker.submit(CASES[0])
    assert held.entered.wait(10)
    return first


def test_what_waits_is_answered_together_and_each_gets_its_own(worker: Worker, held: Held) -> None:
    first = busy(worker, held)
    waiting = [worker.submit(case) for case in CASES[1:21]]
    held.open.set()
    answers = [future.result(10) for future in (first, *waiting)]
    assert held.sizes == [1, 20]
    assert [answer.diagnosis.case for answer in answers] == [case.id for case in CASES[:21]]
    alone = worker.model.diagnose(CASES[:1])[0]
    assert answers[0].diagnosis == alone
    assert answers[0].shares is None


def test_batches_are_bounded_in_cases_and_in_what_a_long_note_makes_of_the_others(worker: Worker, held: Held) -> None:
    busy(worker, held)
    long = replace_note(WHOLE, "fever " * (room.MOST_CHARACTERS // 24))
    waiting = [worker.submit(case) for case in (*CASES[:3], long, *CASES[3:6], *CASES * 2)]
    held.open.set()
    wait(waiting, 30)
    assert sum(held.sizes) == 1 + len(waiting)
    assert max(held.sizes) <= room.MOST_CASES
    assert held.sizes[1:3] == [4, room.MOST_CASES]


def replace_note(case: Case, text: str) -> Case:
    return replace(case, evidence=tuple(replace(e, text=text) if isinstance(e, Note) else e for e in case.evidence))


def test_an_explanation_does_not_hold_up_those_who_ask_for_none(worker: Worker, held: Held) -> None:
    busy(worker, held)
    explained = [worker.submit(WHOLE, explains=True) for _ in range(3)]
    plain = worker.submit(CASES[3])
    held.open.set()
    plain.result(10)
    answers = [future.result(10) for future in explained]
    assert held.sizes == [1, 1, 1, 1, 1]
    assert all(answer.shares is not None and set(answer.shares) == {"sick", "old"} for answer in answers)


def test_a_case_that_cannot_be_answered_fails_alone(small: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    whole = TrainedModel.diagnose

    def picky(model: TrainedModel, cases: list[Case]) -> object:
        if any(case.id == CASES[2].id for case in cases):
            raise RuntimeError("not this one")
        return whole(model, cases)

    monkeypatch.setattr(TrainedModel, "diagnose", picky)
    worker = Worker(small, seen=held)
    busy(worker, held)
    waiting = [worker.submit(case) for case in CASES[1:5]]
    held.open.set()
    wait(waiting, 10)
    assert [future.exception() is not None for future in waiting] == [False, True, False, False]
    assert worker.is_alive
    worker.close()
    assert not worker.is_alive
    with pytest.raises(BusyError):
        worker.submit(CASES[0])


def test_nobody_who_has_gone_is_answered(worker: Worker, held: Held) -> None:
    busy(worker, held)
    gone = worker.submit(CASES[1])
    assert gone.cancel()
    held.open.set()
    worker.submit(CASES[2]).result(10)
    assert sum(held.sizes) == 2


def test_too_many_are_turned_away(worker: Worker, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_WAITING", 3)
    busy(worker, held)
    for case in CASES[:3]:
        worker.submit(case)
    with pytest.raises(BusyError):
        worker.submit(CASES[4])
    held.open.set()


def test_who_is_turned_away_is_told_when_to_come_back(model: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_WAITING", 0)
    with Client(model) as client:
        answer = client.diagnose(MESSAGE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_errands_take_their_turn_between_batches(worker: Worker, held: Held) -> None:
    first = busy(worker, held)
    errand = worker.run(lambda model: model.id)
    failing = worker.run(lambda _: 1 / 0)
    gone = worker.run(lambda _: pytest.fail("nobody waits for it any more"))
    assert gone.cancel()
    plain = worker.submit(CASES[1])
    assert worker.waiting == 4
    held.open.set()
    assert errand.result(10) == worker.model.id
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    assert plain.result(10).diagnosis.case == CASES[1].id
    assert first.result(10).diagnosis.case == CASES[0].id
    assert worker.is_alive
    worker.close()
    with pytest.raises(BusyError):
        worker.run(lambda model: model.id)
