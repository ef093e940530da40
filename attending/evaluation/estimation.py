"""From predictions to a value, its bootstrap replicates and the interval that its numbers allow.

A `Question` is one finding of one model on some rows. All questions are resampled with the same draws of whole groups, so that
any two of their replicates can be subtracted. Which interval is used where follows measured coverage: see `interval_of`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attending.evaluation.interval import (
    NONE,
    area_interval,
    area_score_interval,
    groups_by_class,
    normal,
    percentile,
    share_interval,
    slope_interval,
    widened,
)
from attending.evaluation.metric import Metric, Sample, point, sample
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.resampling import draws

ENOUGH = 50
"""Groups of each class from which intervals are required to cover 93–97 % (evidence.md §3)."""
ENOUGH_FOR_PERCENTILES = 200
"""Groups of each class from which percentiles are taken: with 50 to 100 they covered AUPRC 92–93 % and log loss 92–94 %, and t
on the transformed scale 94–96 % (400 cohorts, benchmarks/2026-11-21-coverage.md)."""
FEWEST = 5
"""Groups of each class below which no interval is given."""
ENOUGH_FOR_DELONG = 30
"""Groups of each class from which DeLong's error may be trusted; below, an AUROC of 0.95 was covered 85–91 %."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Rows of one finding of one model: per repeat as a whole, and per repeat by fold (empty folds left out)."""

    whole: tuple[Sample, ...]
    folds: tuple[tuple[Sample, ...], ...]
    test_over_train: float

    @property
    def is_crossed(self) -> bool:
        """Several models were trained: cross-validation."""
        return self.test_over_train > 0.0

    @property
    def n(self) -> int:
        """Cases (not rows: a case occurs once per repeat)."""
        return len(np.unique(np.concatenate([rows.case for rows in self.whole])))

    @property
    def events(self) -> int:
        """Cases with the finding."""
        return len(np.unique(np.concatenate([rows.case[rows.truth > 0] for rows in self.whole])))

    @property
    def clusters(self) -> int:
        """Groups."""
        return len(np.unique(np.concatenate([rows.cluster for rows in self.whole])))

    @property
    def prevalence(self) -> float:
        """Weighted share of events."""
        total = sum(rows.weight.sum() for rows in self.whole)
        return float(sum(rows.weight @ rows.truth for rows in self.whole) / total) if total else float("nan")

    @property
    def smaller_class(self) -> int:
        """Groups with the finding or without, whichever are fewer."""
        return max((min(groups_by_class(rows)) for rows in self.whole), default=0)

    def spans(self, metric: Metric) -> tuple[tuple[Sample, ...], ...]:
        """Per repeat, the samples within which the metric is computed."""
        return self.folds if metric.within == "fold" else tuple((rows,) for rows in self.whole)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A value, its replicates (NaN where a resample lacks a class) and, within folds, the value of each fold."""

    value: float
    replicates: Float[np.ndarray, " resample"]
    folds: Float[np.ndarray, " fold"] | None

    @property
    def lacking(self) -> int:
        """Resamples in which the value could not be computed."""
        return int((~np.isfinite(self.replicates)).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbering:
    """Groups, cases and sites as numbers, the same for every model."""

    groups: np.ndarray
    ids: np.ndarray
    sites: np.ndarray

    @classmethod
    def of(cls, outcomes: Outcomes) -> "Numbering":
        """The numbering of these rows."""
        site = outcomes.strata.get("site", np.zeros(0, dtype=object))
        return cls(
            groups=np.unique(outcomes.groups.astype(str)),
            ids=np.unique(outcomes.ids.astype(str)),
            sites=np.unique([str(level) for level in site if level]),
        )


def question(
    outcomes: Outcomes,
    finding: str,
    *,
    numbering: Numbering,
    threshold: Float[np.ndarray, " row"] | None = None,
    target_prevalence: float | None = None,
) -> Question:
    """The known rows of one finding. `target_prevalence` reweighs events and non-events to that share."""
    column = outcomes.findings.index(finding)
    known = outcomes.known[:, column]
    truth = outcomes.truth[:, column].astype(float)
    weight = outcomes.weights.copy()
    if target_prevalence is not None:
        share = (weight * truth)[known].sum() / weight[known].sum()
        if 0.0 < share < 1.0:
            weight *= np.where(truth > 0, target_prevalence / share, (1.0 - target_prevalence) / (1.0 - share))
    if threshold is None:
        threshold = np.full(len(outcomes), np.nan) if outcomes.threshold is None else outcomes.threshold[:, column]
    cluster = np.searchsorted(numbering.groups, outcomes.groups.astype(str))
    case = np.searchsorted(numbering.ids, outcomes.ids.astype(str))
    place = np.full(len(outcomes), -1)
    if "site" in outcomes.strata:
        level = np.array([str(level) if level else "" for level in outcomes.strata["site"]])
        place = np.where(level == "", -1, np.searchsorted(numbering.sites, level))

    def rows(chosen: np.ndarray) -> Sample:
        return sample(
            probability=outcomes.probability[chosen, column],
            truth=truth[chosen],
            weight=weight[chosen],
            cluster=cluster[chosen],
            case=case[chosen],
            threshold=threshold[chosen],
            place=place[chosen],
        )

    whole, folds = [], []
    for repeat in np.unique(outcomes.repeat[known]):
        here = known & (outcomes.repeat == repeat)
        whole.append(rows(here))
        folds.append(tuple(rows(here & (outcomes.fold == fold)) for fold in np.unique(outcomes.fold[here])))
    n_folds = len(np.unique(outcomes.fold))
    return Question(whole=tuple(whole), folds=tuple(folds), test_over_train=1.0 / (n_folds - 1) if n_folds > 1 else 0.0)


def measure(
    questions: Sequence[tuple[Question, Sequence[Metric]]], *, n_clusters: int, resamples: int, seed: int
) -> list[Mapping[str, Measured]]:
    """Value and replicates of every metric of every question, all with the same draws of groups."""
    held = [{metric.name: np.full(resamples, np.nan) for metric in metrics} for _, metrics in questions]
    widest = max((len(rows) for asked, _ in questions for rows in asked.whole), default=0)
    start = 0
    for counts in draws(n_clusters, resamples, seed=seed, widest=widest) if resamples else ():
        stop = start + len(counts)
        for (asked, metrics), replicates in zip(questions, held, strict=True):
            for within in ("fold", "repeat"):
                wanted = [metric for metric in metrics if metric.within == within]
                if wanted:
                    for metric, drawn in zip(wanted, _replicate(asked, wanted, counts), strict=True):
                        replicates[metric.name][start:stop] = drawn
        start = stop
    return [
        {metric.name: _measured(asked, metric, replicates[metric.name]) for metric in metrics}
        for (asked, metrics), replicates in zip(questions, held, strict=True)
    ]


def _replicate(asked: Question, metrics: Sequence[Metric], counts: np.ndarray) -> Float[np.ndarray, "metric batch"]:
    """Mean over repeats of the mean over folds, for each resample of the batch."""
    spans = asked.spans(metrics[0])
    total = np.zeros((len(metrics), len(counts)))
    for samples in spans:
        parts = np.empty((len(samples), len(metrics), len(counts)))
        for k, rows in enumerate(samples):
            weights = counts[:, rows.cluster]
            weights *= rows.weight
            for m, metric in enumerate(metrics):
                parts[k, m] = metric.values(rows, weights)
        total += _mean(parts)
    return total / len(spans) if spans else np.full_like(total, np.nan)


def _mean(parts: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what could be computed; NaN where nothing could."""
    told = np.isfinite(parts)
    count = told.sum(axis=0)
    total = np.where(told, parts, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _measured(asked: Question, metric: Metric, replicates: np.ndarray) -> Measured:
    spans = asked.spans(metric)
    by_fold = [np.array([point(metric, rows) for rows in samples]) for samples in spans]
    per_repeat = np.array([float(_mean(values)) for values in by_fold])
    is_within_folds = asked.is_crossed and metric.within == "fold"
    return Measured(
        value=float(per_repeat.mean()) if len(per_repeat) else float("nan"),
        replicates=replicates,
        folds=np.concatenate(by_fold) if is_within_folds and by_fold else None,
    )


def interval_of(asked: Question, metric: Metric, measured: Measured, level: float) -> tuple[float, float, str]:
    """Low, high and the method's name; (NaN, NaN, why) where no interval is given.

    Under cross-validation `widened`. On a fixed test set: exact shares at a threshold; logit DeLong for AUROC (under 30 groups
    of a class a score interval); profile likelihood for the calibration slope; for the rest t on the transformed scale with the
    bootstrap's error, and percentile bootstrap from 200 groups of each class on. Below 5 groups of a class nothing.
    """
    smaller = asked.smaller_class
    if not np.isfinite(measured.value):
        return *NONE, "not estimable"
    if smaller < FEWEST:
        return *NONE, f"too few events: {smaller} groups in the smaller class"
    resamples = len(measured.replicates)
    # Several fits judged on one test set (seeds) have no closed form: their mean is what is estimated.
    is_single = len(asked.whole) == 1
    drawn = f"bootstrap of {asked.clusters} groups, {resamples} resamples"
    if asked.is_crossed:
        ends = widened(
            measured.value,
            measured.replicates,
            measured.folds,
            test_over_train=asked.test_over_train,
            support=metric.support,
            freedom=smaller - 1,
            level=level,
        )
        name = f"{drawn}, widened for retraining (Nadeau–Bengio)"
    elif is_single and metric.at_threshold and metric.support in ("share", "per 100"):
        ends, name = _share_of_rows(asked.whole[0], metric, level), "exact binomial, effective sample size by group"
    elif is_single and metric.name == "auroc" and smaller < ENOUGH_FOR_DELONG:
        ends, name = area_score_interval(asked.whole[0], measured.value, level), "score by group (Newcombe)"
    elif is_single and metric.name == "auroc":
        ends, name = area_interval(asked.whole[0], measured.value, level), "logit DeLong by group"
    elif is_single and metric.name == "calibration_slope":
        ends, name = slope_interval(asked.whole[0], level), "profile likelihood, design effect by group"
    elif smaller >= ENOUGH_FOR_PERCENTILES:
        ends, name = percentile(measured.replicates, level), f"percentile {drawn}"
    else:
        told = measured.replicates[np.isfinite(measured.replicates)]
        error = float(told.std(ddof=1)) if len(told) > 20 else float("nan")
        ends = normal(measured.value, error, metric.support, level, freedom=smaller - 1)
        name = f"t with the standard error of a {drawn}"
    if not (np.isfinite(ends[0]) and np.isfinite(ends[1])):
        return *NONE, "no interval: the value lies at the edge of what is possible, or too few resamples could be computed"
    return *ends, name


def _share_of_rows(rows: Sample, metric: Metric, level: float) -> tuple[float, float]:
    """Exact interval of a share at a threshold, by the rows it is a share of; of so many per 100 the same, times 100."""
    raised = (rows.probability >= rows.threshold).astype(float)
    if metric.support == "per 100":
        low, high = share_interval(raised, rows.weight, rows.cluster, level)
        return 100.0 * low, 100.0 * high
    among = {
        "sensitivity": rows.truth > 0,
        "specificity": rows.truth == 0,
        "ppv": raised > 0,
        "npv": raised == 0,
    }[metric.name]
    hits = raised == rows.truth
    return share_interval(hits[among].astype(float), rows.weight[among], rows.cluster[among], level)
