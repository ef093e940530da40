"""Keeping the best few directions of several linear maps at once, in the measure of what they are for.

Eckart and Young (1936) in a metric: of all maps of rank r the nearest to A in ‖L (A − B) C^½‖ comes from the eigenvectors of
L A C Aᵀ L. With L and C the identity this is the plain singular value decomposition of the weights.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_DAMPING = 1e-12
"""Share of its mean eigenvalue that is added to a metric, so that it can be inverted; directions below it cost nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """`up[:, :r] @ down[:r]` is the best map of rank r, and `energy[r:]` sums to what it misses, in the units of the metric."""

    up: Float[Tensor, "row direction"]
    down: Float[Tensor, "direction source"]
    energy: Float[Tensor, " direction"]


def best_directions(
    maps: Float[Tensor, "row source"], *, metric: Float[Tensor, "row row"] | None, tokens: Float[Tensor, "source source"] | None
) -> Directions:
    """All directions in order of what they carry; real or complex. None: every row, or every token direction, counts alike."""
    root, back = (None, None) if metric is None else roots(metric)
    weighed = maps if root is None else root.to(maps.dtype) @ maps
    gram = weighed @ (weighed if tokens is None else weighed @ tokens.to(maps.dtype)).mH
    energy, vectors = torch.linalg.eigh((gram + gram.mH) / 2)
    energy, vectors = energy.flip(0).clamp(min=0.0), vectors.flip(1)
    return Directions(up=vectors if back is None else back.to(maps.dtype) @ vectors, down=vectors.mH @ weighed, energy=energy)


def roots(metric: Float[Tensor, "row row"]) -> tuple[Float[Tensor, "row row"], Float[Tensor, "row row"]]:
    """The square root of a symmetric metric, and its inverse."""
    values, vectors = torch.linalg.eigh(metric)
    least = values.clamp(min=0.0).mean() * _DAMPING
    values = values.clamp(min=0.0) + torch.where(least > 0.0, least, 1.0)
    return vectors * values.sqrt() @ vectors.T, vectors / values.sqrt() @ vectors.T


def block_diagonal(blocks: Float[Tensor, "block row row"]) -> Float[Tensor, "rows rows"]:
    """The blocks along the diagonal."""
    return torch.block_diag(*blocks)
