"""Curves for the report: calibration with its band, risk by outcome, net benefit over thresholds, risk against coverage.

Numbers only; drawing is elsewhere. What a curve cannot carry is said in `note` instead of being drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from attending.evaluation.logistic import slope_and_intercept
from attending.evaluation.metric import CLIP
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.selective import surest_first

ENOUGH_FOR_A_CURVE = 100
"""Groups of each class from which a smooth calibration curve is shown."""
KNOTS = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the log-odds where the spline bends (Harrell 2015, table 2.3, four knots)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationCurve:
    """Observed against predicted risk, with a pointwise band. Empty where there are too few events (`note` says so).

    `line` is the straight one on the log-odds, slope and intercept fitted together; None where there is none.
    """

    predicted: Float[np.ndarray, " point"]
    observed: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]
    high: Float[np.ndarray, " point"]
    note: str = ""
    line: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskDistribution:
    """How many cases with and without the finding got a risk in each bin. `edges` has one more entry."""

    edges: Float[np.ndarray, " edge"]
    events: Int[np.ndarray, " bin"]
    others: Int[np.ndarray, " bin"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionCurve:
    """Net benefit per patient at each threshold: of each model, of treating all, of treating none (0)."""

    thresholds: Float[np.ndarray, " threshold"]
    models: Mapping[str, Float[np.ndarray, " threshold"]]
    treat_all: Float[np.ndarray, " threshold"]
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskCoverage:
    """Brier score among the share of cases the model is surest of (probability farthest from 0.5)."""

    coverage: Float[np.ndarray, " step"]
    brier: Float[np.ndarray, " step"]


class _Known:
    """Known rows of one finding; each case's weight divided among its repeats."""

    def __init__(self, outcomes: Outcomes, finding: str) -> None:
        column = outcomes.findings.index(finding)
        known = outcomes.known[:, column]
        self.probability = outcomes.probability[known, column]
        self.truth = outcomes.truth[known, column].astype(float)
        self.ids = outcomes.ids[known].astype(str)
        _, index, times = np.unique(self.ids, return_inverse=True, return_counts=True)
        self.weight = outcomes.weights[known] / times[index] if known.any() else np.zeros(0)
        self.groups = outcomes.groups[known].astype(str)
        _, self.cluster = np.unique(self.groups, return_inverse=True)


def calibration_curve(
    outcomes: Outcomes, finding: str, *, level: float = 0.95, points: int = 50, enough: int = ENOUGH_FOR_A_CURVE
) -> CalibrationCurve:
    """Logistic regression of the truth on a restricted cubic spline of the log-odds, band from the variance by group.

    Drawn between the 1st and the 99th percentile of the predictions, and only from 100 groups with and 100 without; below that
    calibration-in-the-large and the slope say what can be said.
    """
    rows = _Known(outcomes, finding)
    with_, without = (len(np.unique(rows.groups[rows.truth == t])) for t in (1.0, 0.0))
    empty = np.zeros(0)
    x = _logit(rows.probability)
    slope, intercept = slope_and_intercept(x, rows.truth, rows.weight[None, :])
    line = (float(slope[0]), float(intercept[0])) if np.isfinite(slope[0]) else None
    if min(with_, without) < enough:
        note = f"no smooth curve: {with_} groups with and {without} without, fewer than {enough}; see slope and intercept"
        return CalibrationCurve(predicted=empty, observed=empty, low=empty, high=empty, note=note, line=line)
    knots = np.unique(np.quantile(x, KNOTS))
    design = _spline(x, knots)
    coefficients = np.zeros(design.shape[1])
    coefficients[:2] = (0.0, 1.0) if line is None else line[::-1]
    # A whisper of a ridge: heavily tied predictions can leave a spline term without data of its own.
    ridge = 1e-6 * np.eye(design.shape[1])
    for _ in range(50):
        mean = _expit(design @ coefficients)
        information = (design * (rows.weight * mean * (1.0 - mean))[:, None]).T @ design + ridge
        step = np.linalg.solve(information, design.T @ (rows.weight * (rows.truth - mean)) - ridge @ coefficients)
        coefficients += step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    mean = _expit(design @ coefficients)
    scores = design * (rows.weight * (rows.truth - mean))[:, None]
    by_group = np.stack([np.bincount(rows.cluster, weights=column) for column in scores.T], axis=1)
    inverse = np.linalg.inv(information)
    covariance = inverse @ (by_group.T @ by_group) @ inverse
    first, last = np.quantile(rows.probability, [0.01, 0.99])
    predicted = np.linspace(float(first), float(last), points)
    grid = _spline(_logit(predicted), knots)
    middle = grid @ coefficients
    reach = stats.norm.ppf((1.0 + level) / 2.0) * np.sqrt(np.einsum("ij,jk,ik->i", grid, covariance, grid))
    return CalibrationCurve(
        predicted=predicted, observed=_expit(middle), low=_expit(middle - reach), high=_expit(middle + reach), line=line
    )


