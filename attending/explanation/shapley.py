"""What each modality adds to the answer: exact Shapley values over the modalities that are there.

Every combination of a case's modalities is a case that the model answers natively, so nothing is imputed: a modality that is
out is absent. With six modalities these are 64 answers. Not about places within a modality: see `occlusion` and `gradients`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from types import MappingProxyType
from typing import ClassVar

from attending.case import Case, Evidence, Place
from attending.diagnosis import Explanation
from attending.explanation.explainer import Account, Explainer, ExplainerConfig, ExplanationError, column_of
from attending.explanation.games import coalitions, shapley_values
from attending.explanation.scale import score_of, unit_of
from attending.model.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The value of each modality that is there, in the model's order, and what they sum to: `full` − `empty`.

    `empty` is the answer for the case without any evidence, on the scale `unit`.
    """

    finding: str
    values: Mapping[type[Evidence], float]
    empty: float
    full: float
    unit: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))


@dataclass(frozen=True, kw_only=True)
class ShapleyConfig(ExplainerConfig):
    """Shapley values over modalities; needs no reference."""

    name: ClassVar[str] = "shapley"
    told: ClassVar[str] = "what the modality adds to the calibrated answer, the mean over all orders in which they come in"

    def build(self, model: TrainedModel, reference: Sequence[Case]) -> "Shapley":
        """The explainer."""
        return Shapley(model)


class Shapley(Explainer):
    """Exact values over modalities."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def explain(self, case: Case, finding: str) -> Explanation:
        """As `account`, without what the weights sum to."""
        return self.account(case, finding).explanation

    def account(self, case: Case, finding: str) -> Account:
        """A modality's value, shared equally by its pieces of evidence: it does not say which of them told."""
        shares = self.shares(case, finding)
        weights = []
        for kind, value in shares.values.items():
            pieces = [index for index, evidence in enumerate(case.evidence) if isinstance(evidence, kind)]
            weights += [(Place(index), value / len(pieces)) for index in pieces]
        return Account(
            explanation=Explanation(finding=finding, method=ShapleyConfig.name, weights=tuple(weights)),
            start=shares.empty,
            end=shares.full,
            unit=shares.unit,
            origin="the case without any evidence",
        )

    def shares(self, case: Case, finding: str) -> Shares:
        """The value of each modality for one finding."""
        column_of(self.model.task, finding)
        return self.all_shares(case)[finding]

    def all_shares(self, case: Case) -> Mapping[str, Shares]:
        """The values for every finding of the task, from one set of answers."""
        present = [kind for kind in self.model.tokenizers.by_kind if case.of(kind)]
        if not present:
            raise ExplanationError("the case has no evidence of a kind that the model reads; there is nothing to explain")
        kept = [tuple(compress(present, row)) for row in coalitions(len(present))]
        is_exclusive = self.model.task.exclusive
        worth = score_of(self.model.probability_of_subsets(case, kept), is_exclusive=is_exclusive)
        found = {}
        for column, finding in enumerate(self.model.task.findings):
            values = shapley_values(worth[:, column])
            found[finding] = Shares(
                finding=finding,
                values=dict(zip(present, map(float, values), strict=True)),
                empty=float(worth[0, column]),
                full=float(worth[-1, column]),
                unit=unit_of(is_exclusive=is_exclusive),
            )
        return found
