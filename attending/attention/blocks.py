"""A band of the score matrix, gathered block by block: linear in length on every path, traced and trained alike.

Each block of queries meets only the blocks of keys that a window can reach, and beside them a few keys that all may see; the
square is never held. What exactly is seen is still the mask's word. Where another core runs on a window, that one is taken and
merged with the few keys; it cannot where weights are dropped, a bias learns, or `torch.compile` traces.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attending.attention.core import Attended, attended_by, choose, merge, mixed_by, note
from attending.attention.eager import eager_output
from attending.attention.grid import Grid
from attending.attention.rules import Mask, Seen
from attending.attention.scoring import ScoreBias, Scoring

SHORT = 256
"""Up to this many keys the square is one block."""
_FEWEST_ROWS, _MOST_ROWS = 128, 1024
_ADDED_ONE_BY_ONE = 4
"""Up to so many extra keys are added to the output in place; more make a product worth its memory."""


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Keys that stand beside every window, and how all queries score them."""

    k: Float[Tensor, "batch kv_head extra dim"]
    v: Float[Tensor, "batch kv_head extra value"]
    scoring: Scoring


def window_output(
    q: Float[Tensor, "batch head seq dim"],
    k: Float[Tensor, "batch kv_head seq dim"],
    v: Float[Tensor, "batch kv_head seq value"],
    scoring: Scoring,
    *,
    reach: tuple[int, int],
    extra: Extra | None = None,
) -> Float[Tensor, "batch head seq value"]:
    """Attention in which no query sees further than `reach` = (before, after) keys, save the extra ones, in one softmax."""
    is_long = scoring.grid.is_square and k.shape[2] > SHORT
    is_left_to_band = is_long and choose(q, k, scoring, wants_lse=extra is not None).core == "eager"
    if extra is None and not is_left_to_band:
        return mixed_by(q, k, v, scoring)
    if extra is not None and is_long and not is_left_to_band:
        local = attended_by(q, k, v, scoring)
        if torch.is_grad_enabled() or extra.scoring.softcap is not None:
            return merge(local, attended_by(q, extra.k, extra.v, extra.scoring)).output
        return _with_extra(local, q, extra)
    note("band", eager="it would hold the whole square", blocked="it drops no weights and learns no bias")
    parts = []
    for start, block, keys, values, of_block in _bands(q, k, v, scoring, reach):
        if extra is None:
            parts.append(eager_output(block, keys, values, of_block))
        else:
            joint = beside(extra.scoring.rows(start, start + block.shape[2]), of_block)
            more_keys, more_values = torch.cat([extra.k, keys], dim=2), torch.cat([extra.v, values], dim=2)
            parts.append(eager_output(block, more_keys, more_values, joint))
    return torch.cat(parts, dim=2)


def _with_extra(local: Attended, q: Tensor, extra: Extra) -> Float[Tensor, "batch head seq value"]:
    """What `merge` gives, written over the local output, so that no gradient could go back.

    A copy of the whole output for each step of a merge would take longer than the few products.
    """
    folds = q.shape[1] // extra.k.shape[1]
    k, v = (each.repeat_interleave(folds, dim=1) for each in (extra.k, extra.v))
    added, alive = extra.scoring.additive(local.lse.dtype)
    scores = (q @ (k * extra.scoring.scale).mT).to(local.lse.dtype)
    scores = scores if added is None else scores + added
    scores = scores if alive is None else scores.masked_fill(~alive, -torch.inf)
    total = torch.logaddexp(local.lse, scores.logsumexp(dim=-1))
    total = torch.where(total == -torch.inf, 0.0, total)  # a row that sees nothing has shares of 0
    weights = (scores - total[..., None]).exp().to(v.dtype)
    output = local.output.mul_((local.lse - total).exp()[..., None].to(v.dtype))
    if v.shape[2] > _ADDED_ONE_BY_ONE:
        return output.add_(weights @ v)
    for key in range(v.shape[2]):
        output.addcmul_(weights[..., key : key + 1], v[:, :, key : key + 1])
    return output


