"""T17: answers that depend on who else is in the batch, because padding is attended to; and weights that nothing uses.

Seen in the field: fixed text slots without a mask, and an output layer that is defined and never called.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from attending.audit.finding import Finding, Severity


def check_company(
    answer: Callable[[Sequence[Any]], np.ndarray], cases: Sequence[Any], *, most: int = 32, tolerance: float = 1e-4
) -> tuple[Finding, ...]:
    """Whether a case gets the same answer alone as beside others, for at most `most` cases."""
    asked = cases[:most]
    if len(asked) < 2:
        return ()
    together = answer(asked)
    alone = np.concatenate([answer(asked[at : at + 1]) for at in range(len(asked))])
    apart = np.abs(together - alone).max(axis=tuple(range(1, together.ndim)))
    if (apart <= tolerance).all():
        return ()
    return (
        Finding(
            trap="T17",
            check="company",
            severity=Severity.BLOCK,
            told="a case's answer depends on the other cases of its batch",
            evidence=f"{int((apart > tolerance).sum())} of {len(asked)} answers change when alone, by up to {apart.max():.3g}",
            effect="padding or other patients are read as evidence: the answer in use is not the one that was judged",
            remedy="mask padding in every attention and mean, and normalise by layer or by stored statistics, not by batch",
        ),
    )


def check_parameters(module: nn.Module, loss: Callable[[], Tensor]) -> tuple[Finding, ...]:
    """Parameters that a loss over all inputs does not reach, or that stand under two names. Leaves gradients as they were."""
    named = [(name, one) for name, one in module.named_parameters(remove_duplicate=False) if one.requires_grad]
    before = [one.grad for _, one in named]
    for _, one in named:
        one.grad = None
    loss().backward()
    unused = [name for name, one in named if one.grad is None]
    for (_, one), grad in zip(named, before, strict=True):
        one.grad = grad
    names: dict[int, list[str]] = defaultdict(list)
    for name, one in named:
        names[id(one)].append(name)
    shared = [" = ".join(held) for held in names.values() if len(held) > 1]
    found = []
    for which, told, severity in (
        (unused, "parameters are never used", Severity.WARN),
        (shared, "parameters stand under several names", Severity.NOTE),
    ):
        if which:
            found.append(
                Finding(
                    trap="T17",
                    check="parameters",
                    severity=severity,
                    told=told,
                    evidence=f"{len(which)} of {len(named)} parameters: {', '.join(which[:8])}",
                    effect="the network is not the one that is described: a layer may be wired to the wrong place",
                    remedy="call the layer that is named, or take it out; share weights only where the description says so",
                )
            )
    return tuple(found)
