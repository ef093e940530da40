"""From cases to the rows that evaluation reads, and to the lines that a protocol parts.

Evaluation and cohort know no cases and cases know neither; this is the only place where both are seen.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from attending.case import KINDS, Case, Chart, Demographics, kind_name
from attending.cohort import Member
from attending.diagnosis import Task
from attending.evaluation.outcomes import Outcomes

SITE, PATTERN = "site", "pattern"


def members_of(cases: Sequence[Case] | Sequence[Chart]) -> tuple[Member, ...]:
    """The cases as lines of a list, without evidence."""
    return tuple(Member(id=c.id, patient=c.patient, group=c.group, truth=c.truth, site=c.site) for c in cases)


def pattern_of(case: Case | Chart) -> str:
    """Which kinds of evidence the case has, as `lab+note`; `nothing` for the empty case."""
    return "+".join(kind_name(kind) for kind in KINDS if case.of(kind)) or "nothing"


def outcomes_of(
    cases: Sequence[Case], raw: Float[np.ndarray, "case finding"], *, task: Task, repeat: int = 0, fold: int = 0
) -> Outcomes:
    """Uncalibrated answers beside what was recorded; `probability` is `raw` until a calibration is applied.

    Weights are 1 / (cases of the patient among these).
    """
    n = len(cases)
    visits = Counter(case.patient for case in cases)
    strata = {PATTERN: np.array([pattern_of(case) for case in cases], dtype=object).astype(str)}
    if any(case.site is not None for case in cases):
        strata[SITE] = np.array([case.site or "not stated" for case in cases])
    for name in sorted({name for case in cases for name in case.strata}):
        strata[name] = np.array([case.strata.get(name, "not stated") for case in cases])
    known = np.array([[finding in case.truth for finding in task.findings] for case in cases], dtype=bool)
    truth = np.array([[case.truth.get(finding, False) for finding in task.findings] for case in cases], dtype=bool)
    shape = (n, len(task.findings))
    return Outcomes(
        ids=np.array([case.id for case in cases]),
        groups=np.array([case.group for case in cases]),
        findings=task.findings,
        probability=raw,
        raw=raw,
        truth=truth.reshape(shape),
        known=known.reshape(shape),
        repeat=np.full(n, repeat),
        fold=np.full(n, fold),
        exclusive=task.exclusive,
        strata=strata,
        weight=np.array([1.0 / visits[case.patient] for case in cases]),
    )


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Rows of several parts, one after the other. They share findings, strata and which fields they hold."""

    def all_of(name: str) -> np.ndarray | None:
        held = [getattr(part, name) for part in parts]
        return None if any(value is None for value in held) else np.concatenate(held)

    first = parts[0]
    strata: Mapping[str, np.ndarray] = {
        name: np.concatenate([part.strata.get(name, np.full(len(part), "not stated")) for part in parts])
        for name in sorted({name for part in parts for name in part.strata})
    }
    optional = ("weight", "raw", "in_set", "absence_in_set", "abstained", "threshold")
    return Outcomes(
        findings=first.findings,
        exclusive=first.exclusive,
        strata=strata,
        ids=np.concatenate([part.ids for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        probability=np.concatenate([part.probability for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        known=np.concatenate([part.known for part in parts]),
        repeat=np.concatenate([part.repeat for part in parts]),
        fold=np.concatenate([part.fold for part in parts]),
        **{name: all_of(name) for name in optional},
    )


AGE_BANDS = ((0, 18), (18, 45), (45, 65), (65, 80), (80, None))
"""Bands in which results are told, from … to below … years."""


def with_subgroups(outcomes: Mapping[str, Outcomes], cases: Sequence[Case]) -> dict[str, Outcomes]:
    """The outcomes with age band and sex as strata, where any case states them and no column of the table did."""
    told: dict[str, dict[str, str]] = {"age band": {}, "sex": {}}
    for case in cases:
        for one in case.of(Demographics):
            if one.age_years is not None:
                told["age band"][case.id] = _band(one.age_years)
            if one.sex is not None:
                told["sex"][case.id] = one.sex
    held = {}
    for model, rows in outcomes.items():
        new = {
            name: np.array([by_id.get(str(id), "not stated") for id in rows.ids])
            for name, by_id in told.items()
            if by_id and name not in rows.strata
        }
        held[model] = replace(rows, strata={**rows.strata, **new})
    return held


def _band(age_years: float) -> str:
    low, high = next((low, high) for low, high in AGE_BANDS if high is None or age_years < high)
    return f"{low} years or more" if high is None else f"{low} to {high - 1} years"
