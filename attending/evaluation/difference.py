"""Paired differences between models, and what remains of them when many are looked at: max-T over the bootstrap.

One comparison may be primary and is not adjusted; all others form one family. Their intervals are as wide as the largest
studentised deviation of the whole family (Westfall & Young 1993), so "shown" may be read for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from attending.evaluation.answers import Whole, macro
from attending.evaluation.catalog import METRICS
from attending.evaluation.estimation import FEWEST, Measured
from attending.evaluation.inquiry import Asked, Terms
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import Result

COMPARED = ("auroc", "auprc", "brier", "log_loss", "net_benefit")
"""Metrics of which a difference is taken: those with a better direction that need no sensitivity to be read beside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """Model minus comparator, measured with the same draws. `smaller_class` counts groups of the rarer class."""

    measured: Measured
    test_over_train: float
    smaller_class: int

    @property
    def error(self) -> float:
        """Standard error: of the bootstrap, widened for retraining under cross-validation."""
        told = self.measured.replicates[np.isfinite(self.measured.replicates)]
        if len(told) < 20:
            return float("nan")
        error = float(told.std(ddof=1)) * np.sqrt(1.0 + self.test_over_train)
        folds = None if self.measured.folds is None else self.measured.folds[np.isfinite(self.measured.folds)]
        if folds is not None and len(folds) > 1:
            error = max(error, float(np.sqrt((1.0 / len(folds) + self.test_over_train) * folds.var(ddof=1))))
        return error


def difference_rows(whole: Whole, models: Mapping[str, Outcomes], primary: str, terms: Terms) -> list[Result]:
    """`primary` minus every other model: the primary comparison unadjusted, all others as one family."""
    findings = models[primary].findings
    first = terms.primary_finding or (findings[0] if len(findings) == 1 else "macro")
    rows: list[tuple[Result, Difference]] = []
    for comparator in models:
        if comparator == primary:
            continue
        for finding in (*findings, "macro") if len(findings) > 1 else findings:
            for name in COMPARED:
                found = _difference(whole, primary, comparator, finding=finding, name=name, findings=findings)
                if found is None:
                    continue
                difference, one, note = found
                crossed = difference.test_over_train > 0
                method = "paired bootstrap of groups" + (
                    ", widened for retraining (Nadeau–Bengio)"
                    if crossed
                    else "; these models, retraining variability not included"
                )
                row = Result(
                    target=terms.target,
                    finding=finding,
                    split=terms.split,
                    model=primary,
                    metric=name,
                    value=difference.measured.value,
                    n=None if one is None else one.question.n,
                    events=None if one is None else one.question.events,
                    clusters=len(np.unique(models[primary].groups.astype(str))),
                    comparator=comparator,
                    threshold=one.threshold if one is not None and METRICS[name].at_threshold else None,
                    method=method,
                    protocol=terms.protocol,
                    repeats=len(np.unique(models[primary].repeat)),
                    seed=terms.seed,
                    note=note,
                )
                rows.append((row, difference))

    def is_primary(row: Result) -> bool:
        return (row.comparator, row.metric, row.finding) == (terms.primary_comparator, terms.primary_metric, first)

    family = [difference for row, difference in rows if not is_primary(row)]
    quantile = family_quantile(family, terms.level)
    finished = []
    for row, difference in rows:
        alone = is_primary(row)
        low, high = difference_interval(difference, terms.level, None if alone else quantile)
        if METRICS[row.metric].support == "share":
            low, high = max(low, -1.0), min(high, 1.0)  # two shares cannot lie farther apart
        if difference.smaller_class < FEWEST or not np.isfinite(low):
            finished.append(row.noted("too few events for an interval"))
            continue
        adjusted = None if alone else f"max-T over {len(family)}"
        with_interval = replace(row, low=low, high=high, level=terms.level, adjusted=adjusted)
        finished.append(with_interval.noted("primary comparison") if alone else with_interval)
    return finished


def _difference(
    whole: Whole, primary: str, comparator: str, *, finding: str, name: str, findings: Sequence[str]
) -> tuple[Difference, Asked | None, str] | None:
    if finding == "macro":
        ours, theirs = macro(whole, primary, name, findings), macro(whole, comparator, name, findings)
        if ours is None or theirs is None or [o.finding for o in ours[1]] != [o.finding for o in theirs[1]]:
            return None
        smaller = min(one.question.smaller_class for one in ours[1])
        difference = Difference(
            measured=subtract(ours[0], theirs[0]),
            test_over_train=ours[1][0].question.test_over_train,
            smaller_class=smaller,
        )
        return difference, None, f"left out with few events: {', '.join(ours[2])}" if ours[2] else ""
    one, values = whole[primary, finding]
    _, others = whole[comparator, finding]
    if name not in values or name not in others:
        return None
    measured = subtract(values[name], others[name])
    if not np.isfinite(measured.value):
        return None
    difference = Difference(
        measured=measured, test_over_train=one.question.test_over_train, smaller_class=one.question.smaller_class
    )
    return difference, one, ""


def subtract(model: Measured, comparator: Measured) -> Measured:
    """The difference of two measurements made with the same draws."""
    folds = None
    if model.folds is not None and comparator.folds is not None and len(model.folds) == len(comparator.folds):
        folds = model.folds - comparator.folds
    return Measured(value=model.value - comparator.value, replicates=model.replicates - comparator.replicates, folds=folds)


def family_quantile(differences: Sequence[Difference], level: float) -> float:
    """How many standard errors the intervals of this family reach to each side: ≥ the quantile for one."""
    single = float(stats.norm.ppf((1.0 + level) / 2.0))
    studentised = []
    for difference in differences:
        replicates = difference.measured.replicates
        told = np.isfinite(replicates)
        spread = replicates[told].std(ddof=1) if told.sum() > 20 else 0.0
        if spread > 0.0:
            centred = np.abs(replicates - replicates[told].mean()) / spread
            studentised.append(np.where(told, centred, 0.0))
    if not studentised:
        return single
    return max(single, float(np.quantile(np.max(studentised, axis=0), level)))


def difference_interval(difference: Difference, level: float, quantile: float | None = None) -> tuple[float, float]:
    """Value ± quantile × error; the quantile of t where none is given, and stretched by t over normal where one is."""
    freedom = max(difference.smaller_class - 1, 1)
    single = float(stats.norm.ppf((1.0 + level) / 2.0))
    reach = float(stats.t.ppf((1.0 + level) / 2.0, freedom)) * (1.0 if quantile is None else quantile / single)
    value = difference.measured.value
    return value - reach * difference.error, value + reach * difference.error


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the given order."""
    order = np.argsort(p_values, kind="stable")
    m = len(order)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.maximum.accumulate((m - np.arange(m)) * np.asarray(p_values, dtype=float)[order]), 1.0)
    return tuple(float(p) for p in adjusted)
