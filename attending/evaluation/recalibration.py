"""Fits that make probabilities honest on held-out cases: slope and intercept per finding, vector scaling, isotonic.

A fit is fixed numbers with `apply`; whoever trains calls the fit on rows that the model was not fitted on, and the model
carries and applies the numbers. How much is fitted follows the events there are (evidence.md §3): nothing under 10, an
intercept under 20, then intercept and slope. Guo et al. 2017 (section 4.2) for temperature and vector scaling.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import optimize

from attending.evaluation.metric import CLIP
from attending.evaluation.outcomes import Outcomes

FEWEST = 10
"""Groups of the rarer class under which nothing is fitted."""
FEWEST_FOR_SLOPE = 20
"""Groups of the rarer class from which a slope is fitted; below, its error would outweigh what it mends."""
FEWEST_FOR_STEPS = 1000
"""Cases from which isotonic regression is allowed."""
SLOPE_SPREAD = 1.0
"""Standard deviation of the prior slope around 1: keeps the slope finite where few cases separate the classes, and at 200
events moves it by about 1 % of its distance from 1."""
LEAST_SLOPE = 0.05
"""A fitted slope at or below 0 says that the ranking is upside down here; ranking is not what calibration may change."""

Method = Literal["identity", "intercept", "slope and intercept", "vector scaling", "temperature", "isotonic"]


@dataclass(frozen=True, kw_only=True)
class FindingCalibration:
    """What is done to one finding's log-odds (or log-probability where findings exclude each other).

    slope · x + intercept; under isotonic, instead, straight lines between `steps` (probability in, probability out).
    `n` and `events` are what it was fitted on.
    """

    finding: str
    method: Method
    slope: float = 1.0
    intercept: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    n: int
    events: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One `FindingCalibration` per finding. Under `exclusive` the results are put through a softmax and sum to 1."""

    findings: tuple[FindingCalibration, ...]
    exclusive: bool = False

    def apply(self, probability: Float[np.ndarray, "case finding"]) -> Float[np.ndarray, "case finding"]:
        """Calibrated probabilities."""
        probability = np.asarray(probability, dtype=float)
        if probability.ndim != 2 or probability.shape[1] != len(self.findings):
            raise ValueError(f"expected probabilities of {len(self.findings)} findings per case, found {probability.shape}")
        slope = np.array([part.slope for part in self.findings])
        intercept = np.array([part.intercept for part in self.findings])
        if all(part.method == "identity" for part in self.findings):
            return probability.copy()
        if self.exclusive:
            score = np.log(np.clip(probability, CLIP, 1.0)) * slope + intercept
            score = np.exp(score - score.max(axis=1, keepdims=True))
            return score / score.sum(axis=1, keepdims=True)
        moved = 1.0 / (1.0 + np.exp(-(_logit(probability) * slope + intercept)))
        for k, part in enumerate(self.findings):
            if part.method == "identity":
                moved[:, k] = probability[:, k]
            elif part.method == "isotonic":
                before, after = np.array(part.steps).T
                moved[:, k] = np.interp(probability[:, k], before, after)
        return moved

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> "Calibration":
        """The inverse of `to_dict`."""
        return cls(
            findings=tuple(
                FindingCalibration(**{**part, "steps": tuple((float(a), float(b)) for a, b in part["steps"])})
                for part in written["findings"]
            ),
            exclusive=bool(written["exclusive"]),
        )


def fit_calibration(outcomes: Outcomes) -> Calibration:
    """Slope and intercept per finding, or vector scaling where findings exclude each other, as far as the events carry it.

    Fits on `probability` and known truth, every patient weighing once however often it was predicted. Says in `method` and
    `note` what was fitted and why no more.
    """
    if outcomes.exclusive:
        return _fit_exclusive(outcomes)
    return Calibration(findings=tuple(_fit_one(outcomes, k) for k in range(len(outcomes.findings))))


