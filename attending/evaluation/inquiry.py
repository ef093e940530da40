"""What is asked of predictions: the terms agreed beforehand, and every model × finding × slice with its threshold."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from attending.evaluation.catalog import METRICS
from attending.evaluation.estimation import Numbering, Question, question
from attending.evaluation.metric import Metric
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import EvaluationError
from attending.evaluation.threshold import Rule, row_thresholds

SLICED = ("auroc", "brier", "calibration_slope", "calibration_intercept", "sensitivity", "specificity")
"""What is said of a slice."""
BEFORE = ("calibration_slope", "calibration_intercept")
"""What is said of the probabilities before calibration."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What was agreed before the results were opened.

    `rules` give a threshold per finding. One comparison is primary: `primary_metric` of `primary_finding` (None: macro where
    there are several) against `primary_comparator` (None: none is primary, all are adjusted). `sampling` other than "cohort"
    marks what depends on prevalence as not transferable, unless `target_prevalence` reweighs that finding.
    """

    target: str | None = None
    protocol: str = "split"
    split: str = "test"
    rules: Mapping[str, Rule] = field(default_factory=dict)
    primary_metric: str = "auroc"
    primary_finding: str | None = None
    primary_comparator: str | None = None
    sampling: str = "cohort"
    target_prevalence: Mapping[str, float] = field(default_factory=dict)
    level: float = 0.95
    resamples: int = 1000
    seed: int = 0

    def to_plain(self) -> dict[str, Any]:
        """As JSON types."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        rules = {finding: rule.to_dict() for finding, rule in self.rules.items()}
        return plain | {"rules": rules, "target_prevalence": dict(self.target_prevalence)}

    @property
    def hash(self) -> str:
        """SHA-256 of all terms: written down before the outer results are opened, it shows that nothing was chosen after."""
        written = json.dumps(self.to_plain(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(written.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """One question with its name, and the metrics it is asked for."""

    model: str
    finding: str
    question: Question
    metrics: tuple[Metric, ...]
    slice: str | None = None
    slice_value: str | None = None
    threshold: float | None = None
    note: str = ""
    suffix: str = ""
    """Appended to metric names: "_raw" asks about the probabilities before calibration."""

    @property
    def is_whole(self) -> bool:
        """About all rows of a finding as they are, not about a slice or what was before calibration."""
        return self.slice is None and not self.suffix


def ask(
    models: Mapping[str, Outcomes],
    *,
    primary: str,
    terms: Terms,
    names: tuple[str, ...],
    calibrate: Mapping[str, Outcomes],
    slices: Sequence[str] | None,
    numbering: Numbering,
) -> list[Asked]:
    """Every finding of every model, and for `primary` every level of every slice."""
    metrics = tuple(METRICS[name] for name in names)
    asked: list[Asked] = []
    for model, outcomes in models.items():
        for finding in outcomes.findings:
            threshold, typical, note = _thresholds(outcomes, finding, terms, calibrate.get(model))
            usable = tuple(
                metric
                for metric in metrics
                if (typical is not None or not metric.at_threshold)
                and ("site" in outcomes.strata or metric.name != "auroc_within_site")
            )
            target_prevalence = terms.target_prevalence.get(finding)
            rows = question(outcomes, finding, numbering=numbering, threshold=threshold, target_prevalence=target_prevalence)
            whole = Asked(model=model, finding=finding, question=rows, metrics=usable, threshold=typical, note=note)
            asked.append(whole)
            if outcomes.raw is not None:
                before = question(
                    replace(outcomes, probability=outcomes.raw),
                    finding,
                    numbering=numbering,
                    target_prevalence=target_prevalence,
                )
                told = tuple(METRICS[name] for name in BEFORE if name in names)
                asked.append(Asked(model=model, finding=finding, question=before, metrics=told, suffix="_raw"))
            if model == primary:
                wanted = tuple(outcomes.strata) if slices is None else slices
                asked += _by_level(whole, outcomes, wanted, threshold, numbering=numbering, target_prevalence=target_prevalence)
    return asked


def _by_level(
    whole: Asked,
    outcomes: Outcomes,
    slices: Sequence[str],
    threshold: np.ndarray | None,
    *,
    numbering: Numbering,
    target_prevalence: float | None,
) -> Iterator[Asked]:
    """The same question about every level of every slice."""
    for stratum in slices:
        if stratum not in outcomes.strata:
            raise EvaluationError(f"no stratum {stratum!r} to slice by; there are {sorted(outcomes.strata)}")
        levels = np.array([str(level) for level in outcomes.strata[stratum]])
        for level in np.unique(levels):
            here = levels == level
            part = question(
                outcomes.rows(here),
                whole.finding,
                numbering=numbering,
                threshold=None if threshold is None else threshold[here],
                target_prevalence=target_prevalence,
            )
            yield replace(
                whole,
                question=replace(part, test_over_train=whole.question.test_over_train),
                metrics=tuple(metric for metric in whole.metrics if metric.name in SLICED),
                slice=stratum,
                slice_value=level or "(unstated)",
            )


def _thresholds(
    outcomes: Outcomes, finding: str, terms: Terms, calibrate: Outcomes | None
) -> tuple[np.ndarray | None, float | None, str]:
    """Threshold per row, its median for the report, and a note."""
    column = outcomes.findings.index(finding)
    if outcomes.threshold is not None:
        threshold, note = outcomes.threshold[:, column], ""
        if np.isnan(threshold).all():
            return None, None, "no threshold rule is stated for this finding"
    elif finding in terms.rules:
        threshold = row_thresholds(outcomes, finding, terms.rules[finding], calibrate=calibrate)
        note = f"threshold by rule: {terms.rules[finding]}"
    else:
        return None, None, "no threshold rule is stated for this finding"
    if not np.isfinite(threshold).all():
        return None, None, "no threshold: nothing outside the judged rows to choose it on"
    if np.ptp(threshold) > 0.0:
        note = f"{note}; " if note else ""
        note += f"median of thresholds from {threshold.min():.3g} to {threshold.max():.3g}, one per fold"
    return threshold, float(np.median(threshold)), note
