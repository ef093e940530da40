"""From a matrix of features to probabilities of the findings, with whatever scikit-learn classifier a member brings.

Below the members: one question per finding, or one for all where they exclude each other; the constant prevalence where a fit
holds one class only. Which features, and which classifier, is the members' business.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Protocol, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix

from attending.baselines.baseline import patient_weights, prevalence, truths
from attending.case import Case
from attending.diagnosis import Task

Features: TypeAlias = np.ndarray | csr_matrix


class Classifier(Protocol):
    """What scikit-learn calls a classifier."""

    classes_: np.ndarray

    def fit(self, X: Features, y: np.ndarray, sample_weight: np.ndarray) -> object: ...

    def predict_proba(self, X: Features) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Classifiers fitted to a task: one per finding (None: one class only), or a single one where they exclude each other."""

    task: Task
    prevalence: Float[np.ndarray, " finding"]
    classifiers: tuple[Classifier | None, ...]

    def probability(self, features: Features, *, present: Bool[np.ndarray, " case"]) -> Float[np.ndarray, "case finding"]:
        """Probability per row of `features`; rows that are not `present` get the prevalence."""
        answer = np.tile(self.prevalence, (features.shape[0], 1))
        rows = np.flatnonzero(present)
        if not len(rows):
            return answer
        for column, classifier in enumerate(self.classifiers):
            if classifier is None:
                continue
            found = classifier.predict_proba(features[rows])
            if self.task.exclusive:
                answer[np.ix_(rows, classifier.classes_)] = found * self.prevalence[classifier.classes_].sum()
            else:
                answer[rows, column] = found[:, list(classifier.classes_).index(1)]
        return answer


def fit_answers(
    make: Callable[[Sequence[Case]], Classifier],
    features: Features,
    cases: Sequence[Case],
    *,
    task: Task,
    present: Bool[np.ndarray, " case"],
) -> Answers:
    """Fit `make(their cases)` to the rows that are `present` and known, each patient counted once.

    The prevalence is that of all cases, present or not, so that an absent modality says nothing.
    """
    truth, known = truths(cases, task)
    if task.exclusive:
        classifiers: tuple[Classifier | None, ...] = (
            _fit_one(make, features, cases, target=truth.argmax(axis=1), chosen=known[:, 0] & present),
        )
    else:
        classifiers = tuple(
            _fit_one(make, features, cases, target=truth[:, column].astype(int), chosen=known[:, column] & present)
            for column in range(len(task.findings))
        )
    return Answers(task=task, prevalence=prevalence(cases, task), classifiers=classifiers)


def _fit_one(
    make: Callable[[Sequence[Case]], Classifier],
    features: Features,
    cases: Sequence[Case],
    *,
    target: np.ndarray,
    chosen: Bool[np.ndarray, " case"],
) -> Classifier | None:
    if len(np.unique(target[chosen])) < 2:
        return None
    rows = list(compress(cases, chosen))
    classifier = make(rows)
    weight = patient_weights(rows)
    classifier.fit(features[np.flatnonzero(chosen)], target[chosen], sample_weight=weight)
    return classifier
