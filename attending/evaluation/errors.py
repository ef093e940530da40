"""The worst errors: which cases the model was surest about and wrong, in each group. Names cases: it stays beside the data."""

import csv
import io

import numpy as np

from attending.evaluation.outcomes import Outcomes

MOST = 10
COLUMNS = ("finding", "error", "group", "level", "rank", "id", "probability", "truth")


def worst_errors_text(outcomes: Outcomes, *, most: int = MOST) -> str:
    """CSV of `COLUMNS`: per finding, and per level of each stratum, the `most` highest probabilities without it and the lowest
    with it.

    A case under repeats counts once, with its mean probability. "Error" says how far the probability lies from the recorded
    label, whatever the threshold. Holds ids: it is not for sharing.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    strata = {"all": np.full(len(outcomes), "all"), **{name: held.astype(str) for name, held in outcomes.strata.items()}}
    for column, finding in enumerate(outcomes.findings):
        known = outcomes.known[:, column]
        ids, first, which = np.unique(outcomes.ids[known].astype(str), return_index=True, return_inverse=True)
        probability = np.bincount(which, weights=outcomes.probability[known, column]) / np.bincount(which)
        truth = outcomes.truth[known, column][first]
        for group, held in strata.items():
            levels = held[known][first]
            for level in np.unique(levels):
                for error, wrong, sign in (("too high", ~truth, -1.0), ("too low", truth, 1.0)):
                    here = np.flatnonzero((levels == level) & wrong)
                    here = here[np.argsort(sign * probability[here], kind="stable")][:most]
                    for rank, at in enumerate(here, start=1):
                        writer.writerow([finding, error, group, level, rank, ids[at], f"{probability[at]:.6g}", int(truth[at])])
    return buffer.getvalue()
