"""The scikit-learn estimator: one of scikit-learn's own kind, and nobody is on both sides of an inner fold."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict, cross_val_score

from attending.case import Case, GroupId, PatientId
from attending.diagnosis import Task
from attending.estimator import DiagnosisEstimator, EstimatorError
from attending.training import learner as learning
from tests.tables import sick_cases, tiny_recipe


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return sick_cases(tmp_path_factory.mktemp("sick"))


def estimator(**changes: Any) -> DiagnosisEstimator:
    return DiagnosisEstimator(**{"recipe": tiny_recipe(), "threads": 1, "inner_folds": 2, **changes})


def labels(cases: Sequence[Case]) -> list[bool]:
    return [case.truth["sick"] for case in cases]


def test_it_is_an_estimator_as_scikit_learn_means_it(cases: list[Case]) -> None:
    made = estimator(random_state=7)
    copy = clone(made)
    assert copy.get_params() == made.get_params()
    assert copy.set_params(random_state=8).random_state == 8
    assert is_classifier(made)
    with pytest.raises(NotFittedError):
        made.predict_proba(cases)


def test_it_learns_inside_cross_val_score_with_groups(tmp_path: Path) -> None:
    cases = sick_cases(tmp_path, n=160)  # of 40 cases a fold holds 20, whose AUROC alone scatters by 0.2
    scores = cross_val_score(
        estimator(recipe=tiny_recipe(epochs=20)),
        cases,
        labels(cases),
        groups=[case.group for case in cases],
        cv=GroupKFold(2),
        scoring="roc_auc",
    )
    assert scores.shape == (2,)
    assert scores.min() > 0.8


def test_it_answers_inside_cross_val_predict_with_groups(cases: list[Case]) -> None:
    groups = [case.group for case in cases]
    answered = cross_val_predict(estimator(), cases, labels(cases), groups=groups, cv=GroupKFold(2), method="predict_proba")
    assert answered.shape == (len(cases), 2)
    assert np.allclose(answered.sum(axis=1), 1.0)


def test_labels_given_and_labels_recorded_give_the_same_model(cases: list[Case]) -> None:
    recorded = estimator().fit(cases)
    given = estimator().fit([replace(case, truth={}) for case in cases], labels(cases))
    assert np.array_equal(recorded.predict_proba(cases), given.predict_proba(cases))
    assert recorded.score(cases) == given.score(cases, labels(cases)) == accuracy_score(labels(cases), given.predict(cases))
    words = estimator().fit(cases, ["well" if sick else "ill" for sick in labels(cases)])
    assert words.classes_.tolist() == ["ill", "well"]
    assert np.array_equal(words.predict_proba(cases), recorded.predict_proba(cases))
    assert set(words.predict(cases)) <= {"ill", "well"}


def test_nobody_is_on_both_sides_of_an_inner_fold(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    paired = [replace(case, group=GroupId(f"g{n // 2}"), patient=PatientId(f"g{n // 2}")) for n, case in enumerate(cases)]
    sides = []
    original = learning.DiagnoserLearner.trajectory

    def watched(self: Any, train: Sequence[Case], held_out: Sequence[Case], **rest: Any) -> np.ndarray:
        sides.append(({case.group for case in train}, {case.group for case in held_out}))
        return original(self, train, held_out, **rest)

    monkeypatch.setattr(learning.DiagnoserLearner, "trajectory", watched)
    estimator(inner_folds=3).fit(paired)
    assert len(sides) == 3
    assert all(not train & held_out for train, held_out in sides)
    assert set.union(*(held_out for _, held_out in sides)) == {case.group for case in paired}


def test_several_findings_and_exclusive_findings(tmp_path: Path, cases: list[Case]) -> None:
    both = [replace(case, truth={"sick": case.truth["sick"], "odd": n % 3 == 0}) for n, case in enumerate(cases)]
    several = estimator().fit(both)
    assert several.classes_.tolist() == ["odd", "sick"]
    assert several.predict_proba(both).shape == several.predict(both).shape == (len(cases), 2)
    classes = [replace(case, truth={name: n % 3 == k for k, name in enumerate("uvw")}) for n, case in enumerate(cases)]
    exclusive = estimator(task=Task(findings=("u", "v", "w"), exclusive=True)).fit(classes)
    assert np.allclose(exclusive.predict_proba(classes).sum(axis=1), 1.0)
    assert set(exclusive.predict(classes)) <= {"u", "v", "w"}
    right = exclusive.predict(classes) == np.array([max(case.truth, key=case.truth.__getitem__) for case in classes])
    assert exclusive.score(classes) == pytest.approx(right.mean())


def test_an_unknown_truth_does_not_count_in_the_score(cases: list[Case]) -> None:
    fitted = estimator().fit(cases)
    half = [replace(case, truth={}) if n < 20 else case for n, case in enumerate(cases)]
    assert fitted.score(half) == accuracy_score(labels(cases)[20:], fitted.predict(cases)[20:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cases: ([], None), "no cases to fit"),
        (lambda cases: (cases, [1] * len(cases)), "y holds 1 labels, expected two"),
        (lambda cases: (cases, [0, 1]), "expected one label for each of 40 cases"),
        (lambda cases: (cases, [float("nan"), *[1.0] * (len(cases) - 1)]), "none unknown"),
        (lambda cases: ([replace(case, truth={}) for case in cases], None), "no case has a recorded finding"),
        (lambda cases: ([replace(case, truth={"sick": True}) for case in cases], None), "the same in every case"),
        (lambda cases: ([replace(case, group=GroupId("g"), patient=PatientId("g")) for case in cases], None), "one group"),
    ],
)
def test_what_cannot_be_learned_is_refused(cases: list[Case], change: Any, said: str) -> None:
    with pytest.raises(EstimatorError, match=said):
        estimator().fit(*change(cases))
