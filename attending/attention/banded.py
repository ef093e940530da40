"""Windows through PyTorch's fused kernel on a CPU: runs of queries as one batch, each over the keys that the run can reach.

The keys of the runs overlap and are one strided view of the keys as they lie. Rows whose window hangs over an end of the
sequence are cut off and go by themselves, over the keys that there are. What is held grows with the length, and the square
never stands. For float32 and float64 without gradients: in 16 bits the blocked core is faster, and the gradient of an
overlapping view is slow.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from attending.attention.rules import Causal, Mask, Window

ROWS = 32
"""Queries of a run. Fewer read fewer keys in vain; this many are one block of the kernel."""
_ROWS_AT_AN_END = 2 * ROWS
"""Queries that go together where the window hangs over: each such block is a call of its own."""
_fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
"""What `scaled_dot_product_attention` calls on a CPU, which drops the log-sum-exp that this one returns beside the output."""


def reach_of(mask: Mask) -> tuple[int, int] | None:
    """(before, after): how many tokens each query sees on either side, where windows and causality are the only rules.

    None: something else decides, or a side is open.
    """
    befores, afters = [], []
    for rule in mask.rules:
        if isinstance(rule, Causal):
            afters.append(0)
        elif isinstance(rule, Window):
            befores += [] if rule.before is None else [rule.before]
            afters += [] if rule.after is None else [rule.after]
        else:
            return None
    return (min(befores), min(afters)) if befores and afters else None


def banded_attend(
    q: Float[Tensor, "batch head seq dim"],
    k: Float[Tensor, "batch kv_head seq dim"],
    v: Float[Tensor, "batch kv_head seq value"],
    *,
    reach: tuple[int, int],
    scale: float,
) -> tuple[Float[Tensor, "batch head seq value"], Float[Tensor, "batch head seq"]]:
    """The weighted mean of the values and the log-sum-exp of the scores; query i sees keys i − before to i + after."""
    (batch, n_heads, n, dim), (before, after) = q.shape, reach
    width = max(dim, v.shape[3])  # the kernel takes one width
    queries, keys, values = _widened(q, width), _compact(_widened(k, width)), _compact(_widened(v, width))
    # The heads of a token side by side, as the kernel gives them and projections read them: what it gives is one piece.
    output, lse = queries.new_empty(batch, n, n_heads, width), queries.new_empty(batch, n, n_heads)
    first, last = _with_whole_windows(n, reach)
    for rows in (*_blocks(0, first), *_blocks(last, n)):
        near = slice(max(rows.start - before, 0), min(rows.stop + after, n))
        added = _added(rows.stop - rows.start, near.stop - near.start, rows.start - near.start, reach, q.dtype)
        answered = _fused(
            queries[:, :, rows],
            keys[:, :, near],
            values[:, :, near],
            attn_mask=added.expand(batch, -1, -1, -1),
            scale=scale,
        )
        output[:, rows], lse[:, rows] = (each.transpose(1, 2) for each in answered)
    n_runs = (last - first) // ROWS
    added = _added(ROWS, before + ROWS + after, before, reach, q.dtype).expand(n_runs, -1, -1, -1)
    for sample in range(batch if n_runs else 0):
        # [head, run × row, dim] → [run, head, row, dim]
        asked = queries[sample, :, first:last].unflatten(1, (n_runs, ROWS)).transpose(0, 1)
        near_keys, near_values = (
            _runs(each[sample, :, first - before :], n_runs, before + ROWS + after) for each in (keys, values)
        )
        answered = _fused(asked, near_keys, near_values, attn_mask=added, scale=scale)
        for whole, part in zip((output, lse), answered, strict=True):
            whole[sample, first:last].unflatten(0, (n_runs, ROWS)).copy_(part.transpose(1, 2))
    return output[..., : v.shape[3]].transpose(1, 2), lse.transpose(1, 2)


def _widened(heads: Tensor, width: int) -> Tensor:
    """Heads of this width, the numbers of each in one piece, which the kernel takes for granted."""
    if heads.shape[3] == width:
        return heads if heads.stride(3) == 1 else heads.contiguous()
    return torch.nn.functional.pad(heads, (0, width - heads.shape[3]))


def _compact(heads: Tensor) -> Tensor:
    """The keys of a head side by side: each is read by many runs."""
    return heads if heads.stride()[2:] == (heads.shape[3], 1) else heads.contiguous()


def _with_whole_windows(n: int, reach: tuple[int, int]) -> tuple[int, int]:
    """From where up to where rows go in runs whose windows lie within the sequence."""
    before, after = reach
    first = min(-(-before // ROWS) * ROWS, n)
    return first, first + max((n - after - first) // ROWS, 0) * ROWS


def _blocks(start: int, stop: int) -> Iterator[slice]:
    for row in range(start, stop, _ROWS_AT_AN_END):
        yield slice(row, min(row + _ROWS_AT_AN_END, stop))


def _runs(heads: Float[Tensor, "head key dim"], n_runs: int, width: int) -> Float[Tensor, "run head width dim"]:
    """The keys of each run, as a view; the first run begins at the first key."""
    of_head, of_key, one = heads.stride()
    shape = (n_runs, heads.shape[0], width, heads.shape[2])
    return heads.as_strided(shape, (ROWS * of_key, of_head, of_key, one), heads.storage_offset())


def _added(n_rows: int, n_keys: int, start: int, reach: tuple[int, int], dtype: torch.dtype) -> Float[Tensor, "1 1 row key"]:
    """What is added to the scores of rows of which the first stands at key `start`: 0 within the window, −inf outside."""
    before, after = reach
    distance = torch.arange(start, start + n_rows)[:, None] - torch.arange(n_keys)
    hidden = (distance > before) | (distance < -after)
    return torch.zeros(1, 1, n_rows, n_keys, dtype=dtype).masked_fill_(hidden, -torch.inf)