def beside(left: Scoring, right: Scoring) -> Scoring:
    """The same queries over the keys of both, left before right, as one softmax."""
    grid = Grid(query=right.grid.query, key=range(left.grid.n_key + right.grid.n_key), device=right.grid.device, offset=-1)
    biases = tuple(_BesideBias(one, left.grid, other, right.grid) for one, other in zip(left.biases, right.biases, strict=True))
    return Scoring(
        mask=_Beside(left, right), grid=grid, scale=right.scale, biases=biases, softcap=right.softcap, dropout=right.dropout
    )


@dataclass(frozen=True, eq=False)
class _Beside(Mask):
    """Each rule over its own keys, which are fixed: the grid is not asked."""

    left: Scoring
    right: Scoring

    def seen(self, grid: Grid) -> Seen | None:
        parts = [(scoring.mask.seen(scoring.grid), scoring.grid) for scoring in (self.left, self.right)]
        if all(seen is None for seen, _ in parts):
            return None
        whole = [_full(seen, of) for seen, of in parts]
        shape = torch.broadcast_shapes(*(seen.shape[:2] for seen in whole))
        return torch.cat([seen.expand(*shape, *seen.shape[2:]) for seen in whole], dim=3)


@dataclass(frozen=True, eq=False)
class _BesideBias:
    """Two biases, each over its own keys."""

    left: ScoreBias
    left_grid: Grid
    right: ScoreBias
    right_grid: Grid

    def __call__(self, grid: Grid) -> Tensor:
        made = [
            bias if isinstance(bias, Tensor) else bias(of)
            for bias, of in ((self.left, self.left_grid), (self.right, self.right_grid))
        ]
        grids = (self.left_grid, self.right_grid)
        shape = torch.broadcast_shapes(*(bias.shape[:2] for bias in made))
        return torch.cat([bias.expand(*shape, of.n_query, of.n_key) for bias, of in zip(made, grids, strict=True)], dim=3)


def band_pairs(length: int, before: int, after: int) -> int:
    """Scores that are computed for a window over `length` tokens, hidden corners of the blocks included."""
    if length <= SHORT:
        return length * length
    rows = _rows(before, after)
    return sum(
        (min(start + rows, length) - start) * (min(start + rows + after, length) - max(start - before, 0))
        for start in range(0, length, rows)
    )


def seen_pairs(length: int, before: int) -> int:
    """Pairs that a causal window lets be seen."""
    full = max(length - before, 0)
    growing = min(length, before)
    return full * (before + 1) + growing * (growing + 1) // 2


def _full(seen: Seen | None, grid: Grid) -> Seen:
    if seen is None:
        return torch.ones(1, 1, grid.n_query, grid.n_key, dtype=torch.bool, device=grid.device)
    return seen.expand(*seen.shape[:2], grid.n_query, grid.n_key)


def _rows(before: int, after: int) -> int:
    """Rows of a block: as many as the window is wide, within what makes good products."""
    return min(max(before + after, _FEWEST_ROWS), _MOST_ROWS)


def _bands(
    q: Tensor, k: Tensor, v: Tensor, scoring: Scoring, reach: tuple[int, int]
) -> Iterator[tuple[int, Tensor, Tensor, Tensor, Scoring]]:
    """First row, queries, keys and values in their reach, and rules of each block.

    Keys are split once and joined for each block: the gradient of a slice of the whole would be as long as the whole, and
    that times the number of blocks is a square again.
    """
    n, (before, after) = q.shape[2], reach
    rows = n if n <= SHORT else _rows(before, after)
    # With hidden tokens among real ones a window reaches further in places than it counts in tokens.
    is_whole = n <= SHORT or scoring.grid.query_count is not None
    queries, keys, values = (tensor.split(rows, dim=2) for tensor in (q, k, v))
    for number, block in enumerate(queries):
        start, stop = number * rows, number * rows + block.shape[2]
        first, last = (0, n) if is_whole else (max(start - before, 0), min(stop + after, n))
        chosen = slice(first // rows, (last - 1) // rows + 1)
        near = [
            torch.cat(parts[chosen], dim=2).narrow(2, first - chosen.start * rows, last - first) for parts in (keys, values)
        ]
        yield start, block, near[0], near[1], scoring.rows(start, stop).columns(first, last)
