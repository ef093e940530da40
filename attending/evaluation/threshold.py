"""A threshold and the rule it was chosen by. Chosen on calibrated probabilities that the judged rows had no part in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from attending.evaluation.outcomes import Outcomes

RuleKind = Literal["sensitivity", "specificity", "risk", "harm_to_benefit"]


class ThresholdError(ValueError):
    """A threshold rule that cannot be understood."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a threshold is chosen: at least this `sensitivity` or `specificity`, a fixed `risk`, or the harm of one needless
    flag over the benefit of one right one (`harm_to_benefit` r gives the risk r / (1 + r))."""

    kind: RuleKind
    value: float

    def __post_init__(self) -> None:
        if self.kind not in get_args(RuleKind):
            raise ThresholdError(f"unknown threshold rule {self.kind!r}; known: {', '.join(get_args(RuleKind))}")
        if not (0.0 < self.value < 1.0 or (self.kind == "harm_to_benefit" and 0.0 < self.value < np.inf)):
            raise ThresholdError(f"threshold rule {self.kind}: expected a number between 0 and 1, found {self.value:g}")

    @property
    def fixed(self) -> float | None:
        """The risk that needs no data, or None."""
        if self.kind == "risk":
            return self.value
        return self.value / (1.0 + self.value) if self.kind == "harm_to_benefit" else None

    def __str__(self) -> str:
        return f"{self.kind} {self.value:g}"

    def to_dict(self) -> dict[str, float]:
        """`{"sensitivity": 0.95}`."""
        return {self.kind: self.value}

    @classmethod
    def from_dict(cls, written: Mapping[str, float]) -> "Rule":
        """The inverse of `to_dict`; one entry, as in a schema."""
        if len(written) != 1:
            raise ThresholdError(f"a threshold rule has one entry such as sensitivity = 0.95, found {sorted(written)}")
        ((kind, value),) = written.items()
        return cls(kind=kind, value=float(value))  # type: ignore[arg-type]


def choose_threshold(
    rule: Rule, probability: Float[np.ndarray, " row"], truth: np.ndarray, weight: Float[np.ndarray, " row"]
) -> float:
    """The highest threshold that reaches the sensitivity, or the lowest that reaches the specificity, or the fixed risk.

    A case is flagged at or above it. NaN where the class that the rule speaks of is absent.
    """
    if rule.fixed is not None:
        return rule.fixed
    held = np.asarray(truth, dtype=bool) == (rule.kind == "sensitivity")
    values, weights = probability[held], weight[held]
    if not weights.sum() > 0:
        return float("nan")
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    # A hair of slack: 0.95 of 20 equal weights is 19 of them, whatever the last bit of the sum says.
    need = rule.value * weights.sum() * (1.0 - 1e-12)
    if rule.kind == "sensitivity":
        kept = np.cumsum(weights[::-1])[::-1]
        return float(values[np.flatnonzero(kept >= need)[-1]])
    passed = np.cumsum(weights)
    last = values[np.flatnonzero(passed >= need)[0]]
    return float(np.nextafter(last, np.inf))


def row_thresholds(
    outcomes: Outcomes, finding: str, rule: Rule, *, calibrate: Outcomes | None = None
) -> Float[np.ndarray, " row"]:
    """The threshold in force for each row, chosen where the row had no part.

    A fixed risk for all; on `calibrate` where given; otherwise, where there are several folds, for each fold on the other
    folds of the same repeat (calibrated, cross-fitted probabilities). NaN where none of these is possible.
    """
    if rule.fixed is not None:
        return np.full(len(outcomes), rule.fixed)
    if calibrate is not None:
        return np.full(len(outcomes), _on(calibrate, finding, rule, np.ones(len(calibrate), dtype=bool)))
    chosen = np.full(len(outcomes), np.nan)
    for repeat in np.unique(outcomes.repeat):
        here = outcomes.repeat == repeat
        folds = np.unique(outcomes.fold[here])
        if len(folds) < 2:
            continue
        for fold in folds:
            held_out = here & (outcomes.fold == fold)
            chosen[held_out] = _on(outcomes, finding, rule, here & ~held_out)
    return chosen


def _on(outcomes: Outcomes, finding: str, rule: Rule, rows: np.ndarray) -> float:
    column = outcomes.findings.index(finding)
    rows = rows & outcomes.known[:, column]
    return choose_threshold(rule, outcomes.probability[rows, column], outcomes.truth[rows, column], outcomes.weights[rows])
