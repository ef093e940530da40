"""What each place adds, the mean over sampled orders in which places come in: Shapley values of places, by sampling.

Orders come in pairs, one and its reverse (Mitchell et al. 2022, "Sampling permutations for Shapley value estimation", section
4.1), and the values sum exactly to the answer with all places less that with none, whatever was drawn. The draw is fixed by
`seed`: the same case gives the same picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attending.case import Case
from attending.diagnosis import Explanation
from attending.explanation.explainer import Account, Explainer, ExplainerConfig, column_of
from attending.explanation.opened import OpenCase
from attending.explanation.scale import unit_of
from attending.model.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class PlaceShapleyConfig(ExplainerConfig):
    """`n_pairs` orders and their reverses are walked: 2 × `n_pairs` × places answers. Needs no reference."""

    name: ClassVar[str] = "place-shapley"
    told: ClassVar[str] = "what this place adds to the calibrated answer, the mean over sampled orders in which places come in"
    n_pairs: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_pairs < 1:
            raise ValueError(f"n_pairs={self.n_pairs}: at least 1 is needed")

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "PlaceShapley":
        """The explainer."""
        return PlaceShapley(model, self)


class PlaceShapley(Explainer):
    """Sampled values over places."""

    def __init__(self, model: TrainedModel, config: PlaceShapleyConfig) -> None:
        self.model, self.config = model, config

    def explain(self, case: Case, finding: str) -> Explanation:
        """As `account`, without what the weights sum to."""
        return self.account(case, finding).explanation

    def account(self, case: Case, finding: str) -> Account:
        """Values and what they sum to."""
        column = column_of(self.model.task, finding)
        opened = OpenCase(self.model, case)
        n = len(opened)
        dice = np.random.default_rng(self.config.seed)
        values, start, end = np.zeros(n), 0.0, 0.0
        for _ in range(self.config.n_pairs):
            order = dice.permutation(n)
            for one in (order, order[::-1]):
                kept = np.zeros((n + 1, n), dtype=bool)
                for step, place in enumerate(one, start=1):
                    kept[step:, place] = True
                scores = opened.scores(kept)[:, column]
                values[one] += np.diff(scores) / (2 * self.config.n_pairs)
                start += scores[0] / (2 * self.config.n_pairs)
                end += scores[-1] / (2 * self.config.n_pairs)
        return Account(
            explanation=Explanation(
                finding=finding,
                method=PlaceShapleyConfig.name,
                weights=tuple(zip(opened.places, map(float, values), strict=True)),
            ),
            start=float(start),
            end=float(end),
            unit=unit_of(is_exclusive=self.model.task.exclusive),
            origin="the case without any of these places",
        )
