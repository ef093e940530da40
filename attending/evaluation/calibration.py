"""Whether probabilities mean what they say: calibration slope and intercept (Van Calster et al. 2016, weak calibration).

No binned calibration error: no interval can be claimed for it. Smooth curves are in `curve.py`, fits in `recalibration.py`.
"""

import numpy as np
from jaxtyping import Float

from attending.evaluation.logistic import intercept_given, slope_and_intercept
from attending.evaluation.metric import Sample


def calibration_slope(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Slope of the truth on the log-odds: 1 is right, below 1 the probabilities are too extreme."""
    return slope_and_intercept(rows.logit, rows.truth, weights)[0]


def calibration_intercept(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Calibration-in-the-large: log-odds by which risk is underestimated on average (slope held at 1); 0 is right."""
    return intercept_given(rows.logit, rows.truth, weights)
