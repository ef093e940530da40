"""What follows from acting at a threshold: sensitivity, specificity, PPV, NPV, flagged per 100, net benefit.

A case is flagged where its probability is at or above its threshold. NaN where no threshold is stated.
"""

import numpy as np
from jaxtyping import Float

from attending.evaluation.metric import Sample, ratio


def flagged(rows: Sample) -> Float[np.ndarray, " row"]:
    """1 where a case is flagged, 0 where not, NaN without a threshold."""
    return np.where(np.isnan(rows.threshold), np.nan, (rows.probability >= rows.threshold).astype(float))


def sensitivity(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Share of the events that are flagged."""
    return ratio(weights @ (flagged(rows) * rows.truth), weights @ rows.truth)


def specificity(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Share of the non-events that are not flagged."""
    absent = 1.0 - rows.truth
    return ratio(weights @ ((1.0 - flagged(rows)) * absent), weights @ absent)


def ppv(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Share of the flagged that are events."""
    raised = flagged(rows)
    return ratio(weights @ (raised * rows.truth), weights @ raised)


def npv(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Share of the not flagged that are non-events."""
    quiet = 1.0 - flagged(rows)
    return ratio(weights @ (quiet * (1.0 - rows.truth)), weights @ quiet)


def flagged_per_100(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """How many of 100 patients are flagged."""
    return 100.0 * ratio(weights @ flagged(rows), weights.sum(axis=1))


def net_benefit(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """True positives per patient less false positives weighed by the odds of the threshold (Vickers & Elkin 2006)."""
    raised = flagged(rows)
    gain = raised * np.where(rows.truth > 0, 1.0, -rows.threshold / (1.0 - rows.threshold))
    return ratio(weights @ gain, weights.sum(axis=1))
