"""The output projection of a new layer, fitted once more: what the new heads say, taken for what the old layer said.

Least squares on calibration inputs with a ridge towards the projection as it is, as strong as serves inputs that were left out
of the fit; where any change makes those worse, nothing is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attending.attention.conversion.conversion import Converted, Seen, need_calibration
from attending.attention.conversion.measured import heads_kept, output_projection
from attending.attention.mechanism import Mechanism

_RIDGES = tuple(10.0**power for power in range(-8, 3))
"""Of the mean eigenvalue of the heads' second moment."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sums:
    """Second moments of heads (with a 1 behind them) and of what is missing; `n` rows."""

    heads: Float[Tensor, "width width"]
    cross: Float[Tensor, "width dim"]
    missing: float
    n: int

    def lost(self, change: Float[Tensor, "width dim"]) -> float:
        """What is still missing after a change."""
        return self.missing - 2 * float((change * self.cross).sum()) + float((change * (self.heads @ change)).sum())

    def fitted(self, ridge: float, has_bias: bool) -> Float[Tensor, "width dim"]:
        """The change that is best for these; a bias is free of the ridge."""
        width = len(self.heads)
        free = width - 1 if has_bias else width
        mean = self.heads.diagonal()[: width - 1].mean()
        penalty = torch.zeros(width, dtype=self.heads.dtype, device=self.heads.device)
        penalty[:free] = ridge * mean
        if not has_bias:
            inner = torch.linalg.solve(self.heads[:-1, :-1] + torch.diag(penalty[:-1]), self.cross[:-1])
            return torch.nn.functional.pad(inner, (0, 0, 0, 1))
        return torch.linalg.solve(self.heads + torch.diag(penalty), self.cross)


@torch.no_grad()
def refit_output(old: Mechanism, converted: Converted, seen: Sequence[Seen]) -> None:
    """Change the output projection (and its bias, if it has one) of the new layer in place."""
    need_calibration(seen, "refit")
    projection = output_projection(converted.layer)
    has_bias = projection.bias is not None
    parts = [_sums(old, converted.layer, one) for one in _halves(seen)]
    first, second = (_total(parts[start::2]) for start in (0, 1))
    if min(first.n, second.n) == 0:
        return
    both = _total((first, second))

    def left_out(ridge: float) -> float:
        return second.lost(first.fitted(ridge, has_bias)) + first.lost(second.fitted(ridge, has_bias))

    losses = {ridge: left_out(ridge) for ridge in _RIDGES}
    best = min(losses, key=lambda ridge: losses[ridge])
    if losses[best] >= both.missing:
        return
    change = both.fitted(best, has_bias)
    projection.weight.add_(change[:-1].T.to(projection.weight.dtype))
    if has_bias:
        projection.bias.add_(change[-1].to(projection.bias.dtype))


def _halves(seen: Sequence[Seen]) -> Sequence[Seen]:
    """The calls; a single one is parted between its samples."""
    return seen if len(seen) > 1 else [part for one in seen for part in one.parted()]


def _sums(old: Mechanism, new: Mechanism, one: Seen) -> _Sums:
    with heads_kept(new) as kept:
        now = one.answered_by(new).double()
    wanted = one.answered_by(old).double()
    rows = one.rows & wanted.any(dim=-1)  # a query that sees nothing says 0, whatever the projection
    heads = torch.nn.functional.pad(kept[-1].double()[rows], (0, 1), value=1.0)
    missing = (wanted - now)[rows]
    return _Sums(heads=heads.T @ heads, cross=heads.T @ missing, missing=float((missing**2).sum()), n=len(heads))


def _total(parts: Sequence[_Sums]) -> _Sums:
    return _Sums(
        heads=torch.stack([part.heads for part in parts]).sum(dim=0),
        cross=torch.stack([part.cross for part in parts]).sum(dim=0),
        missing=sum(part.missing for part in parts),
        n=sum(part.n for part in parts),
    )
