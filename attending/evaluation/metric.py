"""The contract of a metric: a number about one finding's probabilities, computed for many sets of row weights at once.

A metric is a function from a `Sample` (rows sorted by probability, once) and weights [resample, row] to one number per
resample; the point value is the case of one resample, and a bootstrap is the same call with drawn weights. NaN says "not
estimable here" (a class is absent). Knows no bootstrap, no interval and no other metric.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

CLIP = 1e-6
"""Probabilities are held this far from 0 and 1 where a logarithm is taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Rows of one finding of one model whose truth is known, sorted by probability, ascending.

    `truth` is 0 or 1; `cluster` numbers the group that is resampled as a whole, `case` the case (several repeats share it).
    `threshold` is NaN and `place` (site) −1 where not stated. `ties` are the first rows of each run of equal probabilities.
    """

    probability: Float[np.ndarray, " row"]
    truth: Float[np.ndarray, " row"]
    weight: Float[np.ndarray, " row"]
    cluster: Int[np.ndarray, " row"]
    case: Int[np.ndarray, " row"]
    threshold: Float[np.ndarray, " row"]
    place: Int[np.ndarray, " row"]
    ties: Int[np.ndarray, " run"]

    def __len__(self) -> int:
        return len(self.probability)

    @property
    def events(self) -> int:
        """Rows with the finding."""
        return int(self.truth.sum())

    @property
    def logit(self) -> Float[np.ndarray, " row"]:
        """Log-odds of the clipped probability."""
        held = np.clip(self.probability, CLIP, 1.0 - CLIP)
        return np.log(held) - np.log1p(-held)


Support = Literal["share", "per 100", "positive", "real"]
Values = Callable[[Sample, Float[np.ndarray, "resample row"]], Float[np.ndarray, " resample"]]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a number is computed and how its uncertainty may be stated.

    `within`: under cross-validation it is computed inside each fold, or inside each repeat, and averaged. `support`: a share
    lies in (0, 1), so many "per 100" in (0, 100), a positive number above 0. `at_threshold`: it needs one. `by_prevalence`: it
    changes with the share of events, so it does not transfer from a case-control sample. `better`: the direction, or None where
    1 or 0 is the aim.
    """

    name: str
    values: Values
    within: Literal["fold", "repeat"]
    support: Support
    better: Literal["higher", "lower"] | None = None
    at_threshold: bool = False
    by_prevalence: bool = False


def sample(
    *,
    probability: np.ndarray,
    truth: np.ndarray,
    weight: np.ndarray | None = None,
    cluster: np.ndarray | None = None,
    case: np.ndarray | None = None,
    threshold: np.ndarray | None = None,
    place: np.ndarray | None = None,
) -> Sample:
    """A `Sample` of rows in any order. Without `cluster` or `case` each row is its own; without `weight` each weighs 1."""
    order = np.argsort(probability, kind="stable")
    ascending = np.asarray(probability, dtype=float)[order]
    n = len(order)

    def sorted_or(values: np.ndarray | None, otherwise: np.ndarray) -> np.ndarray:
        return (otherwise if values is None else np.asarray(values))[order]

    return Sample(
        probability=ascending,
        truth=np.asarray(truth, dtype=float)[order],
        weight=sorted_or(weight, np.ones(n)).astype(float),
        cluster=sorted_or(cluster, np.arange(n)),
        case=sorted_or(case, np.arange(n)),
        threshold=sorted_or(threshold, np.full(n, np.nan)).astype(float),
        place=sorted_or(place, np.full(n, -1)),
        ties=np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])) if n else np.zeros(0, dtype=int),
    )


def point(metric: Metric, rows: Sample) -> float:
    """The metric of these rows with their own weights; NaN where it cannot be estimated."""
    if len(rows) == 0:
        return float("nan")
    return float(metric.values(rows, rows.weight[None, :])[0])


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """`over / under`, NaN where `under` is 0."""
    return np.divide(over, under, out=np.full(np.broadcast(over, under).shape, np.nan), where=under > 0)
