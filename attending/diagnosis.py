"""What goes out: the task that was set, and for one case the estimated probability of each recorded label.

A `Diagnosis` is "estimated probability of the recorded label", never a statement that a patient has a disease.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from attending.case import CaseId, Place


@dataclass(frozen=True, kw_only=True)
class Task:
    """The findings asked about. `exclusive`: exactly one is true (softmax); otherwise each is its own question (sigmoid)."""

    findings: tuple[str, ...]
    exclusive: bool = False

    def __post_init__(self) -> None:
        if not self.findings or len(set(self.findings)) != len(self.findings):
            raise ValueError(f"a task asks about one or more findings, each named once; found {self.findings}")
        if self.exclusive and len(self.findings) < 2:
            raise ValueError("findings exclude each other only where there are at least two")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One recorded label: its calibrated probability, and whether it belongs to the conformal set."""

    name: str
    probability: float
    in_set: bool


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The answer for one case. `abstained` is the reason for giving none; `missing` names inputs that were not there."""

    case: CaseId
    findings: tuple[Finding, ...]
    abstained: str | None
    missing: tuple[str, ...]
    model: str

    def probability(self) -> Mapping[str, float]:
        """Finding → calibrated probability in [0, 1]."""
        return {finding.name: finding.probability for finding in self.findings}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why: places with signed weights for one finding, by one method. `faithfulness` is None until it was measured."""

    finding: str
    method: str
    weights: tuple[tuple[Place, float], ...]
    faithfulness: float | None = None
