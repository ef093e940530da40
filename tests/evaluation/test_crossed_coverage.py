"""Cross-validated intervals cover the true mean performance of the procedure, and of the difference of two procedures.

The procedure is a logistic regression with a ridge; its true mean performance is the mean, over training sets of the folds'
size, of what a model reaches on 20,000 fresh patients.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from attending.evaluation.catalog import METRICS
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.metric import point, sample
from tests.evaluation.cohorts import outcomes_of

NAMES = ("auroc", "auprc", "brier", "log_loss", "calibration_slope")
FOLDS = 5


def fitted(x, y, ridge=1.0):
    design = np.column_stack([np.ones(len(x)), x])
    penalty = np.diag([1e-6, *[ridge] * x.shape[1]])
    b = np.zeros(design.shape[1])
    for _ in range(12):
        mean = expit(design @ b)
        step = np.linalg.solve(
            (design * (mean * (1 - mean))[:, None]).T @ design + penalty, design.T @ (y - mean) - penalty @ b
        )
        b += step
        if np.abs(step).max() < 1e-6:
            break
    return b


def predicted(b, x):
    return expit(b[0] + x @ b[1:])


def people(n, rng):
    x = rng.normal(size=(n, 8))
    return x, (rng.random(n) < expit(x[:, :3] @ [1.0, 0.7, 0.5] - 1.2)).astype(float)


def stratified(y, rng):
    fold = np.zeros(len(y), dtype=int)
    for kind in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == kind))
        fold[rows] = (np.arange(len(rows)) + rng.integers(FOLDS)) % FOLDS
    return fold


def held_out(x, y, repeats, rng):
    """Predictions of the procedure on all columns, and on the second to eighth, each case once per repeat."""
    n = len(y)
    fold = np.concatenate([stratified(y, rng) for _ in range(repeats)])
    repeat = np.repeat(np.arange(repeats), n)
    both = np.zeros((2, n * repeats))
    for r in range(repeats):
        for k in range(FOLDS):
            test = fold[r * n : (r + 1) * n] == k
            for which, columns in enumerate((slice(0, 8), slice(1, 8))):
                both[which, np.flatnonzero(test) + r * n] = predicted(
                    fitted(x[~test][:, columns], y[~test]), x[test][:, columns]
                )
    held = outcomes_of(both[0], np.tile(y, repeats), repeat=repeat, fold=fold)
    ids = np.tile(np.array([f"c{i}" for i in range(n)], dtype=object), repeats)
    held = replace(held, ids=ids, groups=ids)
    return held, replace(held, probability=both[1][:, None])


def coverage(n, repeats, cohorts):
    rng = np.random.default_rng([n, repeats])
    x_new, y_new = people(20_000, rng)
    reached = {name: [] for name in (*NAMES, "difference")}
    for _ in range(100):
        x, y = people(n - n // FOLDS, rng)
        areas = []
        for columns in (slice(0, 8), slice(1, 8)):
            rows = sample(probability=predicted(fitted(x[:, columns], y), x_new[:, columns]), truth=y_new)
            areas.append(point(METRICS["auroc"], rows))
            if columns == slice(0, 8):
                for name in NAMES:
                    reached[name].append(point(METRICS[name], rows))
        reached["difference"].append(areas[0] - areas[1])
    truth = {name: float(np.mean(values)) for name, values in reached.items()}
    covered = {name: [] for name in truth}
    terms = Terms(protocol="cv", split="cv", resamples=150, primary_comparator="less")
    for _ in range(cohorts):
        full, less = held_out(*people(n, rng), repeats, rng)
        for row in judge({"fused": full, "less": less}, terms=terms, metrics=NAMES):
            name = "difference" if (row.comparator, row.metric) == ("less", "auroc") else row.metric
            if row.low is not None and (name == "difference" or (row.comparator is None and row.model == "fused")):
                covered[name].append(row.low <= truth[name] <= row.high)
    return {name: float(np.mean(values)) for name, values in covered.items()}


def test_crossed_intervals_cover_the_true_mean_performance():
    # 100 cohorts: three standard errors below 90 % is 0.81.
    assert min((held := coverage(100, 2, 100)).values()) >= 0.81, held


@pytest.mark.long
@pytest.mark.parametrize("n", [100, 250, 500])
def test_crossed_intervals_cover_at_length(n):
    assert min((held := coverage(n, 5, 500)).values()) >= 0.90 - 0.02, held
