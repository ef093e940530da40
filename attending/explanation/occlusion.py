"""What the answer loses when one place is gone: a word, a cell of a film, a value.

Absence is native here, so a place is taken away and nothing is put in its stead (Zeiler and Fergus 2014, section 3, without
the grey patch). What two places say alike, neither loses alone: `place-shapley` does not have this blind spot and costs more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attending.case import Case
from attending.diagnosis import Explanation
from attending.explanation.explainer import Explainer, ExplainerConfig, column_of
from attending.explanation.opened import OpenCase
from attending.model.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class OcclusionConfig(ExplainerConfig):
    """The calibrated score with all evidence, less the score without the place. Needs no reference."""

    name: ClassVar[str] = "occlusion"
    told: ClassVar[str] = "what the calibrated answer loses when this place alone is taken away"

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "Occlusion":
        """The explainer."""
        return Occlusion(model)


class Occlusion(Explainer):
    """One answer for each place that is gone."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def explain(self, case: Case, finding: str) -> Explanation:
        """Signed: above 0 speaks for the finding."""
        column = column_of(self.model.task, finding)
        opened = OpenCase(self.model, case)
        kept = np.concatenate([np.ones((1, len(opened)), dtype=bool), ~np.eye(len(opened), dtype=bool)])
        scores = opened.scores(kept)[:, column]
        lost = scores[0] - scores[1:]
        return Explanation(
            finding=finding, method=OcclusionConfig.name, weights=tuple(zip(opened.places, map(float, lost), strict=True))
        )
