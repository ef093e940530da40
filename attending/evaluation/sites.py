"""What a new site may expect: a random-effects summary over sites with a prediction interval (evidence.md §3 "Sites").

Meant for outcomes under leave-one-site-out, where each site's cases were predicted by a model that never saw it; on other
outcomes it says how much sites differ, not what a new one will see.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from attending.evaluation.catalog import METRICS
from attending.evaluation.estimate import Estimate
from attending.evaluation.estimation import Measured, Numbering, Question, interval_of, measure, question
from attending.evaluation.inquiry import Terms
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import Result

NOT_STATED = "not stated"
"""The level of cases whose site nobody wrote down."""
FEWEST_SITES = 5
FEWEST_AT_A_SITE = 10
"""Events, and non-events, a site needs to enter the summary."""


@dataclass(frozen=True, kw_only=True)
class SiteSummary:
    """Each site's estimate, their random-effects mean, and the interval in which a new site's value is expected.

    `spread` is the standard deviation between sites on the summary's scale (log-odds for AUROC, log-odds for the intercept).
    """

    metric: str
    sites: tuple[tuple[str, Estimate], ...]
    mean: Estimate
    predicted: tuple[float, float] | None
    spread: float | None
    note: str = ""


def site_summary(
    outcomes: Outcomes, finding: str, *, metric: str = "auroc", level: float = 0.95, resamples: int = 500, seed: int = 0
) -> SiteSummary:
    """Sites by name, DerSimonian–Laird mean with the Hartung–Knapp interval, prediction interval with t of k − 2.

    Mean and prediction only over sites with ≥ 10 events and non-events, and only from 5 of them. A site with one class "cannot
    be estimated". `metric` is `auroc` or `calibration_intercept`. Needs the stratum `site`.
    """
    if metric not in ("auroc", "calibration_intercept"):
        raise ValueError(f"a summary over sites is defined for auroc and calibration_intercept, not {metric!r}")
    if "site" not in outcomes.strata:
        raise ValueError("a summary over sites needs the stratum 'site'; read the site column or leave this summary out")
    levels = np.array([str(level) for level in outcomes.strata["site"]])
    names = [name for name in np.unique(levels) if name]
    numbering = Numbering.of(outcomes)
    # Within a site the folds of a protocol are of no interest: a site is one test set.
    asked = [replace(_at(outcomes.rows(levels == name), finding, numbering), test_over_train=0.0) for name in names]
    found = measure(
        [(one, (METRICS[metric],)) for one in asked], n_clusters=len(numbering.groups), resamples=resamples, seed=seed
    )
    estimates, values, errors = [], [], []
    for name, one, measured in zip(names, asked, found, strict=True):
        estimate = _estimate(one, metric, measured[metric], level)
        estimates.append((name, estimate))
        if estimate.value is None or min(estimate.events, estimate.n - estimate.events) < FEWEST_AT_A_SITE:
            continue
        value, error = _on_scale(metric, measured[metric])
        if np.isfinite(value) and error > 0.0:
            values.append(value)
            errors.append(error)
    n, events = sum(e.n for _, e in estimates), sum(e.events for _, e in estimates)
    if len(values) < FEWEST_SITES:
        note = (
            f"no summary over sites: {len(values)} sites with at least {FEWEST_AT_A_SITE} events and as many without, "
            f"fewer than {FEWEST_SITES}"
        )
        mean = Estimate(value=None, n=n, events=events, method="random effects", note=note)
        return SiteSummary(metric=metric, sites=tuple(estimates), mean=mean, predicted=None, spread=None, note=note)
    middle, error, spread = random_effects(np.array(values), np.array(errors))
    k = len(values)
    back = _expit if metric == "auroc" else float
    reach = stats.t.ppf((1.0 + level) / 2.0, k - 1) * error
    wide = stats.t.ppf((1.0 + level) / 2.0, k - 2) * np.sqrt(spread**2 + error**2)
    mean = Estimate(
        value=back(middle),
        low=back(middle - reach),
        high=back(middle + reach),
        n=n,
        events=events,
        method=f"random effects over {k} sites, Hartung–Knapp",
    )
    return SiteSummary(
        metric=metric,
        sites=tuple(estimates),
        mean=mean,
        predicted=(back(middle - wide), back(middle + wide)),
        spread=spread,
    )


def random_effects(values: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Mean, its Hartung–Knapp standard error, and the DerSimonian–Laird standard deviation between sites."""
    weight = 1.0 / errors**2
    fixed = (weight @ values) / weight.sum()
    heterogeneity = weight @ (values - fixed) ** 2
    k = len(values)
    between = max(0.0, (heterogeneity - (k - 1)) / (weight.sum() - (weight**2).sum() / weight.sum()))
    weight = 1.0 / (errors**2 + between)
    mean = (weight @ values) / weight.sum()
    error = np.sqrt((weight @ (values - mean) ** 2) / ((k - 1) * weight.sum()))
    # Hartung–Knapp may come out narrower than no heterogeneity at all; never claim that (Röver et al. 2015).
    return float(mean), float(max(error, np.sqrt(1.0 / weight.sum()))), float(np.sqrt(between))


