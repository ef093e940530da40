"""Picking keys by their scores: which are read, the earlier of equals first, and the rows taken a few at a time.

No mechanism and no scores of its own: what indexed attention picks with.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.scoring import Scoring

_HELD_AT_ONCE = 8 << 20
"""Numbers held at once: rows are taken a few at a time, so that memory does not grow with their number."""


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The keys that each query reads; those not valid are hidden ones that filled up the number."""

    keys: Int[Tensor, "batch query picked"]
    valid: Bool[Tensor, "batch query picked"]


def first_of_equals(
    scores: Float[Tensor, "batch query key"], places: Int[Tensor, "batch_or_one key"], n: int
) -> Int[Tensor, "batch query n"]:
    """The n best keys of each row, earlier places before later ones of the same score, whatever slots they stand in."""
    by_place = places.argsort(dim=-1)[:, None].expand_as(scores)
    order = scores.gather(2, by_place).argsort(dim=-1, descending=True, stable=True)[..., :n]
    return by_place.gather(2, order)


def hiding(picked: Bool[Tensor, "batch query key"], dtype: torch.dtype) -> Float[Tensor, "batch 1 query key"]:
    """A bias of 0 for what was picked and −inf for the rest."""
    return torch.zeros(picked.shape, dtype=dtype, device=picked.device).masked_fill_(~picked, -torch.inf)[:, None]


def row_blocks(scoring: Scoring, width: int) -> Iterator[slice]:
    """Rows a few at a time, so that rows × keys × width numbers fit into what may be held at once."""
    at_once = max(1, _HELD_AT_ONCE // max(1, width * scoring.grid.n_key))
    for start in range(0, scoring.grid.n_query, at_once):
        yield slice(start, min(start + at_once, scoring.grid.n_query))
