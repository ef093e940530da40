"""T15: a map of attention, or any other explanation, shown without it having been measured whether the model goes by it."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from attending.audit.finding import Finding, Severity
from attending.diagnosis import Explanation

_EFFECT = "readers take the map for the model's reasons, which it need not be"


def check_explanations(
    explanations: Sequence[Explanation], *, again: Sequence[Explanation] = (), steady: float = 0.5
) -> tuple[Finding, ...]:
    """Explanations without a measured faithfulness, or with none to speak of; and, where `again` holds those of the same
    cases by another seed, in the same order, such whose weights agree less than `steady` (mean rank correlation)."""
    found = []
    unmeasured = [one for one in explanations if one.faithfulness is None]
    if unmeasured:
        found.append(_found(unmeasured, Severity.BLOCK, "explanations were never held against the model", len(explanations)))
    empty = [one for one in explanations if one.faithfulness is not None and one.faithfulness <= 0.0]
    if empty:
        told = "explanations are no better than marking places at random"
        found.append(_found(empty, Severity.WARN, told, len(explanations)))
    if again:
        agreement = [_agreement(a, b) for a, b in zip(explanations, again, strict=True)]
        told_by = [value for value in agreement if np.isfinite(value)]
        if told_by and np.mean(told_by) < steady:
            found.append(
                Finding(
                    trap="T15",
                    check="explanations",
                    severity=Severity.WARN,
                    told="explanations change with the seed of training",
                    evidence=f"mean rank correlation of the weights {np.mean(told_by):.2f} over {len(told_by)} explanations",
                    effect=_EFFECT,
                    remedy="show the mean over several trainings, or do not show them",
                )
            )
    return tuple(found)


def _agreement(one: Explanation, other: Explanation) -> float:
    held = dict(other.weights)
    pairs = np.array([(weight, held[place]) for place, weight in one.weights if place in held])
    if len(pairs) < 3 or np.ptp(pairs, axis=0).min() == 0.0:
        return float("nan")
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def _found(which: Sequence[Explanation], severity: Severity, told: str, n: int) -> Finding:
    methods = ", ".join(dict.fromkeys(one.method for one in which))
    return Finding(
        trap="T15",
        check="explanations",
        severity=severity,
        told=told,
        evidence=f"{len(which)} of {n} explanations, by {methods}",
        effect=_EFFECT,
        remedy="measure by deletion what the model loses without the marked places, against random places, and show it beside",
    )
