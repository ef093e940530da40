"""What every baseline is: a config that fits cases, and the fitted thing that answers with probabilities.

A baseline is the simple model that the fused one has to beat on the same folds. It takes de-identified cases and
scikit-learn, never `attending.model`. Nothing here is calibrated, evaluated or saved.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float
from threadpoolctl import threadpool_limits

from attending.case import Case, Evidence
from attending.diagnosis import Task


class BaselineError(ValueError):
    """A baseline was asked for something it cannot do: it has no cases to learn from."""


class Baseline(ABC):
    """A fitted baseline."""

    def probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """Estimated probability of each recorded label, in the order of the task's findings. On one thread.

        Exclusive tasks: rows sum to 1. A case that lacks what this baseline looks at gets the prevalence of the training cases.
        """
        with threadpool_limits(1):
            return self._probability(cases)

    @abstractmethod
    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """What `probability` answers."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(ABC):
    """A baseline that can be fitted. `name` is how reports and predictions files call it; `kinds` is what it looks at."""

    name: str
    kinds: ClassVar[tuple[type[Evidence], ...]] = ()

    def fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> Baseline:
        """The baseline fitted to `cases`, on one thread.

        `visible` names the fields whose being missing may be seen; elsewhere a blank is filled with the training median or
        mode. Unknown truths are left out, finding by finding; each patient counts once. The same arguments give the same bits.
        Raises `BaselineError` without any case.
        """
        if not len(cases):
            raise BaselineError(f"{self.name}: fitted to no case; the training part of this fold is empty, use fewer folds")
        with threadpool_limits(1):
            return self._fit(cases, task=task, visible=visible, seed=seed)

    @abstractmethod
    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> Baseline:
        """What `fit` gives; `cases` are at least one."""

    def looks_at(self, case: Case) -> bool:
        """Whether `case` holds any evidence of the kinds this baseline looks at."""
        return any(isinstance(evidence, self.kinds) for evidence in case.evidence)


def patient_weights(cases: Sequence[Case]) -> Float[np.ndarray, " case"]:
    """1 / (number of these cases of the same patient): 22 films of one patient count as one patient."""
    counts = Counter(case.patient for case in cases)
    return np.array([1.0 / counts[case.patient] for case in cases], dtype=np.float64)


def truths(cases: Sequence[Case], task: Task) -> tuple[Bool[np.ndarray, "case finding"], Bool[np.ndarray, "case finding"]]:
    """Truth and known, per case and finding; truth means nothing where it is not known.

    In an exclusive task a case is known only as a whole: when one finding is recorded as true.
    """
    truth = np.array([[case.truth.get(name, False) for name in task.findings] for case in cases], dtype=bool)
    known = np.array([[name in case.truth for name in task.findings] for case in cases], dtype=bool)
    truth, known = (array.reshape(len(cases), len(task.findings)) for array in (truth, known))
    if task.exclusive:
        known = np.repeat((truth & known).sum(axis=1, keepdims=True) == 1, len(task.findings), axis=1)
    return truth, known


def prevalence(cases: Sequence[Case], task: Task) -> Float[np.ndarray, " finding"]:
    """Share of patients with each finding among those where it is known, every patient counted once.

    Kept half a patient away from 0 and 1, since a finding that was not met is not impossible. A finding known nowhere gets
    0.5 (exclusive tasks: 1 / number of findings).
    """
    truth, known = truths(cases, task)
    shares = np.array([_share(cases, truth[:, column], known[:, column]) for column in range(len(task.findings))])
    if task.exclusive:
        shares = shares / shares.sum()
    return shares


def _share(cases: Sequence[Case], truth: Bool[np.ndarray, " case"], known: Bool[np.ndarray, " case"]) -> float:
    if not known.any():
        return 0.5
    weight = patient_weights(list(compress(cases, known)))
    edge = 0.5 / (weight.sum() + 1.0)
    return float(np.clip(np.average(truth[known], weights=weight), edge, 1.0 - edge))
