"""Site and missingness: what the circumstances alone give away, without one value, word or pixel.

It sees the site, which fields and modalities are there, how many of each, and from which side a film was taken. Seeing what is
missing is its purpose, so `visible` does not bind it. What it reaches is what any model may owe to how the data came together.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression

from attending.baselines.answers import Answers, fit_answers
from attending.baselines.baseline import Baseline, BaselineConfig
from attending.case import Case, Demographics, Embedding, Evidence, Lab, Note, Scan, Sign
from attending.diagnosis import Task


@dataclass(frozen=True, kw_only=True)
class CircumstancesConfig(BaselineConfig):
    """Ridge logistic regression on indicators of site, presence, repetition and view."""

    name: str = "site-and-missingness"
    strength: float = 0.5

    def looks_at(self, case: Case) -> bool:
        """Always: that nothing is there is a circumstance too."""
        return True

    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "Circumstances":
        """Learn which circumstances vary in training, and fit."""
        met = [circumstances(case) for case in cases]
        counts = Counter(name for names in met for name in names)
        vocabulary = tuple(sorted(name for name, count in counts.items() if count < len(cases)))
        answers = fit_answers(
            lambda _: LogisticRegression(C=self.strength, max_iter=2000),
            _indicators(met, vocabulary),
            cases,
            task=task,
            present=np.full(len(cases), bool(vocabulary)),
        )
        return Circumstances(vocabulary=vocabulary, answers=answers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Circumstances(Baseline):
    """Indicators → probabilities."""

    vocabulary: tuple[str, ...]
    answers: Answers

    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The prevalence where no circumstance varied in training."""
        features = _indicators([circumstances(case) for case in cases], self.vocabulary)
        return self.answers.probability(features, present=np.full(len(cases), bool(self.vocabulary)))


def circumstances(case: Case) -> frozenset[str]:
    """What is true of a case without looking at any value: its site, what is there, and what is there repeatedly."""
    names = Counter(name for evidence in case.evidence for name in _names(evidence))
    found = {f"{name} ×{min(count, 3)}" for name, count in names.items() if count > 1} | set(names)
    if case.site is not None:
        found.add(f"site {case.site}")
    return frozenset(found)


def _names(evidence: Evidence) -> tuple[str, ...]:
    match evidence:
        case Demographics(age_years=age, sex=sex):
            return (("age",) if age is not None else ()) + (("sex",) if sex is not None else ())
        case Scan(field_name=name, view=view):
            return (f"Scan {name}",) if view is None else (f"Scan {name}", f"view {view}")
        case Lab(code=name) | Sign(name=name) | Note(field_name=name) | Embedding(name=name):
            return (f"{type(evidence).__name__} {name}",)
    return (type(evidence).__name__,)


def _indicators(met: Sequence[frozenset[str]], vocabulary: tuple[str, ...]) -> np.ndarray:
    return np.array([[name in names for name in vocabulary] for names in met], dtype=np.float64).reshape(
        len(met), len(vocabulary)
    )
