"""Who leads whom among the heads of a layer, as tables; and the first tokens of a sample, which decide it.

Tables have sizes that do not depend on what was found, so that samples of a batch can differ and everything can be traced.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.grid import Grid, aligned
from attending.attention.masks import present, real_keys
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias
from attending.attention.steps import Weighed


class Membership(NamedTuple):
    """Tables of a batch.

    `representatives`: heads, in order. `of_head`: for each head the index of its representative. `kept`: KV heads whose keys
    are kept. `slot`: for each representative the index of its KV head among `kept`.
    """

    representatives: Int[Tensor, "batch cluster"]
    of_head: Int[Tensor, "batch head"]
    kept: Int[Tensor, "batch key_head"]
    slot: Int[Tensor, "batch cluster"]

    @property
    def nbytes(self) -> int:
        return sum(table.numel() * table.element_size() for table in self)

    @staticmethod
    def nbytes_for(*, batch: int, n_heads: int, n_clusters: int, n_kept: int) -> int:
        """`nbytes`, without making it."""
        return batch * (2 * n_clusters + n_heads + n_kept) * 8


def membership(leaders: Int[Tensor, "batch head"], *, n_clusters: int, kv_heads: int, n_kept: int) -> Membership:
    """The tables for `n_clusters` leaders a sample. A KV head is kept if a leader reads it; others fill up to `n_kept`."""
    heads = torch.arange(leaders.shape[1], device=leaders.device)
    leads = leaders == heads
    chosen = _true_first(leads)[:, :n_clusters]
    of_head = (leads.cumsum(dim=1) - 1).gather(1, leaders)
    read = chosen // (leaders.shape[1] // kv_heads)
    needed = torch.zeros(len(leaders), kv_heads, dtype=torch.bool, device=leaders.device).scatter(1, read, True)
    return Membership(chosen, of_head, _true_first(needed)[:, :n_kept], (needed.cumsum(dim=1) - 1).gather(1, read))


@dataclass(frozen=True, kw_only=True)
class FirstTokens:
    """The first real tokens of each sample: where they stand, which of them are there, and the same by token."""

    index: Int[Tensor, "batch first"]
    valid: Bool[Tensor, "batch first"]
    by_token: Bool[Tensor, "batch_or_one seq"]


def first_tokens(mask: Mask, batch: int, grid: Grid, n_first: int) -> FirstTokens:
    """The first `n_first` tokens that padding and keep_keys say exist."""
    n = grid.n_key
    whole = aligned(n, n, grid.device)
    kept = present(mask, whole)
    kept = torch.ones(1, n, dtype=torch.bool, device=grid.device) if kept is None else kept
    by_token = kept & (kept.cumsum(dim=1) <= n_first)
    if real_keys(mask, whole) is None:
        index = torch.arange(min(n_first, n), device=grid.device)[None]
    else:
        index = _true_first(by_token)[:, : min(n_first, n)]
    index = index.expand(batch, -1)
    return FirstTokens(index=index, valid=by_token.expand(batch, -1).gather(1, index), by_token=by_token)


def at_places(tensor: Tensor, index: Int[Tensor, "batch place"], axis: int) -> Tensor:
    """Entries along an axis, by sample."""
    shape, view = [*tensor.shape], [1] * tensor.dim()
    shape[0], shape[axis] = view[0], view[axis] = index.shape
    return tensor.expand(index.shape[0], *tensor.shape[1:]).gather(axis, index.view(view).expand(shape))


def put_at_places(
    heads: Float[Tensor, "batch head seq dim"], index: Int[Tensor, "batch place"], new: Float[Tensor, "batch head place dim"]
) -> Float[Tensor, "batch head seq dim"]:
    """The heads with new outputs at some places of each sample; a place behind the end is not written."""
    room = torch.cat([heads, torch.zeros_like(heads[:, :, :1])], dim=2)
    wide = index[:, None, :, None].expand(-1, new.shape[1], -1, new.shape[3])
    return room.scatter(2, wide, new)[:, :, :-1]


def of_first_or_not(first: FirstTokens, early: Weighed, late: Weighed) -> Weighed:
    """The first tokens' rows as all heads weigh, the others as clusters do; first tokens that are not there weigh nothing."""
    is_first = first.by_token[:, None]
    weights = torch.where(is_first[..., None], early.weights, late.weights)
    absent = torch.zeros_like(weights[:, 0, :, 0], dtype=torch.bool).scatter(1, first.index, ~first.valid)
    weights = torch.where(absent[:, None, :, None], 0.0, weights)
    return Weighed(weights, torch.where(is_first, early.alive, late.alive))


def bias_at_places(bias: ScoreBias, index: Int[Tensor, "batch place"]) -> ScoreBias:
    """The bias of chosen rows and columns; axes of one stay."""
    if not isinstance(bias, Tensor):
        return bias
    for axis in (2, 3):
        bias = bias if bias.shape[axis] == 1 else at_places(bias, index, axis)
    return bias


def _true_first(flags: Bool[Tensor, "batch n"]) -> Int[Tensor, "batch n"]:
    """Indices, those of true flags before the others, each in order."""
    return flags.to(torch.int8).argsort(dim=1, descending=True, stable=True)
