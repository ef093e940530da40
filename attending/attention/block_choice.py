"""Runs and blocks of keys: pooling a run into one, who sees it, which blocks a group of heads picks, and reading those alone.

Keys stand in the order of the tokens that are there (`ordered`; the grid says where each came from). No mechanism: what native
sparse attention is made of. A choice has no gradient; what is read has.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.attention.core import mixed_by, note
from attending.attention.errors import AttentionError
from attending.attention.grid import aligned, places_tensor
from attending.attention.rules import Causal
from attending.attention.scoring import Scoring
from attending.attention.stored import Stored
from attending.attention.tables import Keep, KeyRule

_COPIED_AT_ONCE = 1 << 20
"""Numbers of keys copied at once: as many as stay near the processor."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Runs of `size` tokens, one every `stride` tokens, over as many keys as there are."""

    size: int
    stride: int

    def whole(self, n_key: int) -> int:
        """How many runs have all their tokens among so many keys."""
        return max((n_key - self.size) // self.stride + 1, 0)

    def whole_up_to(self, n_key: int) -> int:
        """`whole` of 1, of 2 and so on up to so many keys, summed."""
        n = max(n_key - self.size + 1, 0)
        full, rest = divmod(n, self.stride)
        return n + self.stride * full * (full - 1) // 2 + full * rest

    def begun(self, n_key: int) -> int:
        """How many runs have at least one of their tokens among so many keys."""
        return -(-n_key // self.stride)

    def spread(self, weights: Float[Tensor, "batch head query run"], n_key: int) -> Float[Tensor, "batch head query key"]:
        """What is given to runs, evenly over their tokens."""
        keys, n_runs = weights.new_zeros(*weights.shape[:3], n_key), weights.shape[3]
        for offset in range(self.size if n_runs else 0):
            keys[..., offset : offset + (n_runs - 1) * self.stride + 1 : self.stride] += weights / self.size
        return keys


class RunPooling(nn.Module):
    """One learned key (or value) for each run: its tokens, the place in it added, side by side through one hidden layer."""

    def __init__(self, runs: Runs, *, width: int, hidden: int) -> None:
        super().__init__()
        self.runs = runs
        self.place = nn.Parameter(torch.empty(runs.size, width).normal_(std=0.02))
        self.inner = nn.Linear(runs.size * width, hidden)
        self.outer = nn.Linear(hidden, width)

    def forward(self, heads: Float[Tensor, "batch kv_head seq dim"]) -> Float[Tensor, "batch kv_head run dim"]:
        """All whole runs of a sequence."""
        if heads.shape[2] < self.runs.size:
            return self.pooled(heads[:, :, :0, None].expand(-1, -1, -1, self.runs.size, -1))
        return self.pooled(heads.unfold(2, self.runs.size, self.runs.stride).transpose(3, 4))

    def pooled(self, runs: Float[Tensor, "batch kv_head run token dim"]) -> Float[Tensor, "batch kv_head run dim"]:
        """The runs given."""
        found: Tensor = self.outer(torch.nn.functional.silu(self.inner((runs + self.place).flatten(3))))
        return found


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The blocks that each query of a group reads; those not valid are hidden ones that filled up the number."""

    blocks: Int[Tensor, "batch group query picked"]
    valid: Bool[Tensor, "batch group query picked"]

    def among(self, n_blocks: int) -> Bool[Tensor, "batch group query block"]:
        """The same as a table of all blocks."""
        marked = torch.zeros(*self.blocks.shape[:3], n_blocks, dtype=torch.bool, device=self.blocks.device)
        return marked.scatter_(3, self.blocks, self.valid)


def seen_keys(scoring: Scoring) -> Bool[Tensor, "batch_or_one 1 query_or_one key"]:
    """Which keys each query sees; refuses masks that differ by head, because a group of heads shares one choice."""
    seen = scoring.mask.seen(scoring.grid)
    if seen is None:
        return torch.ones(1, 1, 1, scoring.grid.n_key, dtype=torch.bool, device=scoring.grid.device)
    if seen.shape[1] != 1:
        raise AttentionError(
            f"native sparse: found a mask for {seen.shape[1]} heads; the heads of a group share one choice of blocks, so give "
            "one mask for all heads"
        )
    return seen.expand(-1, -1, -1, scoring.grid.n_key)


def whole_seen(scoring: Scoring, runs: Runs) -> Bool[Tensor, "batch_or_one 1 query_or_one run"]:
    """Which runs a query sees the whole of. A run that mixes in one hidden token would show it."""
    starts = torch.arange(runs.whole(scoring.grid.n_key), device=scoring.grid.device) * runs.stride
    # Where a query sees all keys up to some place, who sees the last of a run has seen the others.
    offsets = (runs.size - 1,) if _sees_from_the_first(scoring) else range(runs.size)
    seen = torch.ones(1, 1, 1, len(starts), dtype=torch.bool, device=scoring.grid.device)
    for offset in offsets:
        seen = seen & seen_keys(_at(scoring, starts + offset))
    return seen


def some_seen(scoring: Scoring, blocks: Runs) -> Bool[Tensor, "batch_or_one 1 query_or_one block"]:
    """Which blocks a query sees any key of; the last may be shorter than the others."""
    n_key = scoring.grid.n_key
    starts = torch.arange(blocks.begun(n_key), device=scoring.grid.device) * blocks.stride
    seen = torch.zeros(1, 1, 1, len(starts), dtype=torch.bool, device=scoring.grid.device)
    for offset in (0,) if _sees_from_the_first(scoring) else range(blocks.size):
        # Behind the end of the last block its last key is asked about again.
        seen = seen | seen_keys(_at(scoring, (starts + offset).clamp(max=n_key - 1)))
    return seen


def importance(
    weights: Float[Tensor, "batch head query run"], runs: Runs, blocks: Runs, *, n_groups: int, n_blocks: int
) -> Float[Tensor, "batch group query block"]:
    """How much weight the heads of a group give to the runs that overlap each block.

    A run counts with the tokens it shares with the block, over the stride: 1, 2, 2, 2, 1 for runs of 32 every 16 over blocks of
    64. (Yuan et al., equation 9, prints an index that leaves the range at the first block; this is the overlap it stands for.)
    """
    of_group = weights.detach().unflatten(1, (n_groups, -1)).sum(dim=2)
    n_runs = of_group.shape[3]
    if n_runs == 0:
        return of_group.new_zeros(*of_group.shape[:3], n_blocks)
    start = torch.arange(n_blocks, device=weights.device)[:, None] * blocks.stride
    most = (blocks.size + runs.size - 2) // runs.stride + 1
    run = torch.div(start - runs.size, runs.stride, rounding_mode="floor") + 1 + torch.arange(most, device=weights.device)
    first, last = run * runs.stride, run * runs.stride + runs.size
    shared = (torch.minimum(last, start + blocks.size) - torch.maximum(first, start)).clamp(min=0)
    shared = torch.where((run >= 0) & (run < n_runs), shared, 0).to(of_group.dtype) / runs.stride
    return (of_group[..., run.clamp(0, n_runs - 1)] * shared).sum(dim=-1)


def pick(
    important: Float[Tensor, "batch group query block"],
    seen: Bool[Tensor, "batch_or_one 1 query_or_one block"],
    own: Int[Tensor, "batch_or_one query"],
    *,
    n: int,
    n_first: int,
    n_local: int,
) -> Picked:
    """The n blocks of each query: the first ones, its own with those before it, and the most important, the earlier of equals.

    `own` is the block in which a query stands. A block of which a query sees nothing is not picked, forced or not.
    """
    block = torch.arange(important.shape[3], device=important.device)
    behind = own[:, None, :, None] - block
    forced = (block < n_first) | ((behind >= 0) & (behind < n_local))
    scores = torch.where(forced, torch.inf, important).masked_fill(~seen, -torch.inf)
    best = scores.sort(dim=-1, descending=True, stable=True)
    return Picked(blocks=best.indices[..., :n], valid=best.values[..., :n] > -torch.inf)


def keys_of(
    picked: Picked, seen: Bool[Tensor, "batch_or_one 1 query_or_one key"], blocks: Runs
) -> Bool[Tensor, "batch group query key"]:
    """Which keys are read: those seen in picked blocks."""
    n_key = seen.shape[3]
    return picked.among(blocks.begun(n_key)).repeat_interleave(blocks.size, dim=3)[..., :n_key] & seen


def read_hiding(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch group key dim"],
    v: Float[Tensor, "batch group key dim"],
    read: Bool[Tensor, "batch group query key"],
    scoring: Scoring,
) -> Float[Tensor, "batch head query dim"]:
    """Attention to the keys that each group reads, by hiding the others from it."""
    n_groups = k.shape[1]
    # A group becomes a sample, so that one mask serves all heads of a sample.
    heads = q.unflatten(1, (n_groups, -1)).flatten(0, 1)
    of_group = over(read.flatten(0, 1)[:, None], scoring)
    return mixed_by(heads, k.flatten(0, 1)[:, None], v.flatten(0, 1)[:, None], of_group).view(q.shape)


def read_gathered(
    q: Float[Tensor, "batch head query dim"],
    k: Stored,
    v: Stored,
    picked: Picked,
    *,
    seen: Bool[Tensor, "batch_or_one 1 query_or_one key"],
    scoring: Scoring,
    size: int,
) -> Float[Tensor, "batch head query dim"]:
    """The same for a few queries, by reading the keys of picked blocks where they lie, and no others."""
    note("gathered", dense="fewer products by reading the picked blocks alone")
    batch, n_groups = picked.blocks.shape[:2]
    sample = torch.arange(batch, device=q.device)[:, None, None, None]
    group = torch.arange(n_groups, device=q.device)[:, None, None]
    keys, valid = _keys_read(picked, seen, size)
    return _attended(q * scoring.scale, k.at(sample, group, keys), v.at(sample, group, keys), valid)


def read_copied(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch group block numbers"],
    v: Float[Tensor, "batch group block numbers"],
    picked: Picked,
    *,
    seen: Bool[Tensor, "batch_or_one 1 query_or_one key"],
    scoring: Scoring,
    size: int,
) -> Float[Tensor, "batch head query dim"]:
    """The same for many queries, from keys and values that lie `side_by_side`: whole blocks are copied, some rows at a time."""
    note("gathered", dense="less work by copying the picked blocks alone")
    (batch, n_groups, n_blocks, numbers), n_query = k.shape, q.shape[2]
    of_group = torch.arange(batch * n_groups, device=q.device).view(batch, n_groups, 1, 1) * n_blocks
    n_picked, parts = picked.blocks.shape[3], []
    at_once = max(_COPIED_AT_ONCE // max(batch * n_groups * n_picked * numbers, 1), 1)
    for start in range(0, n_query, at_once):
        rows = slice(start, min(start + at_once, n_query))
        some = Picked(blocks=picked.blocks[:, :, rows], valid=picked.valid[:, :, rows])
        index, shape = (some.blocks + of_group).flatten(), (batch, n_groups, rows.stop - start, n_picked * size, -1)
        read_k, read_v = (held.flatten(0, 2).index_select(0, index).view(shape) for held in (k, v))
        _, valid = _keys_read(some, seen if seen.shape[2] == 1 else seen[:, :, rows], size)
        parts.append(_attended(q[:, :, rows] * scoring.scale, read_k, read_v, valid))
    return torch.cat(parts, dim=2)


def side_by_side(heads: Float[Tensor, "batch group key dim"], size: int) -> Float[Tensor, "batch group block numbers"]:
    """The keys of each block as one row of numbers; the last block is filled up with 0."""
    whole = torch.nn.functional.pad(heads, (0, 0, 0, -heads.shape[2] % size))
    return whole.reshape(*heads.shape[:2], whole.shape[2] // size, size * heads.shape[3])


def _keys_read(
    picked: Picked, seen: Bool[Tensor, "batch_or_one 1 query_or_one key"], size: int
) -> tuple[Int[Tensor, "batch group query read"], Bool[Tensor, "batch group query read"]]:
    """The keys in picked blocks, and which of them are seen."""
    n_key = seen.shape[3]
    keys = (picked.blocks[..., None] * size + torch.arange(size, device=seen.device)).flatten(3)
    valid = picked.valid.repeat_interleave(size, dim=3) & (keys < n_key)
    keys = keys.clamp(max=n_key - 1)
    return keys, valid & seen.expand(*keys.shape[:3], -1).gather(3, keys)


def _attended(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch group query read dim"],
    v: Float[Tensor, "batch group query read dim"],
    valid: Bool[Tensor, "batch group query read"],
) -> Float[Tensor, "batch head query dim"]:
    """Attention of each query to keys of its own; queries come scaled."""
    (batch, n_groups, n_query), n_heads = k.shape[:3], q.shape[1]
    # [batch, head, query, dim] → one matrix of heads for each query of each group
    asked = q.unflatten(1, (n_groups, n_heads // n_groups)).transpose(2, 3).flatten(0, 2)
    hidden = ~valid.flatten(0, 2)[:, None]
    alive = ~hidden.all(dim=-1, keepdim=True)
    weights = torch.bmm(asked, k.flatten(0, 2).mT).masked_fill(hidden & alive, -torch.inf).softmax(dim=-1)
    mixed = torch.where(alive, torch.bmm(weights, v.flatten(0, 2)), 0.0)
    return mixed.view(batch, n_groups, n_query, n_heads // n_groups, q.shape[3]).transpose(2, 3).reshape(q.shape)


def over(seen: Bool[Tensor, "batch_or_one head_or_one query_or_one key"], scoring: Scoring) -> Scoring:
    """The same queries over the keys of a table of what they see."""
    grid = aligned(scoring.grid.n_query, seen.shape[3], scoring.grid.device)
    return replace(scoring, mask=Keep(seen), grid=grid)


def ordered(scoring: Scoring, order: Int[Tensor, "batch_or_one key"] | None) -> Scoring:
    """The same queries over the keys in this order, which counts those that are there."""
    if order is None:
        return scoring
    count = torch.arange(order.shape[1], device=order.device)[None]
    return replace(scoring, grid=replace(scoring.grid, key=order, key_count=count))


def taken(heads: Float[Tensor, "batch head key dim"], order: Int[Tensor, "batch_or_one key"]) -> Tensor:
    """The keys in this order."""
    return heads.gather(2, order[:, None, :, None].expand(heads.shape))


def put_back(table: Tensor, order: Int[Tensor, "batch_or_one key"] | None) -> Tensor:
    """The last axis, which stands in this order, as its tokens stand."""
    if order is None:
        return table
    index = order[:, None, None, :].expand(len(table), -1, -1, -1).expand(table.shape)
    return torch.zeros_like(table).scatter(3, index, table)


def _sees_from_the_first(scoring: Scoring) -> bool:
    """Whether each query sees a beginning of the keys and nothing behind it."""
    return all(isinstance(rule, (Causal, KeyRule)) for rule in scoring.mask.rules)


def _at(scoring: Scoring, keys: Int[Tensor, " chosen"]) -> Scoring:
    """The same queries over the chosen keys."""
    grid = scoring.grid
    count = None if grid.key_count is None else grid.key_count[:, keys]
    return replace(scoring, grid=replace(grid, key=places_tensor(grid.key, grid.device)[:, keys], key_count=count))
