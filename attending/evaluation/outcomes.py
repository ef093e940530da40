"""Predictions beside the truth: the one thing that evaluation reads.

Numpy only. One `Outcomes` holds one model's probabilities for one set of findings; under cross-validation a case occurs once
per repeat, and `repeat` and `fold` say where each row was held out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Rows of (case, repeat) with a probability per finding, and what was recorded.

    `truth` means something only where `known`. `exclusive` says that rows of `probability` sum to 1. `groups` are resampled
    as wholes. `strata` are named slices (site, sex, age band, missing pattern) with one level per row.
    """

    ids: np.ndarray
    groups: np.ndarray
    findings: tuple[str, ...]
    probability: Float[np.ndarray, "row finding"]
    truth: Bool[np.ndarray, "row finding"]
    known: Bool[np.ndarray, "row finding"]
    repeat: Int[np.ndarray, " row"]
    fold: Int[np.ndarray, " row"]
    exclusive: bool = False
    strata: Mapping[str, np.ndarray] = field(default_factory=dict)
    weight: Float[np.ndarray, " row"] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.findings))
        for name in ("probability", "truth", "known"):
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}: one row per id, one column per finding")
        for name in ("groups", "repeat", "fold"):
            if len(getattr(self, name)) != len(self.ids):
                raise ValueError(f"{name} has {len(getattr(self, name))} rows for {len(self.ids)} ids")
        known = self.probability[self.known]
        if known.size and not (np.isfinite(known).all() and known.min() >= 0.0 and known.max() <= 1.0):
            raise ValueError("probabilities lie in [0, 1]; found a value outside or not a number among the known rows")

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, chosen: np.ndarray) -> "Outcomes":
        """The rows that `chosen` (a mask or indices) picks."""
        return replace(
            self,
            ids=self.ids[chosen],
            groups=self.groups[chosen],
            probability=self.probability[chosen],
            truth=self.truth[chosen],
            known=self.known[chosen],
            repeat=self.repeat[chosen],
            fold=self.fold[chosen],
            strata={name: level[chosen] for name, level in self.strata.items()},
            weight=None if self.weight is None else self.weight[chosen],
        )
