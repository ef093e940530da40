"""A trial's inner parts: everything that is chosen is chosen on patients of the training part, each held out or not at all."""

from pathlib import Path

import pytest

from attending.cohort import Fold, plan_protocol
from attending.diagnosis import Task
from attending.training import trial
from attending.training.bridge import members_of
from attending.training.settling import Declared
from attending.training.units import Workplace
from tests.tables import sick_cases


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> trial._Hall:
    cases = sick_cases(tmp_path_factory.mktemp("sick"), 60)
    return trial._Hall(
        cases={case.id: case for case in cases},
        learners={},
        protocol=plan_protocol(members_of(cases), kind="cv", folds=3, repeats=1, seed=5),
        task=Task(findings=("sick",)),
        declared=Declared(rules={}, seed=5),
        workplace=Workplace(cases={case.id: case for case in cases}, folder=Path()),
        threads=1,
        told=lambda stage, progress: None,
    )


def inner(hall: trial._Hall) -> tuple[Fold, tuple[Fold, ...]]:
    outer = hall.protocol.folds[1]
    return outer, hall._inner(outer, 1)


def test_few_cases_are_each_held_out_once_inside_the_training_part(hall: trial._Hall) -> None:
    outer, folds = inner(hall)
    assert len(folds) == 3
    assert sorted(id for fold in folds for id in fold.test) == sorted(outer.train)
    assert all(set(fold.train) == set(outer.train) - set(fold.test) for fold in folds)


def test_of_many_cases_one_quarter_is_held_out(hall: trial._Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "ONE_PART_FROM", 40)
    outer, folds = inner(hall)
    assert len(outer.train) == 40
    (fold,) = folds
    assert len(fold.test) == 10
    assert set(fold.train) | set(fold.test) == set(outer.train)
    assert not set(fold.train) & set(fold.test)
    monkeypatch.setattr(trial, "ONE_PART_FROM", 41)
    assert len(inner(hall)[1]) == 3
