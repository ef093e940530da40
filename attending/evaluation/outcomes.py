"""Predictions beside the truth: the one thing that evaluation reads.

Numpy only. One `Outcomes` holds one model's probabilities for one set of findings; under cross-validation a case occurs once
per repeat, and `repeat` and `fold` say where each row was held out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

PER_ROW = ("weight", "abstained")
PER_FINDING = ("raw", "in_set", "absence_in_set", "threshold")
"""Fields that may be None."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Rows of (case, repeat) with a probability per finding, and what was recorded.

    `truth` means something only where `known`. `exclusive` says that rows of `probability` sum to 1. `groups` are resampled
    as wholes. `strata` are named slices (`site`, `pattern`, sex, age band) with one level per row. `weight` is 1 / (number of
    cases of the patient); None weighs every case the same. `probability` is calibrated and `raw` is what it was before;
    `in_set` says that the finding belongs to the case's conformal set and `absence_in_set` that its absence does;
    `threshold` is the one in force for that row, fitted without its fold.
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
    raw: Float[np.ndarray, "row finding"] | None = None
    in_set: Bool[np.ndarray, "row finding"] | None = None
    absence_in_set: Bool[np.ndarray, "row finding"] | None = None
    abstained: Bool[np.ndarray, " row"] | None = None
    threshold: Float[np.ndarray, "row finding"] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.findings))
        for name in ("probability", "truth", "known", *PER_FINDING):
            held = getattr(self, name)
            if held is not None and held.shape != shape:
                raise ValueError(f"{name} has shape {held.shape}, expected {shape}: one row per id, one column per finding")
        for name in ("groups", "repeat", "fold", *PER_ROW):
            held = getattr(self, name)
            if held is not None and len(held) != len(self.ids):
                raise ValueError(f"{name} has {len(held)} rows for {len(self.ids)} ids")
        for name, level in self.strata.items():
            if len(level) != len(self.ids):
                raise ValueError(f"stratum {name} has {len(level)} rows for {len(self.ids)} ids")
        known = self.probability[self.known]
        if known.size and not (np.isfinite(known).all() and known.min() >= 0.0 and known.max() <= 1.0):
            raise ValueError("probabilities lie in [0, 1]; found a value outside or not a number among the known rows")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def weights(self) -> Float[np.ndarray, " row"]:
        """`weight`, or ones."""
        return np.ones(len(self)) if self.weight is None else np.asarray(self.weight, dtype=float)

    def rows(self, chosen: np.ndarray) -> "Outcomes":
        """The rows that `chosen` (a mask or indices) picks."""
        held = {name: getattr(self, name) for name in (*PER_ROW, *PER_FINDING)}
        optional: dict[str, Any] = {name: None if rows is None else rows[chosen] for name, rows in held.items()}
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
            **optional,
        )
