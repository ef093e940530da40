"""Intervals: percentile bootstrap, logit DeLong and score for AUROC, exact binomial, profile likelihood, and that for folds.

Which method is used where is decided in `estimation.py`, by measured coverage (benchmarks/evaluation.py --coverage). A pair
(NaN, NaN) says that the method gives no interval here.
"""

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from attending.evaluation.logistic import intercept_given, slope_and_intercept
from attending.evaluation.metric import Sample, Support

Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))


def percentile(replicates: Float[np.ndarray, " resample"], level: float) -> Interval:
    """The middle `level` of the replicates that could be estimated."""
    held = replicates[np.isfinite(replicates)]
    if len(held) < 20:
        return NONE
    low, high = np.quantile(held, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def normal(value: float, error: float, support: Support, level: float, *, freedom: float = np.inf) -> Interval:
    """`value` ± quantile × `error`, on the log-odds of a share (or of so many of 100) and the logarithm of a positive number.
    `error` is on the value's own scale (delta method); `freedom` are the degrees of freedom of t."""
    if not (np.isfinite(value) and np.isfinite(error)) or freedom < 1:
        return NONE
    reach = float(stats.t.ppf((1.0 + level) / 2.0, freedom)) * error
    if support == "real":
        return value - reach, value + reach
    if support == "positive":
        if value <= 0.0:
            return NONE
        factor = float(np.exp(reach / value))
        return value / factor, value * factor
    whole = 100.0 if support == "per 100" else 1.0
    share = value / whole
    if not 0.0 < share < 1.0:
        return NONE
    middle, reach = np.log(share / (1.0 - share)), reach / (whole * share * (1.0 - share))
    return float(whole / (1.0 + np.exp(reach - middle))), float(whole / (1.0 + np.exp(-reach - middle)))


def exact_share(successes: float, trials: float, level: float) -> Interval:
    """Clopper–Pearson interval of a share; real-valued counts carry an effective sample size (Korn & Graubard 1998)."""
    if trials <= 0:
        return NONE
    tail = (1.0 - level) / 2.0
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1.0))
    high = 1.0 if successes >= trials else float(stats.beta.ppf(1.0 - tail, successes + 1.0, trials - successes))
    return low, high


def share_interval(
    hits: Float[np.ndarray, " row"], weight: Float[np.ndarray, " row"], cluster: np.ndarray, level: float
) -> Interval:
    """Interval of a weighted share of rows that are 1, with whole clusters as units; exact where each row is its own."""
    total = weight.sum()
    if total <= 0:
        return NONE
    share = float(weight @ hits / total)
    names, unit = np.unique(cluster, return_inverse=True)
    m = len(names)
    if m == len(hits) and np.ptp(weight) == 0:
        return exact_share(float(hits.sum()), len(hits), level)
    # Effective sample size from the variance of the cluster totals; at a share of 0 or 1 there is none, so count clusters.
    influence = np.bincount(unit, weights=weight * (hits - share), minlength=m) / total
    variance = (influence**2).sum() * m / max(m - 1, 1)
    trials = min(share * (1.0 - share) / variance, float(len(hits))) if variance > 0 else float(m)
    return exact_share(share * trials, trials, level)


def delong_error(rows: Sample) -> float:
    """Standard error of the weighted AUROC from placement values, with clusters as units (DeLong 1988, Obuchowski 1997)."""
    with_, without = rows.weight * rows.truth, rows.weight * (1.0 - rows.truth)
    events, others = with_.sum(), without.sum()
    run = np.zeros(len(rows), dtype=int)
    run[rows.ties] = 1
    run = np.cumsum(run) - 1
    with_run, without_run = np.add.reduceat(with_, rows.ties), np.add.reduceat(without, rows.ties)
    below = (np.cumsum(without_run) - 0.5 * without_run)[run] / others
    above = 1.0 - (np.cumsum(with_run) - 0.5 * with_run)[run] / events
    area = float(with_ @ below / events)
    influence = np.zeros(int(rows.cluster.max()) + 1)
    for weight, total, place, held in ((with_, events, below, rows.truth > 0), (without, others, above, rows.truth == 0)):
        units = len(np.unique(rows.cluster[held]))
        if units < 2:
            return float("nan")
        influence += np.bincount(
            rows.cluster, weights=weight * (place - area) / total * np.sqrt(units / (units - 1)), minlength=len(influence)
        )
    return float(np.sqrt((influence**2).sum()))


def groups_by_class(rows: Sample) -> tuple[int, int]:
    """Groups with the finding, and groups without."""
    return len(np.unique(rows.cluster[rows.truth > 0])), len(np.unique(rows.cluster[rows.truth == 0]))


def area_interval(rows: Sample, area: float, level: float) -> Interval:
    """Logit DeLong interval of an AUROC, by cluster, with the t of the smaller class; score interval where all pairs agree."""
    smaller = min(groups_by_class(rows))
    if 0.0 < area < 1.0:
        return normal(area, delong_error(rows), "share", level, freedom=smaller - 1)
    return area_score_interval(rows, area, level)


