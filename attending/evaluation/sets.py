"""What conformal sets did: how often they held what was recorded, how large they were, how many were empty or full.

And how many cases were not answered. Judges what stands beside the predictions: making sets is in `conformal.py`, turning
cases away in `gate.py`.
"""

from collections.abc import Iterator

import numpy as np

from attending.evaluation.inquiry import Terms
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.result import Result
from attending.evaluation.shares import Shares


def set_rows(outcomes: Outcomes, model: str, terms: Terms) -> list[Result]:
    """Rows `set_coverage`, `set_size`, `set_empty`, `set_full` per finding (for all classes together where findings exclude
    each other: "macro"), and `set_coverage_events`, `set_coverage_others`. None where no sets were recorded.

    Where only the presence of findings was recorded, only the coverage among events can be told.
    """
    if outcomes.in_set is None:
        return []
    if not outcomes.exclusive:
        return [row for k in range(len(outcomes.findings)) for row in _finding_rows(outcomes, model, terms, k)]
    about = Shares(outcomes=outcomes, model=model, terms=terms, finding="macro")
    known = np.asarray(outcomes.known.all(axis=1))
    size = outcomes.in_set.sum(axis=1)
    return [
        about.share("set_coverage", (outcomes.in_set & outcomes.truth).any(axis=1), known),
        about.share("set_empty", size == 0, known),
        about.share("set_full", size == len(outcomes.findings), known),
        about.mean("set_size", size, known),
    ]


def _finding_rows(outcomes: Outcomes, model: str, terms: Terms, k: int) -> Iterator[Result]:
    assert outcomes.in_set is not None
    about = Shares(outcomes=outcomes, model=model, terms=terms, finding=outcomes.findings[k])
    present, known, truth = outcomes.in_set[:, k], outcomes.known[:, k], outcomes.truth[:, k]
    yield about.share("set_coverage_events", present, known & truth)
    if outcomes.absence_in_set is None:
        return
    absent = outcomes.absence_in_set[:, k]
    size = present.astype(int) + absent
    yield about.share("set_coverage_others", absent, known & ~truth)
    yield about.share("set_coverage", np.where(truth, present, absent), known)
    yield about.share("set_empty", size == 0, known)
    yield about.share("set_full", size == 2, known)
    yield about.mean("set_size", size, known)


def abstention_rows(outcomes: Outcomes, model: str, terms: Terms) -> list[Result]:
    """Row `abstained`: the share of cases that the model would not have answered. None where that was not recorded."""
    if outcomes.abstained is None:
        return []
    finding = outcomes.findings[0] if len(outcomes.findings) == 1 else "macro"
    about = Shares(outcomes=outcomes, model=model, terms=terms, finding=finding)
    return [about.share("abstained", outcomes.abstained, np.ones(len(outcomes), dtype=bool))]