def risk_distribution(outcomes: Outcomes, finding: str, *, bins: int = 20) -> RiskDistribution:
    """Counts of cases by mean predicted risk (over repeats) and outcome, in equal bins from 0 to 1."""
    rows = _Known(outcomes, finding)
    _, first, index, times = np.unique(rows.ids, return_index=True, return_inverse=True, return_counts=True)
    risk = np.bincount(index, weights=rows.probability, minlength=len(first)) / times
    truth = rows.truth[first] > 0
    edges = np.linspace(0.0, 1.0, bins + 1)
    return RiskDistribution(
        edges=edges, events=np.histogram(risk[truth], edges)[0], others=np.histogram(risk[~truth], edges)[0]
    )


def decision_curve(
    models: Mapping[str, Outcomes],
    finding: str,
    thresholds: Float[np.ndarray, " threshold"],
    *,
    sampling: str = "cohort",
    target_prevalence: float | None = None,
) -> DecisionCurve:
    """Net benefit over the declared thresholds (Vickers & Elkin 2006). `target_prevalence` reweighs to that share of events.

    Unless the sampling is a cohort, or reweighted, the curve is marked "not transferable".
    """
    thresholds = np.asarray(thresholds, dtype=float)
    if not ((thresholds > 0.0) & (thresholds < 1.0)).all():
        raise ValueError("thresholds of a decision curve lie strictly between 0 and 1")
    odds = thresholds / (1.0 - thresholds)
    curves = {}
    treat_all = np.zeros_like(thresholds)
    for name, outcomes in models.items():
        rows = _Known(outcomes, finding)
        weight = rows.weight / rows.weight.sum()
        if target_prevalence is not None:
            share = float(weight @ rows.truth)
            weight = weight * np.where(rows.truth > 0, target_prevalence / share, (1.0 - target_prevalence) / (1.0 - share))
        order = np.argsort(rows.probability)
        ascending = rows.probability[order]
        right = np.concatenate([[0.0], np.cumsum((weight * rows.truth)[order][::-1])])
        wrong = np.concatenate([[0.0], np.cumsum((weight * (1.0 - rows.truth))[order][::-1])])
        raised = len(ascending) - np.searchsorted(ascending, thresholds, side="left")
        curves[name] = right[raised] - wrong[raised] * odds
        treat_all = right[-1] - wrong[-1] * odds
    note = ""
    if target_prevalence is not None:
        note = f"reweighted to a prevalence of {target_prevalence:g}"
    elif sampling != "cohort":
        note = f"not transferable: the sampling is {sampling}"
    return DecisionCurve(thresholds=thresholds, models=curves, treat_all=treat_all, note=note)


def risk_coverage(outcomes: Outcomes, finding: str, *, steps: int = 20) -> RiskCoverage:
    """Brier score of the surest 1/steps, 2/steps, … of the patients; those of equal sureness are answered together."""
    rows = _Known(outcomes, finding)
    order, last = surest_first(rows.probability)
    loss = ((rows.probability - rows.truth) ** 2 * rows.weight)[order]
    held = np.cumsum(rows.weight[order])
    coverage = np.arange(1, steps + 1) / steps
    at = last[np.minimum(np.searchsorted(held, coverage * held[-1] * (1.0 - 1e-12)), len(held) - 1)]
    return RiskCoverage(coverage=coverage, brier=np.cumsum(loss)[at] / held[at])


def _spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Constant, x, and the restricted cubic terms (linear beyond the outer knots); fewer where knots coincide."""
    columns = [np.ones_like(x), x]
    if len(knots) >= 3:
        last, before = knots[-1], knots[-2]
        scale = (last - knots[0]) ** 2
        for knot in knots[:-2]:
            bend = np.maximum(x - knot, 0.0) ** 3
            bend -= np.maximum(x - before, 0.0) ** 3 * (last - knot) / (last - before)
            bend += np.maximum(x - last, 0.0) ** 3 * (before - knot) / (last - before)
            columns.append(bend / scale)
    return np.stack(columns, axis=1)


def _logit(probability: np.ndarray) -> np.ndarray:
    held = np.clip(probability, CLIP, 1.0 - CLIP)
    return np.log(held) - np.log1p(-held)


def _expit(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))
