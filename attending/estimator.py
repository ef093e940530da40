"""The fused model as a scikit-learn classifier on lists of cases.

    groups = [case.group for case in cases]
    cross_val_score(DiagnosisEstimator(), cases, truth, groups=groups, cv=GroupKFold(5), scoring="roc_auc")

The outer folds are scikit-learn's: give it `groups`, or visits of one patient part. Inside, everything that is chosen (length
of training, calibration, conformal sets) is chosen on inner folds of whole groups. No baselines, no intervals and no report:
those are a study's (`attending.hold_study`).
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from attending.case import Case
from attending.cohort import nested_folds
from attending.diagnosis import Task
from attending.evaluation.outcomes import Outcomes
from attending.model.diagnoser import Tokenizers
from attending.model.trained import TrainedModel, network_from
from attending.training.bridge import joined, members_of, outcomes_of
from attending.training.learner import DiagnoserLearner, Diary
from attending.training.network import mean_loss, seeded
from attending.training.recipe import Recipe, default_recipe
from attending.training.settling import Declared, settle


class EstimatorError(ValueError):
    """Cases or labels from which nothing can be learned; the message says what is expected."""


class DiagnosisEstimator(ClassifierMixin, BaseEstimator):
    """A multi-modal classifier whose samples are `Case`s.

    - `task`: what is asked. None: every finding recorded in any training case, each a question of its own.
    - `recipe`: model and training. None: the default one for the evidence that the training cases hold.
    - `visible`: names of fields whose absence the default recipe may see.
    - `inner_folds`: folds of whole groups on which length and calibration are chosen (fewer where there are fewer groups).
    - `random_state`: everything random follows from it. `threads` None leaves torch's number as it is.

    After `fit`: `model_` (a `TrainedModel`; `model_.diagnose(cases)` gives sets and what was missing), `task_`, `classes_`
    (the two labels of a binary task, otherwise the findings), `length_` (epochs).
    """

    model_: TrainedModel
    task_: Task
    classes_: np.ndarray
    length_: int

    def __init__(
        self,
        *,
        task: Task | None = None,
        recipe: Recipe | None = None,
        visible: frozenset[str] = frozenset(),
        inner_folds: int = 3,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.task = task
        self.recipe = recipe
        self.visible = visible
        self.inner_folds = inner_folds
        self.random_state = random_state
        self.threads = threads

    def fit(self, cases: Sequence[Case], y: Sequence[Any] | np.ndarray | None = None) -> Self:
        """Train on these cases. `y` None takes what is recorded in them (a finding that is not recorded stays unknown);
        otherwise `y` holds one of two labels per case and takes the place of the record."""
        cases = list(cases)
        if not cases:
            raise EstimatorError("there are no cases to fit; give at least one with and one without each finding")
        cases, self.task_, self.classes_ = (
            _recorded(cases, self.task) if y is None else _labelled(cases, np.asarray(y), self.task)
        )
        recipe = self.recipe or default_recipe(cases, visible=self.visible)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            self.model_, self.length_ = self._trained(cases, recipe)
        finally:
            torch.set_num_threads(before)
        return self

    def predict_proba(self, cases: Sequence[Case]) -> Float[np.ndarray, "case class"]:
        """Calibrated probabilities: of `classes_`, or, where findings do not exclude each other, of each finding."""
        check_is_fitted(self)
        probability = self.model_.probability(list(cases))
        return np.column_stack([1.0 - probability[:, 0], probability[:, 0]]) if self._is_binary else probability

    def predict(self, cases: Sequence[Case]) -> np.ndarray:
        """The likelier label of each case; where findings do not exclude each other, which of them are likelier than not."""
        probability = self.predict_proba(cases)
        if self._is_binary or self.task_.exclusive:
            return self.classes_[probability.argmax(axis=1)]
        return probability > 0.5

    def score(self, cases: Sequence[Case], y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy, scikit-learn's default for classifiers; `y` None compares with what is recorded. With a rare finding it
        says little: give `cross_val_score` a `scoring`, such as "neg_log_loss" or "roc_auc"."""
        check_is_fitted(self)
        if y is not None:
            return float(super().score(cases, y, sample_weight))
        cases = list(cases)
        known = np.array([[finding in case.truth for finding in self.task_.findings] for case in cases])
        truth = np.array([[case.truth.get(finding, False) for finding in self.task_.findings] for case in cases])
        if self.task_.exclusive:
            known = (truth & known).any(axis=1)
            right = self.predict(cases) == self.classes_[truth.argmax(axis=1)]
        else:
            right = (self.model_.probability(cases) > 0.5) == truth
        if not known.any():
            raise EstimatorError("nothing is recorded in these cases; give y, or cases with a known truth")
        weight = known * (1.0 if sample_weight is None else np.reshape(sample_weight, (-1, *[1] * (known.ndim - 1))))
        return float((right * weight).sum() / weight.sum())

    @property
    def _is_binary(self) -> bool:
        return len(self.task_.findings) == 1

    def _trained(self, cases: Sequence[Case], recipe: Recipe) -> tuple[TrainedModel, int]:
        """Length and settling from inner folds, then every member on all cases."""
        learner = DiagnoserLearner(name="fused", diagnoser=recipe.diagnoser, training=recipe.training)
        length, held_out = self._inner(cases, learner)
        tokenizers = Tokenizers.fit(recipe.diagnoser, cases).with_gate(cases)
        networks = []
        for member in range(learner.members):
            seed = seeded(self.random_state, 10_000, member)
            fitted = learner.fit(cases, length=length, task=self.task_, seed=seed, diary=Diary())
            networks.append(network_from(fitted.network.state_dict(), recipe.diagnoser, tokenizers, self.task_))
        model = TrainedModel(
            task=self.task_,
            config=recipe.diagnoser,
            tokenizers=tokenizers,
            networks=tuple(networks),
            settling=settle(held_out, Declared(seed=self.random_state)),
            schema="",
            provenance={"attending": version("attending"), "seed": self.random_state, "lengths": [length]},
        )
        return model, length

    def _inner(self, cases: Sequence[Case], learner: DiagnoserLearner) -> tuple[int, Outcomes]:
        """The length of least inner log loss, and the inner answers at that length."""
        by_id = {case.id: case for case in cases}
        n_folds = min(self.inner_folds, len({case.group for case in cases}))
        if n_folds < 2:
            raise EstimatorError("all cases belong to one group; length and calibration need at least two groups")
        answered, held = [], []
        for fold in nested_folds(members_of(cases), n_folds, seed=self.random_state):
            train, held_out = ([case for case in cases if case.id in ids] for ids in (set(fold.train), set(fold.test)))
            along = [
                learner.trajectory(
                    train, held_out, task=self.task_, seed=seeded(self.random_state, fold.fold, member), diary=Diary()
                )
                for member in range(learner.members)
            ]
            answered.append(np.mean(along, axis=0))
            held.append(held_out)
        everybody = [case for part in held for case in part]
        assert len(everybody) == len(by_id)
        length = int(np.argmin(mean_loss(np.concatenate(answered, axis=1), everybody, task=self.task_))) + 1
        rows = [
            outcomes_of(part, one[length - 1], task=self.task_, fold=number)
            for number, (part, one) in enumerate(zip(held, answered, strict=True))
        ]
        return length, joined(rows)


