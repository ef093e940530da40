"""A gate against cases unlike those trained on: how unusual each thing about a case is, with a limit that no test case moved.

Every trait (a film, a note, one laboratory value) has a Mahalanobis distance of its own, so that absence counts for nothing and
the gate can say what is unlike. Covariances are shrunk (Ledoit & Wolf 2004); past the main directions all others share one
variance (Tipping & Bishop 1999). It knows what is unusual, not what is wrong: a case inside may still be answered badly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

DIRECTIONS = 32
"""Main directions of a trait that have a variance of their own."""
FOLDS = 5
FEWEST = 20
"""Groups of usual cases from which on a trait is judged at all."""
_HALF, _MOST = 0.5, 0.95
"""Quantiles of usual distances that are the 0 and the 1 of strangeness, whatever a trait's number of dimensions."""
_NEAREST, _NARROWEST = 0.1, 0.05
"""Distances below this are alike; and the least that the two quantiles of a log distance are taken to lie apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trait:
    """One thing about each case, as numbers. Rows of cases that are not `there` count for nothing."""

    values: Float[np.ndarray, "case number"]
    there: Bool[np.ndarray, " case"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """What is usual of one trait. `rest` is the variance in every direction but the main ones (0: there are no others).

    `half` and `most` are the log distances below which half and 95 % of usual cases lie.
    """

    mean: Float[np.ndarray, " number"]
    directions: Float[np.ndarray, "number direction"]
    variances: Float[np.ndarray, " direction"]
    rest: float
    half: float
    most: float

    def distance(self, values: Float[np.ndarray, "case number"]) -> Float[np.ndarray, " case"]:
        """Mahalanobis distance from the mean; infinite or not a number where a value is, or is too large to be squared."""
        with np.errstate(over="ignore", invalid="ignore"):
            away = np.asarray(values, dtype=float) - self.mean
            along = away @ self.directions
            squared = (along**2 / self.variances).sum(axis=1)
            if self.rest:
                squared = squared + np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0.0) / self.rest
            return np.sqrt(squared)

    def strangeness(self, distance: Float[np.ndarray, " case"]) -> Float[np.ndarray, " case"]:
        """0 at the usual median distance, 1 at the 95th percentile, by logs; infinite where the distance is not a number."""
        logs = np.log(np.maximum(distance, _NEAREST))
        return np.where(np.isnan(logs), np.inf, (logs - self.half) / max(self.most - self.half, _NARROWEST))


@dataclass(frozen=True, kw_only=True, eq=False)
class Gate:
    """Cases with a trait stranger than `limit` are outside. `outlying` is the share of usual cases that it turns away."""

    shapes: Mapping[str, Shape]
    limit: float
    outlying: float
    n: int

    def outside(self, traits: Mapping[str, Trait]) -> tuple[str | None, ...]:
        """Per case the name of its strangest trait where that is past the limit, else None. `traits` are one or more."""
        names = [name for name in self.shapes if name in traits]
        if not names:
            return (None,) * len(next(iter(traits.values())).there)
        by_trait = np.stack([_strangeness(self.shapes[name], traits[name]) for name in names], axis=1)
        strangest = by_trait.argmax(axis=1)
        past = by_trait.max(axis=1) > self.limit
        return tuple(names[trait] if is_past else None for trait, is_past in zip(strangest, past, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON (`limit` None: nothing is turned away)."""
        return {
            "shapes": {
                name: {
                    "mean": shape.mean.tolist(),
                    "directions": shape.directions.tolist(),
                    "variances": shape.variances.tolist(),
                    "rest": shape.rest,
                    "half": shape.half,
                    "most": shape.most,
                }
                for name, shape in self.shapes.items()
            },
            "limit": self.limit if np.isfinite(self.limit) else None,
            "outlying": self.outlying,
            "n": self.n,
        }

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> "Gate":
        """The inverse of `to_dict`."""
        limit = written["limit"]
        return cls(
            shapes={
                name: Shape(
                    mean=np.array(shape["mean"], dtype=float),
                    directions=np.array(shape["directions"], dtype=float),
                    variances=np.array(shape["variances"], dtype=float),
                    rest=float(shape["rest"]),
                    half=float(shape["half"]),
                    most=float(shape["most"]),
                )
                for name, shape in written["shapes"].items()
            },
            limit=float("inf") if limit is None else float(limit),
            outlying=float(written["outlying"]),
            n=int(written["n"]),
        )


