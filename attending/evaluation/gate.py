"""A gate against cases unlike those trained on: distance from the training cases, with a limit fixed without the test part.

Mahalanobis distance with a shrunk covariance (Ledoit & Wolf 2004) over any vector a model has for a case. It knows what is
unusual, not what is wrong; a case inside the gate may still be answered badly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, kw_only=True, eq=False)
class Gate:
    """Cases farther than `limit` are outside. `outlying` is the share of usual cases that it turns away."""

    mean: Float[np.ndarray, " dim"]
    precision: Float[np.ndarray, "dim dim"]
    limit: float
    outlying: float
    n: int

    def distance(self, features: Float[np.ndarray, "case dim"]) -> Float[np.ndarray, " case"]:
        """Mahalanobis distance of each case from the training cases."""
        away = np.asarray(features, dtype=float) - self.mean
        return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", away, self.precision, away), 0.0))

    def outside(self, features: Float[np.ndarray, "case dim"]) -> Bool[np.ndarray, " case"]:
        """Whether each case is farther than the limit; a case with a number that is not finite is."""
        distance = self.distance(features)
        return ~(distance <= self.limit)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON (`limit` None: nothing is turned away)."""
        return {
            "mean": self.mean.tolist(),
            "precision": self.precision.tolist(),
            "limit": self.limit if np.isfinite(self.limit) else None,
            "outlying": self.outlying,
            "n": self.n,
        }

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> "Gate":
        """The inverse of `to_dict`."""
        limit = written["limit"]
        return cls(
            mean=np.array(written["mean"], dtype=float),
            precision=np.array(written["precision"], dtype=float),
            limit=float("inf") if limit is None else float(limit),
            outlying=float(written["outlying"]),
            n=int(written["n"]),
        )


def fit_gate(train: Float[np.ndarray, "case dim"], calibrate: Float[np.ndarray, "case dim"], *, outlying: float = 0.01) -> Gate:
    """Shape from the training cases, limit from held-out ones: of cases like those, at most `outlying` fall outside.

    With fewer than ⌈1/outlying⌉ − 1 held-out cases nothing is turned away (the limit is infinite).
    """
    if len(train) < 2:
        raise ValueError(f"a gate needs at least 2 training cases, found {len(train)}")
    mean = train.mean(axis=0)
    open_gate = Gate(
        mean=mean,
        precision=np.linalg.inv(shrunk_covariance(train)),
        limit=float("inf"),
        outlying=outlying,
        n=len(calibrate),
    )
    rank = ceil((len(calibrate) + 1) * (1.0 - outlying))
    if rank > len(calibrate):
        return open_gate
    limit = float(np.sort(open_gate.distance(calibrate))[rank - 1])
    return Gate(mean=mean, precision=open_gate.precision, limit=limit, outlying=outlying, n=len(calibrate))


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
