"""T20: an interval that takes a patient's visits for so many patients. Tried by copying every row within its group."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from attending.audit.finding import Finding, Severity
from attending.evaluation.outcomes import Outcomes


def check_interval(
    interval: Callable[[Outcomes], tuple[float, float]], outcomes: Outcomes, *, copies: int = 4, least: float = 0.75
) -> tuple[Finding, ...]:
    """Whether the interval stays as wide when every row stands `copies` times in its group.

    Copies are no news: an interval by groups keeps its width but for chance, one by rows shrinks to 1 / √copies. `least` is
    the share of the width that must be left.
    """
    low, high = interval(outcomes)
    again = np.tile(np.arange(len(outcomes)), copies)
    copied = outcomes.rows(again)
    names = np.array([f"{id} copy {at // len(outcomes)}" for at, id in enumerate(copied.ids)], dtype=object)
    copied = replace(copied, ids=names, weight=copied.weights / copies)
    copied_low, copied_high = interval(copied)
    if not (np.isfinite([low, high, copied_low, copied_high]).all() and high > low):
        return ()
    left = (copied_high - copied_low) / (high - low)
    if left >= least:
        return ()
    return (
        Finding(
            trap="T20",
            check="intervals",
            severity=Severity.BLOCK,
            told="the interval counts rows, not patients",
            evidence=f"with every row {copies} times within its patient the interval keeps {left:.2f} of its width",
            effect="intervals are too narrow wherever a patient has several rows, and differences seem shown that are not",
            remedy="draw whole groups with all their rows (attending judge does, by the column group)",
        ),
    )