def fit_gate(traits: Mapping[str, Trait], *, groups: Sequence[object], outlying: float = 0.01, seed: int = 0) -> Gate:
    """From usual cases alone, by cross-fitting: each is judged by shapes that the others of its group's fold had no part in.

    `groups` are the patients (or wider) of the cases. Of one case per group at most `outlying` falls outside; with fewer than
    ⌈1/outlying⌉ − 1 groups nothing is turned away (the limit is infinite).
    """
    members, whose = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(members))[whose] % FOLDS
    shapes, strange = {}, [np.full(len(whose), -np.inf)]
    for name, trait in traits.items():
        if len(np.unique(whose[trait.there])) < FEWEST:
            continue
        shapes[name], distance = _cross_fitted(trait, fold)
        strange.append(np.where(trait.there, shapes[name].strangeness(distance), -np.inf))
    first = np.unique(whose, return_index=True)[1]
    usual = np.sort(np.max(strange, axis=0)[first])
    rank = ceil((len(usual) + 1) * (1.0 - outlying))
    limit = float(usual[rank - 1]) if 0 < rank <= len(usual) and shapes else float("inf")
    return Gate(shapes=shapes, limit=limit, outlying=outlying, n=len(usual))


def _strangeness(shape: Shape, trait: Trait) -> Float[np.ndarray, " case"]:
    """Nothing is less strange than what is absent."""
    strange = np.full(len(trait.there), -np.inf)
    strange[trait.there] = shape.strangeness(shape.distance(trait.values[trait.there]))
    return strange


def _cross_fitted(trait: Trait, fold: np.ndarray) -> tuple[Shape, Float[np.ndarray, " case"]]:
    """The shape of all cases, and each case's distance from the shape of the other folds."""
    values = np.asarray(trait.values, dtype=float)
    distance = np.zeros(len(values))
    for number in range(FOLDS):
        inside, asked = trait.there & (fold != number), trait.there & (fold == number)
        if asked.any():
            distance[asked] = _shape(values[inside]).distance(values[asked])
    half, most = np.log(np.maximum(np.quantile(distance[trait.there], (_HALF, _MOST)), _NEAREST))
    return replace(_shape(values[trait.there]), half=float(half), most=float(most)), distance


def _shape(values: Float[np.ndarray, "case number"]) -> Shape:
    variances, directions = np.linalg.eigh(shrunk_covariance(values))
    variances, directions = variances[::-1], directions[:, ::-1]
    rest = variances[DIRECTIONS:]
    return Shape(
        mean=values.mean(axis=0),
        directions=directions[:, :DIRECTIONS],
        variances=variances[:DIRECTIONS],
        rest=float(rest.mean()) if len(rest) else 0.0,
        half=0.0,
        most=1.0,
    )


def shrunk_covariance(features: Float[np.ndarray, "case dim"]) -> Float[np.ndarray, "dim dim"]:
    """Covariance drawn toward a multiple of the identity by the amount that Ledoit & Wolf (2004) found best."""
    centred = features - features.mean(axis=0)
    n, dim = centred.shape
    covariance = centred.T @ centred / n
    middle = float(np.trace(covariance)) / dim
    spread = float(((covariance - middle * np.eye(dim)) ** 2).sum())
    noise = float(((centred**2).T @ (centred**2)).sum() / n - (covariance**2).sum()) / n
    share = 1.0 if spread <= 0.0 else min(max(noise, 0.0) / spread, 1.0)
    # A floor for features that never vary: an infinite precision would turn the first new value away whatever its size.
    floor = max(middle, 1e-12) * 1e-6
    return (1.0 - share) * covariance + (share * middle + floor) * np.eye(dim)
