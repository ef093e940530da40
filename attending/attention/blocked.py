"""The cache-blocked core: a few rows at a time against the keys they can see, scores kept in a buffer that fits the cache.

Never holds the square of scores, skips keys that the rules put out of reach (causal, window), and in bfloat16 on a CPU outruns
the fused kernel. In training it computes the scores again in the backward pass. Cannot drop weights or learn a bias.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from attending.attention.scoring import Scoring

BUFFER_BYTES = 4 << 20
"""Scores held at once; of the order of a core's share of the last-level cache."""
_BUFFER_BYTES_IN_16_BITS = 8 << 20
"""Products in 16 bits are so fast that many small blocks cost more than they leave in the cache (measured, two threads)."""
_FEWEST_ROWS = 32
_ROWS_THAT_SKIP = 128
_ROWS_THAT_SKIP_FAR = 256
_ROWS_THAT_SKIP_IN_FULL = 64
"""Rows at once under a window or causally: in 32 bits products are dearer, and fewer rows read fewer keys in vain; in 16 bits
few rows make slow products, and where rows see far, more of them read few keys in vain."""


def blocked_attend(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch kv_head key dim"],
    v: Float[Tensor, "batch kv_head key value"],
    scoring: Scoring,
) -> tuple[Float[Tensor, "batch head query value"], Float[Tensor, "batch head query"]]:
    """The weighted mean of the values, and the log of the sum of exponentials of the scores (−inf: nothing seen)."""
    output, lse = _BlockedAttention.apply(q, k, v, scoring, True)
    return output, lse


