"""Logistic regression of the truth on one number, for many sets of weights at once. Newton steps; numpy only."""

import numpy as np
from jaxtyping import Float

STEPS = 30
CLOSE = 1e-7


def slope_and_intercept(
    x: Float[np.ndarray, " row"], truth: Float[np.ndarray, " row"], weights: Float[np.ndarray, "resample row"]
) -> tuple[Float[np.ndarray, " resample"], Float[np.ndarray, " resample"]]:
    """Slope and intercept of logit P(truth) = intercept + slope · x, by maximum likelihood.

    NaN where there is no finite maximum: a class is absent, x is constant, or x separates the classes. Sought from a slope of
    1, where most are near; where predictions are far too extreme a step from there can overshoot, and then from a slope of 0.
    """
    slope, intercept = _climbed(x, truth, weights)
    lost = np.flatnonzero(~np.isfinite(slope) & _has_both(truth, weights))
    spread = float(x.std())
    if len(lost) and spread > 1e-12:
        middle = float(x.mean())
        again, height = _climbed((x - middle) / spread, truth, weights[lost], slope=0.0, bound=1.0, steps=2 * STEPS)
        slope[lost], intercept[lost] = again / spread, height - again * middle / spread
    return slope, intercept


def _climbed(
    x: np.ndarray, truth: np.ndarray, weights: np.ndarray, *, slope: float = 1.0, bound: float = 4.0, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Newton steps of at most `bound` from this slope; NaN where they arrive nowhere."""
    n = len(weights)
    slopes, intercept = np.full(n, np.nan), np.full(n, np.nan)
    design = np.stack([np.ones_like(x), x], axis=1)
    squares = np.stack([np.ones_like(x), x, x * x], axis=1)
    active = np.flatnonzero(_has_both(truth, weights))
    a, b = np.zeros(len(active)), np.full(len(active), slope)
    if n > 1:
        # All sets of weights are draws around one: its solution is a start that saves each of them half of the steps.
        middle_slope, middle = _climbed(x, truth, weights.mean(axis=0, keepdims=True), slope=slope, bound=bound, steps=steps)
        if np.isfinite(middle_slope[0]):
            a[:], b[:] = middle[0], middle_slope[0]
    for _ in range(steps):
        if not len(active):
            break
        held = weights if len(active) == n else weights[active]
        mean = a[:, None] + b[:, None] * x
        with np.errstate(over="ignore"):
            np.exp(np.negative(mean, out=mean), out=mean)
        mean += 1.0
        np.reciprocal(mean, out=mean)
        gradient = (held * (truth - mean)) @ design
        mean *= 1.0 - mean
        mean *= held
        h = mean @ squares
        determinant = h[:, 0] * h[:, 2] - h[:, 1] ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            da = (h[:, 2] * gradient[:, 0] - h[:, 1] * gradient[:, 1]) / determinant
            db = (h[:, 0] * gradient[:, 1] - h[:, 1] * gradient[:, 0]) / determinant
        lost = ~(np.isfinite(da) & np.isfinite(db) & (determinant > 1e-10 * h[:, 0] * h[:, 2]))
        size = np.hypot(np.where(lost, 0.0, da), np.where(lost, 0.0, db))
        # A full Newton step can overshoot from far away; a bounded one cannot run off before it has looked.
        share = np.minimum(1.0, bound / np.maximum(size, 1e-12))
        a, b = a + da * share, b + db * share
        done = (size < CLOSE) & ~lost
        slopes[active[done]], intercept[active[done]] = b[done], a[done]
        going = ~(done | lost | (np.abs(b) > 1e3))
        if not going.all():
            active, a, b = active[going], a[going], b[going]
    return slopes, intercept


def intercept_given(
    offset: Float[np.ndarray, " row"], truth: Float[np.ndarray, " row"], weights: Float[np.ndarray, "resample row"]
) -> Float[np.ndarray, " resample"]:
    """Intercept of logit P(truth) = intercept + offset, by maximum likelihood. NaN where a class is absent."""
    possible = _has_both(truth, weights)
    target = weights @ truth
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(possible, np.log(target) - np.log(weights.sum(axis=1) - target), 0.0)
    # With all offsets at the highest, or all at the lowest, the intercept is known: it lies between.
    low, high = level - offset.max(), level - offset.min()
    a = np.full(len(weights), -offset.mean())
    if len(weights) > 1:
        middle = intercept_given(offset, truth, weights.mean(axis=0, keepdims=True))
        a[:] = np.nan_to_num(middle[0])
    a = np.where(possible, np.clip(a, low, high), 0.0)
    for _ in range(2 * STEPS):
        mean = a[:, None] + offset
        with np.errstate(over="ignore"):
            np.exp(np.negative(mean, out=mean), out=mean)
        mean += 1.0
        np.reciprocal(mean, out=mean)
        missing = target - np.einsum("ij,ij->i", weights, mean)
        mean *= 1.0 - mean
        low, high = np.where(missing > 0.0, a, low), np.where(missing < 0.0, a, high)
        moved = a + missing / np.maximum(np.einsum("ij,ij->i", weights, mean), 1e-300)
        # Where the offsets are wide a Newton step runs out of what is possible: then half way.
        moved = np.where((moved >= low) & (moved <= high), moved, 0.5 * (low + high))
        step_size = np.where(possible, moved - a, 0.0)
        a += step_size
        if np.abs(step_size).max(initial=0.0) < CLOSE:
            break
    return np.where(possible, a, np.nan)


def _has_both(truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (weights @ truth > 0) & (weights @ (1.0 - truth) > 0)
