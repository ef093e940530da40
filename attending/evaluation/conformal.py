"""Conformal sets: which answers cannot be excluded at a stated rate of error. "90 % of patients like those in calibration, not
this patient."

For findings that do not exclude each other a yes/no set each; for exclusive findings a set of classes. Score: 1 − probability
of the answer. Split conformal (Vovk 2005; per class: Mondrian) and cross-conformal (Vovk 2015; Barber et al. 2021). One case of
each group is used, because cases of a patient are not exchangeable with other patients' cases.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from attending.evaluation.outcomes import Outcomes

FEWEST_PER_CLASS = 50
"""Calibration cases of a class from which it has its own quantile."""

Sets = tuple[Bool[np.ndarray, "case finding"], Bool[np.ndarray, "case finding"] | None]
"""Whether each finding is in the set and, unless findings exclude each other, whether its absence is."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The calibration scores of one answer (a finding, or its absence), sorted, by fold. `note` says if and why they are those
    of all answers."""

    finding: str
    is_present: bool
    scores: tuple[tuple[float, ...], ...]
    note: str = ""

    @property
    def n(self) -> int:
        """Calibration cases."""
        return sum(len(fold) for fold in self.scores)


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """Scores to hold new cases against. An answer is in the set where its p-value is above `alpha`."""

    alpha: float
    exclusive: bool
    answers: tuple[Answer, ...]
    guarantee: str
    notes: tuple[str, ...] = ()

    def sets(self, probability: Float[np.ndarray, "case finding"]) -> Sets:
        """Sets for cases that one model predicted."""
        return self.cross_sets(np.repeat(np.asarray(probability, dtype=float)[None], self.n_folds, axis=0))

    def cross_sets(self, probability: Float[np.ndarray, "fold case finding"]) -> Sets:
        """Sets for cases that each fold's model predicted; a fold's scores are compared with its own model's answer."""
        if len(probability) != self.n_folds:
            raise ValueError(f"expected predictions of {self.n_folds} models, found {len(probability)}")
        present = [answer for answer in self.answers if answer.is_present]
        column = {answer.finding: k for k, answer in enumerate(present)}
        inside = {True: np.zeros(probability.shape[1:], dtype=bool), False: np.zeros(probability.shape[1:], dtype=bool)}
        for answer in self.answers:
            k = column[answer.finding]
            p = probability[:, :, k]
            inside[answer.is_present][:, k] = self._holds(answer, 1.0 - p if answer.is_present else p)
        return inside[True], None if self.exclusive else inside[False]

    @property
    def n_folds(self) -> int:
        """Models whose scores are held."""
        return len(self.answers[0].scores)

    def _holds(self, answer: Answer, score: Float[np.ndarray, "fold case"]) -> Bool[np.ndarray, " case"]:
        """p-value above alpha: (1 + calibration scores at least as strange) / (n + 1)."""
        stranger = np.ones(score.shape[1])
        for fold, own in zip(answer.scores, score, strict=True):
            stranger += len(fold) - np.searchsorted(np.array(fold), own, side="left")
        return stranger > self.alpha * (answer.n + 1) * (1.0 + 1e-12)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> "Conformal":
        """The inverse of `to_dict`."""
        answers = tuple(
            Answer(**{**answer, "scores": tuple(tuple(float(s) for s in fold) for fold in answer["scores"])})
            for answer in written["answers"]
        )
        return cls(**{**written, "answers": answers, "notes": tuple(written["notes"])})


def fit_conformal(outcomes: Outcomes, *, alpha: float = 0.1, seed: int = 0) -> Conformal:
    """Split conformal on cases that neither training nor calibration saw: covers 1 − alpha to 1 − alpha + 1 / (n + 1).

    One random case of each group. A class has its own scores from 50 cases, otherwise those of all answers, with the reason.
    With fewer than ⌈1/alpha⌉ − 1 cases every answer is in every set, and a note says so.
    """
    guarantee = (
        f"covers at least {1.0 - alpha:g} of patients like those in calibration, on average over calibration sets; "
        "not this patient"
    )
    return _fit(outcomes, np.zeros(len(outcomes), dtype=int), alpha, seed, guarantee)


