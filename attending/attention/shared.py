"""Attention in which several heads share one row of scores: the softmax of a representative, the values of every head.

A few rows at a time, so that the square is never held; in training each block is computed again in the backward pass. No
member of the family, but what clustered heads run on.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from attending.attention.blocked import BUFFER_BYTES
from attending.attention.core import note
from attending.attention.eager import masked_scores
from attending.attention.scoring import ScoreBias, Scoring
from attending.attention.steps import Weighed

_FEWEST_ROWS = 32


def shared_output(
    q: Float[Tensor, "batch row_of_scores query dim"],
    k: Float[Tensor, "batch scored_head key dim"],
    v: Float[Tensor, "batch kv_head key value"],
    of_head: Int[Tensor, "*batch head"],
    scoring: Scoring,
) -> Float[Tensor, "batch head query value"]:
    """Output of every head: head h takes the weights of score row `of_head[..., h]` and its own values.

    Score rows fold over scored heads, and heads over KV heads, as queries do over KV heads in `attend`.
    """
    note("shared", others="they compute the scores of every head")
    rows = _rows_at_once(q, k, of_head.shape[-1])
    if rows >= q.shape[2]:
        return _block(q, k, v, of_head, scoring)
    parts = []
    for start, block in zip(range(0, q.shape[2], rows), q.split(rows, dim=2), strict=True):
        of_rows = scoring.rows(start, start + block.shape[2])
        first, last = of_rows.mask.span(of_rows.grid)
        given = (block, k[:, :, first:last], v[:, :, first:last], of_head, of_rows.columns(first, last))
        parts.append(checkpoint(_block, *given, use_reentrant=False) if torch.is_grad_enabled() else _block(*given))
    return torch.cat(parts, dim=2)


def shared_weights(
    q: Tensor, k: Tensor, of_head: Int[Tensor, "*batch head"], scoring: Scoring
) -> Float[Tensor, "batch head query key"]:
    """The weights of every head, shared ones repeated."""
    scores, alive = masked_scores(q, k, scoring)
    weights = by_head(scores.view(*q.shape[:3], k.shape[2]).softmax(dim=-1), of_head)
    return weights if alive is None else torch.where(_alive_by_head(alive, of_head), weights, 0.0)


def by_head(rows: Float[Tensor, "batch row ..."], of_head: Int[Tensor, "*batch head"]) -> Float[Tensor, "batch head ..."]:
    """Entry `of_head[..., h]` of the second axis for each h; the table may differ by sample."""
    if of_head.dim() == 1 or of_head.shape[0] == rows.shape[0] == 1:
        return rows.index_select(1, of_head.flatten())
    index = of_head.view(*of_head.shape, *[1] * (rows.dim() - 2))
    return rows.expand(of_head.shape[0], *rows.shape[1:]).gather(1, index.expand(-1, -1, *rows.shape[2:]))


def by_clusters(found: Weighed, of_head: Int[Tensor, "*batch head"]) -> Weighed:
    """The weights of every head, from those of the clusters."""
    return Weighed(by_head(found.weights, of_head), by_head(found.alive, of_head))


def biases_by_head(biases: tuple[ScoreBias, ...], of_head: Int[Tensor, "*batch head"]) -> tuple[ScoreBias, ...]:
    """The biases of the heads named."""

    def one(bias: ScoreBias) -> ScoreBias:
        if isinstance(bias, Tensor):
            return bias if bias.shape[1] == 1 else by_head(bias, of_head)
        return lambda grid: by_head(made, of_head) if (made := bias(grid)).shape[1] > 1 else made

    return tuple(one(bias) for bias in biases)


def mixed_by_head(
    weights: Float[Tensor, "batch head query key"], v: Float[Tensor, "batch kv_head key value"]
) -> Float[Tensor, "batch head query value"]:
    """The weighted mean of the values of every head, heads folded over the KV head that they read."""
    (batch, n_heads, n_query, n_key), (n_kv_heads, width) = weights.shape, (v.shape[1], v.shape[3])
    folded = weights.reshape(batch * n_kv_heads, n_heads // n_kv_heads * n_query, n_key)
    return torch.bmm(folded, v.reshape(batch * n_kv_heads, n_key, width)).view(batch, n_heads, n_query, width)


def dropped(weights: Tensor, share: float) -> Tensor:
    """The weights with a share of them dropped; 0 leaves them alone."""
    return torch.nn.functional.dropout(weights, share) if share > 0.0 else weights


def _block(q: Tensor, k: Tensor, v: Tensor, of_head: Tensor, scoring: Scoring) -> Tensor:
    scores, alive = masked_scores(q, k, scoring)
    weights = dropped(scores.softmax(dim=-1), scoring.dropout)
    output = mixed_by_head(by_head(weights.view(*q.shape[:3], v.shape[2]), of_head), v)
    return output if alive is None else torch.where(_alive_by_head(alive, of_head), output, 0.0)


def _alive_by_head(alive: Tensor, of_head: Tensor) -> Tensor:
    return alive if alive.shape[1] == 1 else by_head(alive, of_head)


def _rows_at_once(q: Tensor, k: Tensor, n_heads: int) -> int:
    row_bytes = max(q.shape[0] * n_heads * k.shape[2] * q.element_size(), 1)
    return max(BUFFER_BYTES // row_bytes, _FEWEST_ROWS)
