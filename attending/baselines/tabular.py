"""A fitted baseline on fields: what trees, linear models and demographics answer with.

Below the members. It holds the learned columns, an encoding of them as features, and the classifiers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attending.baselines.answers import Answers, Classifier, fit_answers
from attending.baselines.baseline import Baseline, BaselineConfig
from attending.baselines.fields import Fields, learn_fields
from attending.case import Case
from attending.diagnosis import Task


class Encoding(ABC):
    """From field values (NaN: seen to be missing) to features. Fitted to the training cases."""

    @abstractmethod
    def features(self, values: Float[np.ndarray, "case column"]) -> Float[np.ndarray, "case feature"]:
        """One row per row of `values`."""


@dataclass(frozen=True, kw_only=True)
class TabularConfig(BaselineConfig):
    """A baseline on numbers, signs and demographics: says how fields become features and which classifier reads them."""

    @abstractmethod
    def encoding(self, fields: Fields, values: Float[np.ndarray, "case column"]) -> Encoding:
        """The encoding fitted to the training values."""

    @abstractmethod
    def classifier(self, seed: int) -> Classifier:
        """A fresh classifier."""

    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "Tabular":
        """Learn columns, encoding and classifiers from the cases that hold any such field (or whose lack of it may be seen)."""
        fields = learn_fields(cases, kinds=self.kinds, visible=visible)
        values = fields.values(cases)
        encoding = self.encoding(fields, values)
        sees_absence = any(column.field_name in visible for column in fields.columns)
        present = _present(self, cases, fields=fields, sees_absence=sees_absence)
        answers = fit_answers(lambda _: self.classifier(seed), encoding.features(values), cases, task=task, present=present)
        return Tabular(config=self, fields=fields, encoding=encoding, answers=answers, sees_absence=sees_absence)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tabular(Baseline):
    """Fields → features → probabilities."""

    config: TabularConfig
    fields: Fields
    encoding: Encoding
    answers: Answers
    sees_absence: bool

    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The classifiers' answer; the prevalence for a case with none of these fields, unless their absence may be seen."""
        present = _present(self.config, cases, fields=self.fields, sees_absence=self.sees_absence)
        return self.answers.probability(self.encoding.features(self.fields.values(cases)), present=present)


def _present(config: TabularConfig, cases: Sequence[Case], *, fields: Fields, sees_absence: bool) -> np.ndarray:
    if not fields.columns:
        return np.zeros(len(cases), dtype=bool)
    return np.array([sees_absence or config.looks_at(case) for case in cases], dtype=bool)