def levels_of(outcomes: Outcomes) -> np.ndarray:
    """The site of each row; "" where there is none."""
    return np.array([str(level) for level in outcomes.strata.get("site", np.full(len(outcomes), "", dtype=object))])


def named_sites(outcomes: Outcomes) -> list[str]:
    """The sites that rows are stated to come from."""
    return sorted(set(levels_of(outcomes).tolist()) - {"", NOT_STATED})


def _at(outcomes: Outcomes, finding: str, numbering: Numbering) -> Question:
    return question(outcomes, finding, numbering=numbering)


def _estimate(one: Question, metric: str, measured: Measured, level: float) -> Estimate:
    if not one.whole:
        return Estimate(value=None, n=0, events=0, method=metric, note="cannot be estimated: no known truth")
    if not np.isfinite(measured.value):
        note = f"cannot be estimated: one class only ({one.events} events of {one.n})"
        return Estimate(value=None, n=one.n, events=one.events, method=metric, note=note)
    low, high, method = interval_of(one, METRICS[metric], measured, level)
    if not np.isfinite(low):
        return Estimate(value=measured.value, n=one.n, events=one.events, method="none", note=method)
    return Estimate(value=measured.value, low=low, high=high, n=one.n, events=one.events, method=method)


def _on_scale(metric: str, measured: Measured) -> tuple[float, float]:
    told = measured.replicates[np.isfinite(measured.replicates)]
    value, error = measured.value, float(told.std(ddof=1)) if len(told) > 20 else float("nan")
    if metric != "auroc":
        return value, error
    if not 0.0 < value < 1.0:
        return float("nan"), float("nan")
    return float(np.log(value / (1.0 - value))), error / (value * (1.0 - value))


def _expit(x: float) -> float:
    return float(1.0 / (1.0 + np.exp(-x)))


def site_rows(outcomes: Outcomes, model: str, terms: Terms) -> list[Result]:
    """Per finding the mean over sites, and the interval in which a new site's value is expected, of AUROC and intercept.

    Metrics `auroc_over_sites`, `auroc_at_new_site` and the same of the calibration intercept; None with the reason where there
    are too few sites. Nothing at all where the rows know fewer than two sites.
    """
    if len(named_sites(outcomes)) < 2:
        return []
    rows = []
    for finding in outcomes.findings:
        for metric in ("auroc", "calibration_intercept"):
            found = site_summary(outcomes, finding, metric=metric, level=terms.level, resamples=200, seed=terms.seed)
            base = Result(
                target=terms.target,
                finding=finding,
                split=terms.split,
                model=model,
                metric=f"{metric}_over_sites",
                value=found.mean.value,
                low=found.mean.low,
                high=found.mean.high,
                n=found.mean.n,
                events=found.mean.events,
                level=terms.level if found.predicted else None,
                method=found.mean.method,
                protocol=terms.protocol,
                repeats=len(np.unique(outcomes.repeat)),
                seed=terms.seed,
                note=found.note,
            )
            low, high = found.predicted or (None, None)
            new = f"interval in which a new site is expected, of {len(found.sites)} sites" if found.predicted else found.note
            rows += [base, replace(base, metric=f"{metric}_at_new_site", low=low, high=high, note=new)]
    return rows
