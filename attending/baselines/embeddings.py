"""Precomputed embeddings alone: standardised vectors, then ridge logistic regression of a strength chosen inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from sklearn.preprocessing import StandardScaler

from attending.baselines.answers import Answers, fit_answers
from attending.baselines.baseline import Baseline, BaselineConfig
from attending.baselines.ridge import ChosenRidge
from attending.case import Case, Embedding, Evidence
from attending.diagnosis import Task


@dataclass(frozen=True, kw_only=True)
class EmbeddingsConfig(BaselineConfig):
    """Embeddings of one name and length averaged; those of several names beside each other, zeros where one is absent."""

    name: str = "embeddings"
    kinds: ClassVar[tuple[type[Evidence], ...]] = (Embedding,)
    strengths: tuple[float, ...] = (0.0001, 0.001, 0.01, 0.1)

    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "Embeddings":
        """Fit to the cases that hold an embedding."""
        widths = {(one.name, one.vector.shape[0]) for case in cases for one in case.of(Embedding)}
        places = tuple(sorted(widths))
        present = np.array([self.looks_at(case) for case in cases], dtype=bool)
        answers = fit_answers(
            lambda rows: ChosenRidge(rows, strengths=self.strengths, steps=lambda: (StandardScaler(),), seed=seed),
            _matrix(cases, places),
            cases,
            task=task,
            present=present,
        )
        return Embeddings(places=places, answers=answers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings(Baseline):
    """Vectors → probabilities."""

    places: tuple[tuple[str, int], ...]
    answers: Answers

    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The prevalence for a case without an embedding."""
        present = np.array([bool(case.of(Embedding)) for case in cases], dtype=bool)
        return self.answers.probability(_matrix(cases, self.places), present=present)


def _matrix(cases: Sequence[Case], places: tuple[tuple[str, int], ...]) -> Float[np.ndarray, "case feature"]:
    starts = np.cumsum([0, *(width for _, width in places)])
    matrix = np.zeros((len(cases), int(starts[-1])))
    for row, case in enumerate(cases):
        for place, (name, width) in enumerate(places):
            vectors = [one.vector for one in case.of(Embedding) if one.name == name and one.vector.shape[0] == width]
            if vectors:
                matrix[row, starts[place] : starts[place + 1]] = np.mean(vectors, axis=0)
    return matrix
