"""What stands between a network's probability and an answer: calibration, decision thresholds, conformal sets.

All three are fitted in `evaluation` on answers that the network was not trained on (`training.settling` calls the fits); here
they are held, applied and written down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from attending.evaluation.conformal import Conformal
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.recalibration import Calibration


@dataclass(frozen=True, kw_only=True)
class Settling:
    """How raw answers are settled. `thresholds` holds the findings for which the schema has a rule."""

    calibration: Calibration
    conformal: Conformal | None
    thresholds: Mapping[str, float]

    def calibrated(self, raw: Float[np.ndarray, "case finding"]) -> Float[np.ndarray, "case finding"]:
        """Calibrated probabilities."""
        return self.calibration.apply(raw)

    def in_set(self, calibrated: Float[np.ndarray, "case finding"]) -> Bool[np.ndarray, "case finding"]:
        """Whether each finding belongs to the case's conformal set; all do where there were too few cases to fit one."""
        if self.conformal is None:
            return np.ones(calibrated.shape, dtype=bool)
        return self.conformal.sets(calibrated)[0]

    def apply(self, outcomes: Outcomes) -> Outcomes:
        """The rows with calibrated probability, conformal sets and the threshold in force; `raw` stays as it was answered."""
        probability = self.calibrated(outcomes.probability)
        thresholds = np.tile([self.thresholds.get(finding, np.nan) for finding in outcomes.findings], (len(outcomes), 1))
        present, absent = (None, None) if self.conformal is None else self.conformal.sets(probability)
        return replace(
            outcomes,
            raw=outcomes.probability,
            probability=probability,
            in_set=present,
            absence_in_set=absent,
            threshold=thresholds if self.thresholds else None,
        )

    def to_plain(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "calibration": self.calibration.to_dict(),
            "conformal": None if self.conformal is None else self.conformal.to_dict(),
            "thresholds": dict(self.thresholds),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Settling":
        """The inverse of `to_plain`."""
        conformal = plain["conformal"]
        return cls(
            calibration=Calibration.from_dict(plain["calibration"]),
            conformal=None if conformal is None else Conformal.from_dict(conformal),
            thresholds=plain["thresholds"],
        )
