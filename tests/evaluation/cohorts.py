"""Simulated predictions whose truth is known: what the tests of this folder are made of."""

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from attending.evaluation.outcomes import Outcomes


def outcomes_of(probability, truth, *, groups=None, repeat=None, fold=None, findings=None, **more):
    """`Outcomes` of rows [row] or [row, finding], each its own case unless told otherwise."""
    probability = np.asarray(probability, dtype=float)
    truth = np.asarray(truth, dtype=bool)
    if probability.ndim == 1:
        probability, truth = probability[:, None], truth[:, None]
    n, k = probability.shape
    more = {"known": np.ones((n, k), dtype=bool), "ids": np.array([f"c{i:05d}" for i in range(n)], dtype=object)} | more
    return Outcomes(
        groups=more["ids"] if groups is None else np.asarray(groups, dtype=object),
        findings=findings or tuple(f"f{i}" for i in range(k)),
        probability=probability,
        truth=truth,
        repeat=np.zeros(n, dtype=int) if repeat is None else np.asarray(repeat),
        fold=np.zeros(n, dtype=int) if fold is None else np.asarray(fold),
        **more,
    )


def binormal(n, *, events, auroc, seed, visits=1):
    """Calibrated predictions with this AUROC: two normals on the log-odds. Visits of a patient share half of their noise."""
    rng = np.random.default_rng(seed)
    distance = norm.ppf(auroc) * np.sqrt(2.0)
    share = events / n
    patient = np.repeat(np.arange(n // visits), visits)
    truth = (rng.random(n // visits) < share)[patient]
    shared = 0.5 if visits > 1 else 0.0
    noise = np.sqrt(shared) * rng.normal(size=n // visits)[patient] + np.sqrt(1.0 - shared) * rng.normal(size=len(patient))
    probability = expit(distance * (distance * (truth - 0.5) + noise) + np.log(share / (1.0 - share)))
    return outcomes_of(
        probability,
        truth,
        groups=np.array([f"p{i}" for i in patient], dtype=object),
        weight=None if visits == 1 else np.full(len(patient), 1.0 / visits),
    )


def crossed(outcomes, *, folds, repeats, seed, jitter=0.0):
    """The same cases as if held out once per repeat, in random folds, with a little of another model in each repeat."""
    rng = np.random.default_rng(seed)
    n = len(outcomes)
    rows = np.tile(np.arange(n), repeats)
    many = outcomes.rows(rows)
    many.repeat[:] = np.repeat(np.arange(repeats), n)
    many.fold[:] = np.concatenate([rng.permutation(np.arange(n) % folds) for _ in range(repeats)])
    if jitter:
        logit = np.log(many.probability / (1.0 - many.probability))
        many.probability[:] = expit(logit + jitter * rng.normal(size=logit.shape))
    return many
