"""The scale on which contributions add: log-odds, or log-probabilities where findings exclude each other."""

import numpy as np
from jaxtyping import Float

from attending.evaluation.metric import CLIP


def score_of(probability: Float[np.ndarray, "case finding"], *, is_exclusive: bool) -> Float[np.ndarray, "case finding"]:
    """Log-odds of each probability (natural logarithm), or its logarithm where findings exclude each other.

    Probabilities are held away from 0 and 1 by as much as everywhere in evaluation, so every score is finite.
    """
    held = np.clip(np.asarray(probability, dtype=float), CLIP, 1.0 - CLIP)
    return np.log(held) if is_exclusive else np.log(held) - np.log1p(-held)


def unit_of(*, is_exclusive: bool) -> str:
    """The scale in words."""
    return "log-probability" if is_exclusive else "log-odds"