def area_score_interval(rows: Sample, area: float, level: float) -> Interval:
    """Score interval of an AUROC (Newcombe 2006, method 5): areas whose own Hanley–McNeil error, for two exponentials, would
    still allow this one. Counts groups, not rows. Holds its level with few events, where DeLong's error is itself uncertain."""
    events, others = groups_by_class(rows)
    if min(events, others) < 1:
        return NONE
    mean = (events + others) / 2.0
    z = float(stats.norm.ppf((1.0 + level) / 2.0))

    def excess(true: float) -> float:
        spread = 1.0 + (mean - 1.0) * ((1.0 - true) / (2.0 - true) + true / (1.0 + true))
        return float((true - area) ** 2 - z * z * true * (1.0 - true) * spread / (events * others))

    # At an area of 0 or 1 the area itself solves the equation; the limit sought is the other solution.
    edge = 1e-9
    within = min(max(area, edge), 1.0 - edge)
    low = optimize.brentq(excess, edge, within) if area > edge and excess(edge) > 0.0 else 0.0
    high = optimize.brentq(excess, within, 1.0 - edge) if area < 1.0 - edge and excess(1.0 - edge) > 0.0 else 1.0
    return float(low), float(high)


def slope_interval(rows: Sample, level: float) -> Interval:
    """Profile-likelihood interval of the calibration slope. With clusters or weights the deviance is divided by the design
    effect (robust over naive variance of the slope, never below 1) and held against F for the groups of the smaller class."""
    x, truth, weight = rows.logit, rows.truth, rows.weight * len(rows) / rows.weight.sum()
    slopes, intercepts = slope_and_intercept(x, truth, weight[None, :])
    slope, intercept = float(slopes[0]), float(intercepts[0])
    if not np.isfinite(slope):
        return NONE

    def log_likelihood(b: float, a: float) -> float:
        eta = a + b * x
        return float(weight @ (truth * eta - np.logaddexp(0.0, eta)))

    best = log_likelihood(slope, intercept)
    naive, robust = _slope_variances(rows, x, weight, slope, intercept)
    plain = len(np.unique(rows.cluster)) == len(rows) and np.ptp(rows.weight) == 0
    allowed = float(stats.chi2.ppf(level, 1)) / 2.0
    if not plain:
        freedom = max(min(groups_by_class(rows)) - 1, 1)
        # The sandwich is too small with few groups, by about (groups − 1) / groups of the class that decides.
        allowed = float(stats.f.ppf(level, 1, freedom)) / 2.0 * max(robust / naive * (freedom + 1) / freedom, 1.0)

    def excess(b: float) -> float:
        a = float(intercept_given(b * x, truth, weight[None, :])[0])
        return best - log_likelihood(b, a) - allowed

    step = np.sqrt(naive)
    ends = []
    for sign in (-1.0, 1.0):
        reach = step
        while excess(slope + sign * reach) < 0.0:
            reach *= 2.0
            if reach > 1e3:
                return NONE
        ends.append(optimize.brentq(lambda d, sign=sign: excess(slope + sign * d), 0.0, reach, xtol=1e-6))
    return slope - ends[0], slope + ends[1]


def _slope_variances(rows: Sample, x: np.ndarray, weight: np.ndarray, slope: float, intercept: float) -> tuple[float, float]:
    """Variance of the slope by the information matrix, and by the sandwich over clusters."""
    mean = 1.0 / (1.0 + np.exp(-(intercept + slope * x)))
    design = np.stack([np.ones_like(x), x], axis=1)
    inverse = np.linalg.inv((design * (weight * mean * (1.0 - mean))[:, None]).T @ design)
    scores = design * (weight * (rows.truth - mean))[:, None]
    units = int(rows.cluster.max()) + 1
    by_cluster = np.stack([np.bincount(rows.cluster, weights=scores[:, k], minlength=units) for k in range(2)], axis=1)
    robust = inverse @ (by_cluster.T @ by_cluster) @ inverse
    return float(inverse[1, 1]), float(robust[1, 1])


def widened(
    value: float,
    replicates: Float[np.ndarray, " resample"],
    folds: Float[np.ndarray, " fold"] | None,
    *,
    test_over_train: float,
    support: Support,
    freedom: float,
    level: float,
) -> Interval:
    """Interval under cross-validation, which contains the variability of the training set.

    The larger of two standard errors: that of the patient bootstrap widened by √(1 + n_test / n_train), and for a metric
    computed within folds that of Nadeau & Bengio (2003), √((1 / folds + n_test / n_train) · variance over folds).
    """
    held = replicates[np.isfinite(replicates)]
    if len(held) < 20:
        return NONE
    error = float(held.std(ddof=1)) * np.sqrt(1.0 + test_over_train)
    if folds is not None:
        told = folds[np.isfinite(folds)]
        if len(told) > 1:
            error = max(error, float(np.sqrt((1.0 / len(told) + test_over_train) * told.var(ddof=1))))
    return normal(value, error, support, level, freedom=freedom)
