"""Deletion and insertion: does the answer go where the explanation says, and faster than in a random order?

Places are taken away, heaviest first, and brought in, heaviest first (Petsiuk et al. 2018, "RISE", section 4.3), each by
being absent and never by a value in its stead. The area is the mean over the steps of how far the answer has moved; it is held
against the same area in random orders. With a sign, the answer must fall as what speaks for it goes. Without one, it must
leave the full answer early, whichever way, and come back to it early.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from attending.case import Case, Whole
from attending.diagnosis import Explanation
from attending.evaluation.estimate import Estimate
from attending.evaluation.resampling import draws
from attending.explanation.explainer import column_of
from attending.explanation.opened import OpenCase
from attending.model.trained import TrainedModel

RESAMPLES = 2000
FEWEST = 10
"""Patients under which no interval is given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One of the two tests. `answers` along the explanation's order, from nothing done to all done; areas in the answer's unit.

    `random` holds the area of each random order. A larger area is better, for both tests.
    """

    answers: Float[np.ndarray, " step"]
    area: float
    random: Float[np.ndarray, " order"]

    @property
    def gain(self) -> float:
        """The area less the mean of random orders."""
        return self.area - float(self.random.mean())

    @property
    def range(self) -> tuple[float, float]:
        """Where 95 % of random orders lie."""
        low, high = np.quantile(self.random, [0.025, 0.975])
        return float(low), float(high)

    @property
    def is_above(self) -> bool:
        """Better than 97.5 % of random orders."""
        return self.area > self.range[1]


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Both tests of one explanation."""

    deletion: Curve
    insertion: Curve

    @property
    def gain(self) -> float:
        """Mean gain of the two over random orders; 0 is no better than chance."""
        return (self.deletion.gain + self.insertion.gain) / 2


class CurveTest:
    """One opened case and the random orders that every explanation of it is held against."""

    def __init__(self, model: TrainedModel, case: Case, *, n_random: int = 20, n_steps: int = 12, seed: int = 0) -> None:
        self.model, self.opened = model, OpenCase(model, case)
        n = len(self.opened)
        self._steps = np.unique(np.round(np.linspace(0, n, min(n_steps, n) + 1)).astype(int))
        dice = np.random.default_rng([seed, 0xC0FE])
        orders = [dice.permutation(n) for _ in range(n_random)]
        self._random = [self._answers(order) for order in orders]

    def of(self, explanation: Explanation, *, has_sign: bool) -> Faithfulness:
        """Both tests. Places that the explanation does not weigh count as 0."""
        column = column_of(self.model.task, explanation.finding)
        held = dict(explanation.weights)
        by_piece = {place.evidence: weight for place, weight in explanation.weights if isinstance(place.part, Whole)}
        weight = np.array([held.get(place, by_piece.get(place.evidence, 0.0)) for place in self.opened.places])
        own = self._answers(np.argsort(-weight, kind="stable"))
        curves = []
        for test in (0, 1):
            areas = [_area(answers[test][:, column], is_deletion=test == 0, has_sign=has_sign) for answers in self._random]
            answers = own[test][:, column]
            area = _area(answers, is_deletion=test == 0, has_sign=has_sign)
            curves.append(Curve(answers=answers, area=area, random=np.array(areas)))
        return Faithfulness(deletion=curves[0], insertion=curves[1])

    def _answers(self, order: Int[np.ndarray, " place"]) -> tuple[np.ndarray, np.ndarray]:
        """Scores of every finding as places go in this order, and as they come."""
        come = np.zeros((len(self._steps), len(order)), dtype=bool)
        for row, step in enumerate(self._steps):
            come[row, order[:step]] = True
        scores = self.opened.scores(np.concatenate([~come, come]))
        return scores[: len(come)], scores[len(come) :]


def _area(answers: Float[np.ndarray, " step"], *, is_deletion: bool, has_sign: bool) -> float:
    if has_sign:
        moved = answers[0] - answers if is_deletion else answers - answers[0]
    else:
        moved = np.abs(answers[0] - answers) if is_deletion else -np.abs(answers[-1] - answers)
    return float(moved.mean())


def mean_gain(gains: Sequence[float], patients: Sequence[str], *, seed: int = 0) -> Estimate:
    """The mean gain over cases with a percentile bootstrap over patients; without an interval under ten patients."""
    values, names = np.asarray(gains, dtype=float), np.unique(np.asarray(patients), return_inverse=True)[1]
    n = len(values)
    if n == 0:
        return Estimate(value=None, n=0, events=0, method="none", note="no case was explained")
    if len(np.unique(names)) < FEWEST:
        return Estimate(
            value=float(values.mean()), n=n, events=n, method="none", note=f"under {FEWEST} patients: no interval is given"
        )
    by_patient = np.stack([np.bincount(names, weights=values), np.bincount(names)])
    drawn = [
        (count @ by_patient[0]) / (count @ by_patient[1])
        for count in draws(by_patient.shape[1], RESAMPLES, seed=seed, widest=by_patient.shape[1])
    ]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return Estimate(
        value=float(values.mean()), low=float(low), high=float(high), n=n, events=n, method="percentile bootstrap over patients"
    )
