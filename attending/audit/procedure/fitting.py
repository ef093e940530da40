"""T18: a procedure that looks at the truth of those it is judged on, or answers only for those it likes.

Tried, not read: the procedure is run again with the truth of the test cases turned over. Nothing that it gives may change.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from attending.audit.finding import Finding, Severity
from attending.case import Case
from attending.cohort import Fold

Procedure = Callable[[Sequence[Case], Fold], np.ndarray]
"""All cases and a fold → what it gives for the cases of `fold.test`, in their order: probabilities, thresholds, sets."""


def check_fitting(procedure: Procedure, cases: Sequence[Case], fold: Fold, *, tolerance: float = 1e-9) -> tuple[Finding, ...]:
    """Runs the procedure twice, whatever it takes. It must be repeatable (T13), or this finds fault with it too."""
    plain = procedure(cases, fold)
    if len(plain) != len(fold.test):
        return (
            _found(
                "the procedure answers for other cases than it is asked about",
                f"{len(plain)} answers for {len(fold.test)} test cases",
                "cases without all inputs are left out, so that the figures hold for an easier population",
                "answer every case, also the incomplete one; refuse with a reason that is counted",
            ),
        )
    test = set(fold.test)
    turned = [
        replace(case, truth={name: not value for name, value in case.truth.items()}) if case.id in test else case
        for case in cases
    ]
    apart = np.abs(procedure(turned, fold) - plain)
    if not (apart > tolerance).any():
        return ()
    changed = int((apart.reshape(len(apart), -1) > tolerance).any(axis=1).sum())
    return (
        _found(
            "what the procedure gives for test cases depends on their own truth",
            f"{changed} of {len(fold.test)} test cases change, by up to {apart.max():.3g}, with the truth of test turned over",
            "early stopping, calibration, threshold, features or tuning were fitted on the part that judges them",
            "fit everything on the training part alone, with folds of its own for tuning, calibration and thresholds",
        ),
    )


def _found(told: str, evidence: str, effect: str, remedy: str) -> Finding:
    return Finding(
        trap="T18", check="fitting", severity=Severity.BLOCK, told=told, evidence=evidence, effect=effect, remedy=remedy
    )
