"""Windows through PyTorch's fused kernel on a CPU: runs of queries as one batch, each over the keys that the run can reach.

The keys of the runs overlap and are one strided view, so that nothing is copied but the padding at both ends; what is held
grows with the length, and the square never stands. For float32 and float64 without gradients: in 16 bits the blocked core is
faster, and the gradient of an overlapping view is slow.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from attending.attention.rules import Causal, Mask, Window

ROWS = 32
"""Queries of a run. Fewer read fewer keys in vain; this many are one block of the kernel."""
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
    n, (before, after) = q.shape[2], reach
    missing, width = -n % ROWS, max(q.shape[3], v.shape[3])  # the kernel takes one width
    queries = _padded(q, width, 0, missing).unflatten(2, (-1, ROWS))
    keys, values = (_padded(each, width, before, after + missing) for each in (k, v))
    output, lse = torch.empty_like(queries), queries.new_empty(queries.shape[:4])
    for runs, added in _parts(n, reach, q.dtype):
        for sample in range(q.shape[0]):
            of_runs = [_runs(each[sample], runs, before + ROWS + after) for each in (keys, values)]
            answered = _fused(queries[sample, :, runs].transpose(0, 1), *of_runs, attn_mask=added, scale=scale)
            output[sample, :, runs], lse[sample, :, runs] = (each.transpose(0, 1) for each in answered)
    return output.flatten(2, 3)[:, :, :n, : v.shape[3]], lse.flatten(2, 3)[:, :, :n]


def _padded(heads: Tensor, width: int, before: int, after: int) -> Tensor:
    added = (0, width - heads.shape[3], before, after)
    return torch.nn.functional.pad(heads, added) if any(added) else heads  # padding by nothing would copy


def _runs(padded: Float[Tensor, "head padded dim"], runs: slice, width: int) -> Float[Tensor, "run head width dim"]:
    """The keys of each run, as a view."""
    (of_head, of_key, one), start = padded.stride(), padded.storage_offset()
    shape = (runs.stop - runs.start, padded.shape[0], width, padded.shape[2])
    return padded.as_strided(shape, (ROWS * of_key, of_head, of_key, one), start + runs.start * ROWS * of_key)


def _parts(n: int, reach: tuple[int, int], dtype: torch.dtype) -> Iterator[tuple[slice, Float[Tensor, "run 1 row width"]]]:
    """Runs with what is added to their scores: those at the ends, whose windows hang over, and those between, all alike."""
    before, after = reach
    n_runs = -(-n // ROWS)
    left = min(-(-before // ROWS), n_runs)
    right = max((n - after) // ROWS, left)
    row, column = torch.arange(ROWS)[:, None], torch.arange(before + ROWS + after)
    inside = (column >= row) & (column <= row + before + after)
    for start, stop in ((0, left), (left, right), (right, n_runs)):
        if start >= stop:
            continue
        hangs_over = (start, stop) != (left, right)
        place = torch.arange(start, stop if hangs_over else start + 1)[:, None, None] * ROWS + column - before
        seen = inside & (place >= 0) & (place < n)
        added = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf)
        yield slice(start, stop), added[:, None].expand(stop - start, -1, -1, -1)
