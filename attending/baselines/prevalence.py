"""The prevalence: the answer of somebody who looked at nobody."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attending.baselines.baseline import Baseline, BaselineConfig, prevalence
from attending.case import Case
from attending.diagnosis import Task


@dataclass(frozen=True, kw_only=True)
class PrevalenceConfig(BaselineConfig):
    """The same answer for every case: the share of training patients with the finding."""

    name: str = "prevalence"

    def _fit(self, cases: Sequence[Case], *, task: Task, visible: frozenset[str], seed: int) -> "Prevalence":
        """Count."""
        return Prevalence(share=prevalence(cases, task))

    def looks_at(self, case: Case) -> bool:
        """Always: it needs nothing."""
        return True


@dataclass(frozen=True, kw_only=True, eq=False)
class Prevalence(Baseline):
    """A constant."""

    share: Float[np.ndarray, " finding"]

    def _probability(self, cases: Sequence[Case]) -> Float[np.ndarray, "case finding"]:
        """The prevalence of the training cases, once per case."""
        return np.tile(self.share, (len(cases), 1))
