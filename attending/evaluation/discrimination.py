"""How well probabilities rank: AUROC (also within site) and AUPRC, by sorted order, for many resamples at once."""

import numpy as np
from jaxtyping import Float

from attending.evaluation.metric import Sample, ratio


def auroc(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Weighted share of (event, non-event) pairs in which the event has the higher probability; ties count half."""
    with_, without = _by_run(rows, weights)
    concordant = _concordant(with_, without)
    return ratio(concordant, with_.sum(axis=1) * without.sum(axis=1))


def auprc(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Average precision: precision at each distinct probability, weighted by the recall gained there (no interpolation)."""
    with_, without = _by_run(rows, weights)
    flagged_with = np.cumsum(with_[:, ::-1], axis=1)
    flagged_without = np.cumsum(without[:, ::-1], axis=1)
    flagged_without += flagged_with
    np.divide(flagged_with, flagged_without, out=flagged_with, where=flagged_without > 0)
    flagged_with *= with_[:, ::-1]
    return ratio(flagged_with.sum(axis=1), with_.sum(axis=1))


def auroc_within_site(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """AUROC over pairs from one site only: what remains when knowing the site cannot help. NaN without sites."""
    concordant = np.zeros(len(weights))
    pairs = np.zeros(len(weights))
    for place in np.unique(rows.place[rows.place >= 0]):
        here = np.flatnonzero(rows.place == place)
        ascending = rows.probability[here]
        starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
        with_, without = _split(rows.truth[here], weights[:, here])
        if len(starts) < len(here):
            with_, without = np.add.reduceat(with_, starts, axis=1), np.add.reduceat(without, starts, axis=1)
        concordant += _concordant(with_, without)
        pairs += with_.sum(axis=1) * without.sum(axis=1)
    return ratio(concordant, pairs)


def _split(truth: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with_ = weights * truth
    return with_, weights - with_


def _by_run(rows: Sample, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of events and of non-events at each distinct probability, ascending."""
    with_, without = _split(rows.truth, weights)
    if len(rows.ties) == len(rows):
        return with_, without
    return np.add.reduceat(with_, rows.ties, axis=1), np.add.reduceat(without, rows.ties, axis=1)


def _concordant(with_: np.ndarray, without: np.ndarray) -> np.ndarray:
    below = np.cumsum(without, axis=1)
    below -= 0.5 * without
    return np.einsum("ij,ij->i", with_, below)