def fit_isotonic(outcomes: Outcomes) -> Calibration:
    """Isotonic regression for each finding with at least 1,000 cases, slope and intercept for the others.

    Refused with `ValueError` where findings exclude each other: their probabilities would no longer sum to 1.
    """
    if outcomes.exclusive:
        raise ValueError("isotonic regression would leave probabilities that do not sum to 1; use fit_calibration")
    parts = []
    for k, finding in enumerate(outcomes.findings):
        rows = _Rows(outcomes, outcomes.known[:, k])
        truth = rows.truth[:, k]
        n, events = rows.count(np.ones(len(truth), dtype=bool)), rows.count(truth)
        if n < FEWEST_FOR_STEPS or min(events, rows.count(~truth)) < FEWEST:
            parts.append(_fit_one(outcomes, k))
            continue
        order = np.argsort(rows.probability[:, k], kind="stable")
        before = rows.probability[order, k]
        after = optimize.isotonic_regression(truth[order].astype(float), weights=rows.weight[order]).x
        # One knot at each end of a level; never quite 0 or 1, because n cases cannot show that.
        starts = np.concatenate([[True], after[1:] != after[:-1]])
        kept = np.flatnonzero(starts | np.concatenate([starts[1:], [True]]))
        after = np.clip(after, 0.5 / n, 1.0 - 0.5 / n)
        steps = tuple((float(before[i]), float(after[i])) for i in kept)
        parts.append(FindingCalibration(finding=finding, method="isotonic", steps=steps, n=n, events=events))
    return Calibration(findings=tuple(parts))


class _Rows:
    """Known rows, each case weighing what its patient's share is, divided among its repeats."""

    def __init__(self, outcomes: Outcomes, chosen: np.ndarray) -> None:
        self.probability = np.asarray(outcomes.probability[chosen], dtype=float)
        self.truth = np.asarray(outcomes.truth[chosen], dtype=bool)
        ids = outcomes.ids[chosen].astype(str)
        _, index, times = np.unique(ids, return_inverse=True, return_counts=True)
        self.weight = outcomes.weights[chosen] / times[index] if len(ids) else np.zeros(0)
        self.groups = outcomes.groups[chosen].astype(str)

    def count(self, held: np.ndarray) -> int:
        """Groups among these rows."""
        return len(np.unique(self.groups[held]))


def _fit_one(outcomes: Outcomes, column: int) -> FindingCalibration:
    finding = outcomes.findings[column]
    rows = _Rows(outcomes, outcomes.known[:, column])
    truth = rows.truth[:, column]
    events, others = rows.count(truth), rows.count(~truth)
    n, fewer = rows.count(np.ones(len(truth), dtype=bool)), min(events, others)
    if fewer < FEWEST:
        note = f"not calibrated: {events} groups with and {others} without, fewer than {FEWEST} of one"
        return FindingCalibration(finding=finding, method="identity", n=n, events=events, note=note)
    x = _logit(rows.probability[:, column])
    if fewer < FEWEST_FOR_SLOPE:
        _, intercept = _newton(x, truth, rows.weight, slope=1.0)
        note = f"intercept only: {fewer} groups of the rarer class, fewer than {FEWEST_FOR_SLOPE}"
        return FindingCalibration(finding=finding, method="intercept", intercept=intercept, n=n, events=events, note=note)
    slope, intercept = _newton(x, truth, rows.weight)
    note = ""
    if slope < LEAST_SLOPE:
        note = f"the fitted slope was {slope:.3g}: these probabilities do not rank these cases; held at {LEAST_SLOPE}"
        slope, intercept = _newton(x, truth, rows.weight, slope=LEAST_SLOPE)
    return FindingCalibration(
        finding=finding,
        method="slope and intercept",
        slope=slope,
        intercept=intercept,
        n=n,
        events=events,
        note=note,
    )