def blocked_output(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Float[Tensor, "batch head query value"]:
    """The weighted mean of the values alone."""
    return _BlockedAttention.apply(q, k, v, scoring, False)[0]


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Some KV heads of some samples, some rows, and the columns they can reach."""

    samples: slice
    kv_heads: slice
    rows: slice
    columns: slice


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 -- autograd passes by position
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring, wants_lse: bool
    ) -> tuple[Tensor, Tensor | None]:
        output, lse = _Run(q, k, v, scoring).forward(wants_lse=wants_lse)
        ctx.save_for_backward(q, k, v, output)
        ctx.scoring = scoring
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor, d_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, output = ctx.saved_tensors
        return *_Run(q, k, v, ctx.scoring).backward(output, d_output, d_lse), None, None


class _Run:
    """One call: views of the tensors by KV head, with the query heads that share one folded into its rows."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> None:
        self.batch, self.n_heads, self.n_query, self.dim = q.shape
        self.n_kv_heads, self.n_key, self.value_dim = k.shape[1], k.shape[2], v.shape[3]
        self.folds = self.n_heads // self.n_kv_heads
        self.q = (q * scoring.scale).unflatten(1, (self.n_kv_heads, self.folds))
        self.k, self.v = k.contiguous(), v.contiguous()
        self.scoring = scoring
        room = (_BUFFER_BYTES_IN_16_BITS if q.element_size() <= 2 else BUFFER_BYTES) // q.element_size()
        self.rows_at_once = self._rows_at_once(room)
        self.room = max(room, self.folds * self.rows_at_once * self.n_key)

    def blocks(self) -> Iterator[tuple[_Block, Scoring]]:
        """Blocks in order of samples, heads and rows, each with the rules cut to it."""
        for row in range(0, self.n_query, self.rows_at_once):
            rows = slice(row, min(row + self.rows_at_once, self.n_query))
            of_rows = self.scoring.rows(rows.start, rows.stop)
            start, stop = of_rows.mask.span(of_rows.grid)
            of_block = of_rows.columns(start, stop)
            area = max(self.folds * (rows.stop - rows.start) * (stop - start), 1)
            groups = max(self.room // area, 1)
            n_samples, n_heads = max(groups // self.n_kv_heads, 1), min(groups, self.n_kv_heads)
            for sample in range(0, self.batch, n_samples):
                samples = slice(sample, min(sample + n_samples, self.batch))
                of_samples = of_block if n_samples >= self.batch else of_block.samples(samples)
                for head in range(0, self.n_kv_heads, n_heads):
                    heads = slice(head, min(head + n_heads, self.n_kv_heads))
                    yield _Block(samples=samples, kv_heads=heads, rows=rows, columns=slice(start, stop)), of_samples

    def forward(self, *, wants_lse: bool) -> tuple[Tensor, Tensor | None]:
        output = self.q.new_empty(self.batch, self.n_kv_heads, self.folds, self.n_query, self.value_dim)
        lse = None
        if wants_lse:
            precise = torch.promote_types(self.q.dtype, torch.float32)
            lse = torch.full(output.shape[:-1], -torch.inf, dtype=precise, device=self.q.device)
        buffer = self.q.new_empty(self.room)
        for block, scoring in self.blocks():
            place = (block.samples, block.kv_heads, slice(None), block.rows)
            if block.columns.start == block.columns.stop:
                output[place] = 0.0
                continue
            scores, alive, _ = self.scores(block, scoring, buffer)
            column = self._column_to_sum_by(scoring)
            before = None if lse is None else _at(scores, column).to(lse.dtype, copy=True)
            torch.softmax(scores, dim=-1, out=scores)
            whole = output[place]
            self._mix(scores, block, whole, alive)
            sums = None if before is None else self._log_sums(before, scores, column, block, scoring)
            if lse is not None and sums is not None:
                sums = sums.view(whole.shape[:-1])
                lse[place] = sums if alive is None else torch.where(self._five(alive, block)[..., 0], sums, -torch.inf)
        return output.flatten(1, 2), None if lse is None else lse.flatten(1, 2)

    def _mix(
        self, weights: Tensor, block: _Block, output: Float[Tensor, "batch kv_head fold row value"], alive: Tensor | None
    ) -> None:
        """Write weights times values to their place; rows that see nothing get 0."""
        values = self._cut(self.v, block)
        if alive is None and output.is_contiguous():
            torch.bmm(weights, values, out=output.view(*weights.shape[:2], self.value_dim))
            return
        part = torch.bmm(weights, values).view(output.shape)
        output.copy_(part if alive is None else torch.where(self._five(alive, block), part, 0.0))

    def backward(self, output: Tensor, d_output: Tensor, d_lse: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        shape = (self.batch, self.n_kv_heads, self.folds, self.n_query)
        d_heads = d_output.reshape(*shape, self.value_dim)
        delta = (output.view(*shape, self.value_dim) * d_heads).sum(dim=-1, keepdim=True)
        if d_lse is not None:
            delta = delta - d_lse.reshape(*shape, 1).to(delta.dtype)
        d_q, d_k, d_v = torch.zeros_like(self.q), torch.zeros_like(self.k), torch.zeros_like(self.v)
        buffer, second = self.q.new_empty(self.room), self.q.new_empty(self.room)
        for block, scoring in self.blocks():
            if block.columns.start == block.columns.stop:
                continue
            weights, alive, slope = self.scores(block, scoring, buffer)
            torch.softmax(weights, dim=-1, out=weights)
            rows = (block.samples, block.kv_heads, slice(None), block.rows)
            columns = (block.samples, block.kv_heads, block.columns)
            if alive is not None:
                weights.view(*d_heads[rows].shape[:4], -1).mul_(self._five(alive, block))
            d_rows = d_heads[rows].reshape(weights.shape[0], weights.shape[1], -1)
            d_v[columns] += torch.bmm(weights.mT, d_rows).view(d_v[columns].shape)
            d_scores = self._view(second, weights.shape)
            torch.bmm(d_rows, self.v[columns].flatten(0, 1).mT, out=d_scores)
            d_sums = delta[rows] if alive is None else torch.where(self._five(alive, block), delta[rows], 0.0)
            d_scores.sub_(d_sums.reshape(weights.shape[0], weights.shape[1], 1)).mul_(weights)
            if slope is not None:
                d_scores.mul_(slope)
            d_q[rows] = torch.bmm(d_scores, self.k[columns].flatten(0, 1)).view(d_q[rows].shape)
            folded = self.q[rows].reshape(weights.shape[0], weights.shape[1], -1)
            d_k[columns] += torch.bmm(d_scores.mT, folded).view(d_k[columns].shape)
        return d_q.mul_(self.scoring.scale).flatten(1, 2), d_k, d_v

    def _column_to_sum_by(self, scoring: Scoring) -> int | None:
        """A key that all rows of a block see, if there is one."""
        start, stop = _sure_columns(scoring)
        return start if start < stop and self.q.device.type == "cpu" else None

    def _log_sums(
        self, before: Tensor, weights: Tensor, column: int | None, block: _Block, scoring: Scoring
    ) -> Float[Tensor, "group row"]:
        """The log-sum-exp of rows from one score of each and its weight: score − ln weight, at `column` or at the largest.

        The sum itself would be one more pass of exponentials, and in 16 bits a rounded one. The weights' buffer is used up
        where a weight at the column is too small to tell.
        """
        after = _at(weights, column).to(before.dtype)
        least = torch.finfo(weights.dtype).tiny / torch.finfo(weights.dtype).eps
        if column is not None and bool((after < least).any()):
            scores, _, _ = self.scores(block, scoring, weights.view(-1))
            before = scores.amax(dim=-1).to(before.dtype)
            after = torch.softmax(scores, dim=-1, out=scores).amax(dim=-1).to(before.dtype)
        return before - after.log()

    def scores(self, block: _Block, scoring: Scoring, buffer: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Scores of a block in the buffer as [group, rows, key], which rows see anything, and the slope of the soft-cap."""
        queries = self.q[block.samples, block.kv_heads, :, block.rows]
        folded = queries.reshape(-1, self.folds * queries.shape[3], self.dim)
        keys = self._cut(self.k, block).mT
        scores = self._view(buffer, torch.Size([folded.shape[0], folded.shape[1], keys.shape[2]]))
        start, stop = _sure_columns(scoring)
        cuts_edges = 2 * (stop - start) > keys.shape[2]
        added, alive = (None, None) if cuts_edges else scoring.additive(scores.dtype)
        rides = added is not None and scoring.softcap is None and added.shape[1] == 1 and 1 in (self.folds, added.shape[2])
        if added is not None and rides:
            # One pass over the scores less than adding afterwards.
            torch.baddbmm(self._by_group(added, queries.shape[:2]), folded, keys, out=scores)
            return scores, alive, None
        torch.bmm(folded, keys, out=scores)
        slope = None
        if scoring.softcap is not None:
            scores.div_(scoring.softcap).tanh_()
            slope = 1.0 - scores.square()
            scores.mul_(scoring.softcap)
        if added is not None:
            # [batch, kv head, fold, row, key]
            scores.view(*queries.shape[:4], -1).add_(self._five(added, block))
        elif cuts_edges:
            # Adding to all would be one more pass over the scores for the few columns that a rule cuts.
            for columns in (slice(0, start), slice(stop, keys.shape[2])):
                self._hide(
                    scores.view(*queries.shape[:4], -1)[..., columns], scoring.columns(columns.start, columns.stop), block
                )
        return scores, alive, slope

    def _hide(self, scores: Float[Tensor, "batch kv_head fold row key"], scoring: Scoring, block: _Block) -> None:
        seen = scoring.mask.seen(scoring.grid) if scores.shape[-1] else None
        if seen is not None:
            hidden = torch.zeros(seen.shape, dtype=scores.dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
            scores.add_(self._five(hidden, block))

    def _cut(self, keys: Tensor, block: _Block) -> Float[Tensor, "group key dim"]:
        """Keys or values of a block. In 16 bits a product with a part of a larger tensor is slower than copying that part."""
        cut = keys[block.samples, block.kv_heads, block.columns].flatten(0, 1)
        return cut.contiguous() if cut.element_size() <= 2 else cut

    def _by_group(self, added: Tensor, groups: torch.Size) -> Tensor:
        """[batch or 1, 1, row, key] of a rule as [group or 1, row, key]."""
        if added.shape[0] == 1:
            return added[0]
        return added.expand(*groups, -1, -1).flatten(0, 1)

    def _five(self, added: Tensor, block: _Block) -> Tensor:
        """[batch, head, row, key] of a rule as [batch, kv head, fold, row, key] of a block."""
        if added.shape[1] == 1:
            return added[:, :, None]
        return added.unflatten(1, (self.n_kv_heads, self.folds))[:, block.kv_heads]

    def _view(self, buffer: Tensor, shape: torch.Size) -> Tensor:
        return buffer[: shape.numel()].view(shape)

    def _rows_at_once(self, room: int) -> int:
        """Many rows make large products; few rows skip more of the keys out of reach."""
        row = max(self.folds * self.n_key, 1)
        most = min(max(room // row, _FEWEST_ROWS), max(self.n_query, 1))
        middle = self.scoring.grid.rows(self.n_query // 2, min(self.n_query // 2 + _ROWS_THAT_SKIP, self.n_query))
        start, stop = self.scoring.mask.span(middle)
        if 4 * (stop - start) > 3 * self.n_key:
            return most
        if self.q.element_size() > 2:
            return min(most, _ROWS_THAT_SKIP_IN_FULL)
        return min(most, _ROWS_THAT_SKIP_FAR if stop - start > 6 * _ROWS_THAT_SKIP else _ROWS_THAT_SKIP)


def _sure_columns(scoring: Scoring) -> tuple[int, int]:
    """Columns that every row sees; none where a bias may hide."""
    return (0, 0) if scoring.biases else scoring.mask.surely_seen(scoring.grid)


def _at(rows: Float[Tensor, "group row key"], column: int | None) -> Float[Tensor, "group row"]:
    return rows.amax(dim=-1) if column is None else rows[..., column]
