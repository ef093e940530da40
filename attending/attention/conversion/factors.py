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
    maps: Float[Tensor, "row source"],
    *,
    metric: Float[Tensor, "block part part"] | None,
    tokens: Float[Tensor, "source source"] | None,
) -> Directions:
    """All directions in order of what they carry; real or complex.

    `metric` is block-diagonal, its blocks one after the other; None: every row counts alike. `tokens` None: every direction of
    the tokens does. Solved on the shorter side of the maps.
    """
    if maps.shape[0] <= maps.shape[1]:
        return _by_rows(maps, metric, tokens)
    near = maps.mH @ (maps if metric is None else _times(metric, maps))
    root, back = (None, None) if tokens is None else roots(tokens)
    if root is not None:
        near = root.to(maps.dtype) @ near @ root.to(maps.dtype)
    energy, vectors = _sorted(near)
    if root is None or back is None:
        return Directions(up=maps @ vectors, down=vectors.mH, energy=energy)
    up, down = maps @ (root.to(maps.dtype) @ vectors), vectors.mH @ back.to(maps.dtype)
    return Directions(up=up, down=down, energy=energy)


def _by_rows(maps: Tensor, metric: Tensor | None, tokens: Tensor | None) -> Directions:
    if metric is None:
        root, back, weighed = None, None, maps
    else:
        root, back = roots(metric)
        weighed = _times(root, maps)
    energy, vectors = _sorted(weighed @ (weighed if tokens is None else weighed @ tokens.to(maps.dtype)).mH)
    return Directions(up=vectors if back is None else _times(back, vectors), down=vectors.mH @ weighed, energy=energy)


def roots(metric: Float[Tensor, "*block row row"]) -> tuple[Float[Tensor, "*block row row"], Float[Tensor, "*block row row"]]:
    """The square roots of symmetric metrics, and their inverses."""
    values, vectors = torch.linalg.eigh(metric)
    values = values.clamp(min=0.0)
    least = values.mean() * _DAMPING
    values = values + (least if least > 0.0 else 1.0)
    root = values.sqrt()[..., None, :]
    return vectors * root @ vectors.mT, vectors / root @ vectors.mT


def _times(blocks: Float[Tensor, "block part part"], rows: Tensor) -> Tensor:
    """A block-diagonal matrix times rows."""
    return (blocks.to(rows.dtype) @ rows.unflatten(0, blocks.shape[:2])).flatten(0, 1)


def _sorted(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (never below 0) and eigenvectors, the largest first."""
    energy, vectors = torch.linalg.eigh((gram + gram.mH) / 2)
    return energy.flip(0).clamp(min=0.0), vectors.flip(1)
