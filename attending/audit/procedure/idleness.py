"""T16: a modality that the model takes and does not use, because another won the training."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from attending.audit.finding import Finding, Severity
from attending.case import KINDS, Case, Evidence, kind_name

Answer = Callable[[Sequence[Case]], np.ndarray]
"""Cases → probability[case, finding]."""
FEWEST = 20


def check_kinds(answer: Answer, cases: Sequence[Case], *, least: float = 0.02, seed: int = 0) -> tuple[Finding, ...]:
    """Kinds of evidence that can be swapped between patients without the answers moving.

    A kind is idle where its swap moves probabilities by less than `least` of their spread, on average, among at least 20 cases
    that have it; the evidence names every kind's share.
    """
    if len(cases) < FEWEST:
        return ()
    plain = answer(cases)
    spread = plain.std(axis=0)
    if not (spread > 1e-9).any():
        return (_found("the model gives every case the same answer", f"{len(cases)} cases, one answer"),)
    rng = np.random.default_rng(seed)
    moved: dict[type[Evidence], float] = {}
    for kind in KINDS:
        having = np.array([at for at, case in enumerate(cases) if case.of(kind)], dtype=int)
        if len(having) < FEWEST:
            continue
        donors = having[np.roll(rng.permutation(len(having)), 1)]
        swapped = list(cases)
        for at, donor in zip(having, donors, strict=True):
            swapped[at] = replace(cases[at], evidence=(*cases[at].without(kind).evidence, *cases[donor].of(kind)))
        change = np.abs(answer(swapped) - plain)[having].mean(axis=0)
        moved[kind] = float((change[spread > 1e-9] / spread[spread > 1e-9]).max())
    idle = [kind for kind, share in moved.items() if share < least]
    if not idle:
        return ()
    told = ", ".join(f"{kind_name(kind)} {share:.3f}" for kind, share in moved.items())
    return (
        _found(
            f"the model does not use {', '.join(kind_name(kind) for kind in idle)}",
            f"mean change of probabilities, in their spread, when a kind is swapped between patients: {told}",
        ),
    )


def _found(told: str, evidence: str) -> Finding:
    return Finding(
        trap="T16",
        check="idleness",
        severity=Severity.WARN,
        told=told,
        evidence=evidence,
        effect="what is called multi-modal rests on one modality; where that one is absent nothing is left",
        remedy="train with evidence dropped at random and each modality's own answer in the loss, or leave it out (--only)",
    )
