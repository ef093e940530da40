"""What is risked by answering only the surest cases: the area under the risk–coverage curve (Geifman & El-Yaniv 2017).

Sure is a case whose probability lies far from 0.5; the risk is the Brier score of those that are answered. Cases of equal
sureness are answered together, so that no order among them is made up. `curve.risk_coverage` is the curve itself.
"""

import numpy as np
from jaxtyping import Float, Int

from attending.evaluation.metric import Sample, ratio


def surest_first(probability: Float[np.ndarray, " row"]) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Rows from the surest to the least sure, and for each place of that order the last place of equal sureness."""
    # rounded, because 0.7 − 0.5 and 0.5 − 0.3 differ in their last digit and are as sure
    sureness = np.round(np.abs(np.asarray(probability, dtype=float) - 0.5), 12)
    order = np.argsort(-sureness, kind="stable")
    held = sureness[order]
    ends = np.flatnonzero(np.concatenate([held[1:] != held[:-1], [True]])) if len(held) else np.zeros(0, dtype=int)
    return order, ends[np.searchsorted(ends, np.arange(len(held)))]


def aurc(rows: Sample, weights: Float[np.ndarray, "resample row"]) -> Float[np.ndarray, " resample"]:
    """Mean, over the cases from the surest on, of the Brier score of all that are at least as sure as that case."""
    order, last = surest_first(rows.probability)
    held = weights[:, order]
    answered = np.cumsum(held, axis=1)
    lost = np.cumsum(held * ((rows.probability - rows.truth) ** 2)[order], axis=1)
    np.divide(lost, answered, out=lost, where=answered > 0)
    return ratio(np.einsum("ij,ij->i", held, lost[:, last]), weights.sum(axis=1))