def _recorded(cases: list[Case], task: Task | None) -> tuple[list[Case], Task, np.ndarray]:
    """Cases with any record of the task; the task; its classes."""
    found = sorted({finding for case in cases for finding in case.truth})
    if task is None:
        if not found:
            raise EstimatorError("no case has a recorded finding; give y, or cases with a known truth")
        task = Task(findings=tuple(found))
    for finding in task.findings:
        told = {case.truth[finding] for case in cases if finding in case.truth}
        if len(told) < 2 and not task.exclusive:
            state = "recorded for no case" if not told else "the same in every case where it is recorded"
            raise EstimatorError(f'finding "{finding}" is {state}; expected cases with it and cases without it')
    known = [case for case in cases if any(finding in case.truth for finding in task.findings)]
    classes = np.array([False, True]) if len(task.findings) == 1 else np.array(task.findings)
    return known, task, classes


def _labelled(cases: list[Case], y: np.ndarray, task: Task | None) -> tuple[list[Case], Task, np.ndarray]:
    """Cases whose record is the label; a binary task; the two labels, the greater of which is the finding."""
    if y.shape != (len(cases),):
        raise EstimatorError(f"y has shape {y.shape}, expected one label for each of {len(cases)} cases")
    classes = np.unique(y)
    if len(classes) != 2 or (classes.dtype.kind == "f" and np.isnan(classes).any()):
        raise EstimatorError(
            f"y holds {len(classes)} labels, expected two and none unknown; "
            "for several classes or findings leave y out and give task=Task(…), so that the record of the cases is used"
        )
    if task is None:
        task = Task(findings=("y",))
    if len(task.findings) != 1:
        raise EstimatorError(f"y takes the place of one finding, the task has {len(task.findings)}; leave y out")
    (finding,) = task.findings
    relabelled = [replace(case, truth={finding: bool(label == classes[1])}) for case, label in zip(cases, y, strict=True)]
    return relabelled, task, classes