def _newton(x: np.ndarray, truth: np.ndarray, weight: np.ndarray, *, slope: float | None = None) -> tuple[float, float]:
    """Most probable slope (prior normal around 1) and intercept; with `slope` given only the intercept."""
    design = np.stack([np.ones_like(x), x], axis=1)
    prior = np.array([0.0, 1.0 / SLOPE_SPREAD**2])
    middle = np.array([0.0, 1.0])
    if slope is not None:
        design, prior, middle = design[:, :1], prior[:1], middle[:1]
    offset = 0.0 if slope is None else slope * x

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        eta = offset + design @ b
        mean = 1.0 / (1.0 + np.exp(-eta))
        value = weight @ (np.logaddexp(0.0, eta) - truth * eta) + 0.5 * prior @ (b - middle) ** 2
        return float(value), design.T @ (weight * (mean - truth)) + prior * (b - middle)

    def curvature(b: np.ndarray) -> np.ndarray:
        mean = 1.0 / (1.0 + np.exp(-(offset + design @ b)))
        return (design * (weight * mean * (1.0 - mean))[:, None]).T @ design + np.diag(prior)

    found = optimize.minimize(loss, middle, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9}).x
    return (float(found[1]), float(found[0])) if slope is None else (slope, float(found[0]))


def _fit_exclusive(outcomes: Outcomes) -> Calibration:
    """Vector scaling; with few events of a class one temperature and intercepts for the classes that carry them."""
    rows = _Rows(outcomes, np.asarray(outcomes.known.all(axis=1)))
    n = rows.count(np.ones(len(rows.weight), dtype=bool))
    names = outcomes.findings
    events = [rows.count(rows.truth[:, k]) for k in range(len(names))]
    outside = n - max(events, default=0)
    if outside < FEWEST:
        note = f"not calibrated: {outside} groups outside the commonest class, fewer than {FEWEST}"
        parts = [
            FindingCalibration(finding=finding, method="identity", n=n, events=count, note=note)
            for finding, count in zip(names, events, strict=True)
        ]
        return Calibration(findings=tuple(parts), exclusive=True)
    is_vector = min(events) >= FEWEST_FOR_SLOPE
    moves = np.array([count >= FEWEST for count in events])
    score = np.log(np.clip(rows.probability, CLIP, 1.0))
    classes = len(events)
    n_slopes = classes if is_vector else 1

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        slope = b[:n_slopes] if is_vector else np.repeat(b[:1], classes)
        intercept = np.zeros(classes)
        intercept[moves] = b[n_slopes:]
        z = score * slope + intercept
        top = z.max(axis=1, keepdims=True)
        total = np.log(np.exp(z - top).sum(axis=1, keepdims=True)) + top
        residual = (np.exp(z - total) - rows.truth) * rows.weight[:, None]
        # Softmax ignores a common shift of the intercepts; the small prior on them takes it out.
        value = rows.weight @ (total - z)[rows.truth] if rows.truth.any() else 0.0
        value += 0.5 * ((b[:n_slopes] - 1.0) ** 2).sum() / SLOPE_SPREAD**2 + 0.5e-3 * (b[n_slopes:] ** 2).sum()
        by_slope = (residual * score).sum(axis=0)
        gradient = np.concatenate([by_slope if is_vector else [by_slope.sum()], residual.sum(axis=0)[moves]])
        gradient[:n_slopes] += (b[:n_slopes] - 1.0) / SLOPE_SPREAD**2
        gradient[n_slopes:] += 1e-3 * b[n_slopes:]
        return float(value), gradient

    start = np.concatenate([np.ones(n_slopes), np.zeros(int(moves.sum()))])
    bounds = [(LEAST_SLOPE, None)] * n_slopes + [(None, None)] * int(moves.sum())
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-8, "ftol": 1e-14}).x
    intercept = np.zeros(classes)
    intercept[moves] = found[n_slopes:]
    slope = found[:n_slopes] if is_vector else np.repeat(found[:1], classes)
    note = "" if is_vector else f"one temperature: the rarest class has {min(events)} groups, fewer than {FEWEST_FOR_SLOPE}"
    method: Method = "vector scaling" if is_vector else "temperature"
    parts = [
        FindingCalibration(
            finding=finding,
            method=method,
            slope=float(slope[k]),
            intercept=float(intercept[k]),
            n=n,
            events=events[k],
            note=note,
        )
        for k, finding in enumerate(names)
    ]
    return Calibration(findings=tuple(parts), exclusive=True)


def _logit(probability: np.ndarray) -> np.ndarray:
    held = np.clip(probability, CLIP, 1.0 - CLIP)
    return np.log(held) - np.log1p(-held)
