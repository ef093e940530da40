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
        energy, vectors, root = _of_rows(maps, metric, tokens)
        down = vectors.mH @ (maps if root is None else _times(root.power(0.5), maps))
        return Directions(up=vectors if root is None else _times(root.power(-0.5), vectors), down=down, energy=energy)
    energy, vectors, root = _of_source(maps, metric, tokens)
    if root is None:
        return Directions(up=maps @ vectors, down=vectors.mH, energy=energy)
    up = maps @ (root.power(0.5).to(maps.dtype) @ vectors)
    return Directions(up=up, down=vectors.mH @ root.power(-0.5).to(maps.dtype), energy=energy)


def energies(
    maps: Float[Tensor, "row source"],
    *,
    metric: Float[Tensor, "block part part"] | None,
    tokens: Float[Tensor, "source source"] | None,
) -> Float[Tensor, " direction"]:
    """What each of `best_directions` carries, without the directions."""
    is_wide = maps.shape[0] <= maps.shape[1]
    return (_of_rows if is_wide else _of_source)(maps, metric, tokens)[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Eigenvalues, all above 0, and eigenvectors of symmetric metrics."""

    values: Float[Tensor, "*block row"]
    vectors: Float[Tensor, "*block row row"]

    def power(self, exponent: float) -> Float[Tensor, "*block row row"]:
        """The metrics to a power: 0.5 are their square roots, −0.5 the inverses of those."""
        return self.vectors * (self.values**exponent)[..., None, :] @ self.vectors.mT


def spectrum(metric: Float[Tensor, "*block row row"]) -> Spectrum:
    """What roots are made from; directions that count for nothing count for almost nothing."""
    values, vectors = torch.linalg.eigh(metric)
    values = values.clamp(min=0.0)
    least = values.mean() * _DAMPING
    return Spectrum(values=values + (least if least > 0.0 else 1.0), vectors=vectors)


def _of_rows(maps: Tensor, metric: Tensor | None, tokens: Tensor | None) -> tuple[Tensor, Tensor, Spectrum | None]:
    """Energies, directions of the weighed rows, and what weighs the rows."""
    root = None if metric is None else spectrum(metric)

    def moment() -> Tensor:
        weighed = maps if root is None else _times(root.power(0.5), maps)
        return (weighed if tokens is None else weighed @ tokens.to(maps.dtype)) @ weighed.mH

    return *_sorted(moment()), root


def _of_source(maps: Tensor, metric: Tensor | None, tokens: Tensor | None) -> tuple[Tensor, Tensor, Spectrum | None]:
    """Energies, directions of the weighed source, and what weighs the source."""
    root = None if tokens is None else spectrum(tokens)

    def moment() -> Tensor:
        near = maps.mH @ (maps if metric is None else _times(metric, maps))
        if root is None:
            return near
        half = root.power(0.5).to(maps.dtype)
        return half @ near @ half

    return *_sorted(moment()), root


def _times(blocks: Float[Tensor, "block part part"], rows: Tensor) -> Tensor:
    """A block-diagonal matrix times rows."""
    return (blocks.to(rows.dtype) @ rows.unflatten(0, blocks.shape[:2])).flatten(0, 1)


def _sorted(moment: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (never below 0) and eigenvectors, the largest first. A matrix of this size may be a third of a small model:
    the moment itself is given up here, before it is solved.
    """
    moment = moment + moment.mH
    energy, vectors = torch.linalg.eigh(moment.div_(2))
    return energy.flip(0).clamp(min=0.0), vectors.flip(1)
