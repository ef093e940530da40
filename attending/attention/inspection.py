"""Looking at attention: exact weights of chosen rows, without the square matrix, the same whichever core ran."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from attending.attention.eager import masked_scores
from attending.attention.errors import AttentionError
from attending.attention.scoring import Scoring


def weights_by(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch kv_head key dim"],
    scoring: Scoring,
    *,
    rows: Sequence[int] | None = None,
) -> Float[Tensor, "batch head row key"]:
    """Weights of the chosen queries (None: all), in the order given."""
    if rows is not None:
        q, scoring = _picked(q, scoring, rows)
    scores, alive = masked_scores(q, k, scoring)
    weights = scores.softmax(dim=-1).view(*q.shape[:3], k.shape[2])
    return weights if alive is None else torch.where(alive, weights, 0.0)


def _picked(q: Tensor, scoring: Scoring, rows: Sequence[int]) -> tuple[Tensor, Scoring]:
    n_query = q.shape[2]
    if any(not -n_query <= row < n_query for row in rows):
        raise AttentionError(f"rows: found {list(rows)}, expected indices of the {n_query} queries")
    index = torch.as_tensor(rows, dtype=torch.long, device=q.device) % n_query
    bias = scoring.bias
    if isinstance(bias, Tensor) and bias.shape[2] > 1:
        bias = bias[:, :, index]
    return q[:, :, index], replace(scoring, grid=scoring.grid.pick_rows(index), bias=bias)
