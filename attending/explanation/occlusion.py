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
from attending.explanation.vicinity import vicinity
from attending.model.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class OcclusionConfig(ExplainerConfig):
    """The calibrated score with all evidence, less the score without the place. Needs no reference."""

    name: ClassVar[str] = "occlusion"
    told: ClassVar[str] = "what the calibrated answer loses when this place alone is taken away"

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "Occlusion":
        """The explainer."""
        return Occlusion(model)


@dataclass(frozen=True, kw_only=True)
class WindowOcclusionConfig(ExplainerConfig):
    """As occlusion, where the places within `reach` words or cells go too and the middle one gets the weight.

    For what several neighbours tell together: a shadow over four cells, a phrase whose words are read in their context.
    """

    name: ClassVar[str] = "window-occlusion"
    told: ClassVar[str] = "what the calibrated answer loses when this place and those next to it are taken away"
    reach: int = 1

    def __post_init__(self) -> None:
        if self.reach < 1:
            raise ValueError(f"reach={self.reach}: at least 1 is needed; a single place is what occlusion takes away")

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "Occlusion":
        """The explainer."""
        return Occlusion(model, method=self.name, reach=self.reach)


class Occlusion(Explainer):
    """One answer for each place that is gone, with those within `reach` of it."""

    def __init__(self, model: TrainedModel, *, method: str = OcclusionConfig.name, reach: int = 0) -> None:
        self.model, self.method, self.reach = model, method, reach

    def explain(self, case: Case, finding: str) -> Explanation:
        """Signed: above 0 speaks for the finding."""
        column = column_of(self.model.task, finding)
        opened = OpenCase(self.model, case)
        gone = vicinity(opened.places, reach=self.reach)
        scores = opened.scores(np.concatenate([np.ones((1, len(opened)), dtype=bool), ~gone]))[:, column]
        lost = scores[0] - scores[1:]
        return Explanation(
            finding=finding, method=self.method, weights=tuple(zip(opened.places, map(float, lost), strict=True))
        )
