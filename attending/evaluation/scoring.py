"""Proper scores of probabilities: Brier score and logarithmic loss. Lower is better; they mix ranking and calibration."""

import numpy as np
from jaxtyping import Float

from attending.evaluation.metric import CLIP, Sample, ratio


def brier(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Mean squared distance of the probability from 0 or 1."""
    return ratio(weights @ (rows.probability - rows.truth) ** 2, weights.sum(axis=1))


def log_loss(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Mean −log of the probability given to what was recorded, in nats; probabilities are held off 0 and 1 by 1e-6."""
    held = np.clip(rows.probability, CLIP, 1.0 - CLIP)
    return ratio(weights @ -np.where(rows.truth > 0, np.log(held), np.log1p(-held)), weights.sum(axis=1))
