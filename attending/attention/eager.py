"""The plain core: scores, softmax and product as three matrix calls, differentiated by autograd.

Fastest where the whole score matrix is small (short sequences, decoding), and the only one that can drop weights or learn a
bias. Query heads that share a KV head are folded into rows, so K and V are read once.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attending.attention.rows import lies_in_rows, serves, weighted_sums
from attending.attention.scoring import Scoring


def eager_output(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> Float[Tensor, "batch head query value"]:
    """The weighted mean of the values."""
    scores, alive = masked_scores(q, k, scoring)
    return _mix(scores.softmax(dim=-1), q, v, alive, scoring.dropout)


def eager_attend(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """The weighted mean of the values, and the log of the sum of exponentials of the scores (−inf: nothing seen)."""
    scores, alive = masked_scores(q, k, scoring)
    output = _mix(scores.softmax(dim=-1), q, v, alive, scoring.dropout)
    # A sum of exponentials rounded to 16 bits would be off by percents where it weighs parts against each other.
    lse = scores.to(torch.promote_types(scores.dtype, torch.float32)).logsumexp(dim=-1).view(*q.shape[:3])
    return output, lse if alive is None else torch.where(alive[..., 0], lse, -torch.inf)


def masked_scores(
    q: Float[Tensor, "batch head query dim"], k: Float[Tensor, "batch kv_head key dim"], scoring: Scoring
) -> tuple[Float[Tensor, "group rows key"], Bool[Tensor, "..."] | None]:
    """Scores of the folded rows with −inf where hidden, and which rows see anything (None: all).

    One group per sample and KV head; its rows are the queries of all heads that share it, head after head.
    """
    batch, n_heads, n_query, dim = q.shape
    n_kv_heads, n_key = k.shape[1], k.shape[2]
    groups, rows = batch * n_kv_heads, n_heads // n_kv_heads * n_query
    folded = (q * scoring.scale).reshape(groups, rows, dim)
    keys = k.reshape(groups, n_key, dim)
    same = scoring.columns_of_every_row
    added, alive = (None, None) if same is not None else scoring.additive(q.dtype)
    if added is not None and scoring.softcap is None and not _is_slow_transposed(keys):
        rides = n_heads == n_kv_heads or added.shape[1] == added.shape[2] == 1
        if rides:
            # The mask rides on the product: one pass over the scores less, and none in the backward pass.
            return torch.baddbmm(_by_group(added, batch, n_kv_heads), folded, keys.mT), alive
    keys_first = _is_slow_transposed(keys) or (rows == 1 and keys.dtype == torch.float32 and serves(keys, folded))
    scores = torch.bmm(keys, folded.mT).mT if keys_first else torch.bmm(folded, keys.mT)
    if scoring.softcap is not None:
        scores = (scores / scoring.softcap).tanh() * scoring.softcap
    if added is not None:
        scores = (scores.reshape(batch, n_heads, n_query, n_key) + added).view(groups, rows, n_key)
    if same is not None:
        # A step of decoding: empty slots stand behind the last token, and a mask would be made of many small parts.
        for hidden in (slice(0, same[0]), slice(same[1], n_key)):
            if hidden.start < hidden.stop:
                scores[..., hidden] = -torch.inf
    return scores, alive


def _is_slow_transposed(keys: Tensor) -> bool:
    """Whether multiplying by the transposed keys is slow: in 16 bits on a CPU, over a part of a larger buffer (5-12 times)."""
    return not keys.is_contiguous() and keys.dtype in (torch.bfloat16, torch.float16) and keys.device.type == "cpu"


def _by_group(added: Tensor, batch: int, n_kv_heads: int) -> Tensor:
    """[batch or 1, head or 1, row, key] as [group or 1, row, key], without copying what all groups share."""
    if added.shape[0] == added.shape[1] == 1:
        return added[0]
    return added.expand(batch, n_kv_heads, -1, -1).flatten(0, 1)


def _mix(weights: Tensor, q: Tensor, v: Tensor, alive: Tensor | None, dropout: float) -> Tensor:
    batch, n_heads, n_query, _ = q.shape
    if dropout > 0.0:
        weights = torch.nn.functional.dropout(weights, dropout)
    groups, rows, n_key = weights.shape
    values = v.reshape(groups, n_key, v.shape[-1])
    reads_rows = rows == 1 and serves(values, weights) and lies_in_rows(values)
    mixed = weighted_sums(weights[:, 0], values) if reads_rows else torch.bmm(weights, values)
    output = mixed.view(batch, n_heads, n_query, v.shape[-1])
    return output if alive is None else torch.where(alive, output, 0.0)