def fit_cross_conformal(outcomes: Outcomes, *, alpha: float = 0.1, seed: int = 0) -> Conformal:
    """Cross-conformal on cross-fitted probabilities (one repeat, several folds): guaranteed is 1 − 2·alpha, usual 1 − alpha.

    The guarantee is that of `cross_sets`, with each fold's own model. `sets` with one refitted model carries none; then the
    coverage measured on test cases is what there is to go by.
    """
    first = outcomes.rows(outcomes.repeat == outcomes.repeat.min())
    folds, index = np.unique(first.fold, return_inverse=True)
    if len(folds) < 2:
        raise ValueError("cross-conformal needs cross-fitted probabilities of at least 2 folds; use fit_conformal")
    guarantee = (
        f"covers at least {1.0 - 2.0 * alpha:g} of patients like those in training (about {1.0 - alpha:g} as a rule) with the "
        f"models of the {len(folds)} folds; a refitted single model carries no guarantee; not this patient"
    )
    return _fit(first, index, alpha, seed, guarantee)


def _fit(outcomes: Outcomes, fold: np.ndarray, alpha: float, seed: int, guarantee: str) -> Conformal:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is the rate of error allowed, between 0 and 1; found {alpha:g}")
    n_folds = int(fold.max(initial=0)) + 1
    notes: list[str] = []
    answers: list[Answer] = []
    if outcomes.exclusive:
        rows = _one_per_group(outcomes, np.asarray(outcomes.known.all(axis=1)), seed)
        asked = [(finding, True, rows, outcomes.truth[:, k]) for k, finding in enumerate(outcomes.findings)]
        pooled = {True: (rows, 1.0 - (outcomes.probability * outcomes.truth).sum(axis=1))}
        answers = _answers(asked, pooled, outcomes, fold, n_folds)
    else:
        for k, finding in enumerate(outcomes.findings):
            rows = _one_per_group(outcomes, outcomes.known[:, k], seed)
            truth = outcomes.truth[:, k]
            asked = [(finding, True, rows, truth), (finding, False, rows, ~truth)]
            own = np.where(truth, 1.0 - outcomes.probability[:, k], outcomes.probability[:, k])
            answers += _answers(asked, {True: (rows, own), False: (rows, own)}, outcomes, fold, n_folds)
    least = ceil(1.0 / alpha) - 1
    short = sorted({answer.finding for answer in answers if answer.n < least})
    if short:
        notes.append(f"fewer than {least} calibration cases for {', '.join(short)}: every answer is in every set")
    return Conformal(alpha=alpha, exclusive=outcomes.exclusive, answers=tuple(answers), guarantee=guarantee, notes=tuple(notes))


def _answers(
    asked: list[tuple[str, bool, np.ndarray, np.ndarray]],
    pooled: Mapping[bool, tuple[np.ndarray, np.ndarray]],
    outcomes: Outcomes,
    fold: np.ndarray,
    n_folds: int,
) -> list[Answer]:
    made = []
    # Own quantiles for one answer and pooled ones for the other would let the pooled one borrow from a class it is not: both
    # answers of a question are per class, or neither is.
    fewest = min(int((rows & truth).sum()) for _, _, rows, truth in asked)
    for finding, is_present, rows, truth in asked:
        held, score = pooled[is_present]
        note = f"marginal: {fewest} calibration cases of the rarest answer, fewer than {FEWEST_PER_CLASS}"
        if fewest >= FEWEST_PER_CLASS:
            k = outcomes.findings.index(finding)
            held, note = rows & truth, ""
            score = 1.0 - outcomes.probability[:, k] if is_present else outcomes.probability[:, k]
        scores = tuple(tuple(np.sort(score[held & (fold == j)]).tolist()) for j in range(n_folds))
        made.append(Answer(finding=finding, is_present=is_present, scores=scores, note=note))
    return made


def _one_per_group(outcomes: Outcomes, known: np.ndarray, seed: int) -> np.ndarray:
    """A mask with one random known row of each group."""
    rows = np.flatnonzero(known)
    shuffled = rows[np.random.default_rng([seed, 0xC0F]).permutation(len(rows))]
    _, first = np.unique(outcomes.groups[shuffled].astype(str), return_index=True)
    chosen = np.zeros(len(known), dtype=bool)
    chosen[shuffled[first]] = True
    return chosen
