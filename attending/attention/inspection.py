"""Looking at attention: exact weights of chosen rows, without the square matrix, the same whichever core ran."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attending.attention.eager import masked_scores
from attending.attention.errors import AttentionError
from attending.attention.grid import aligned
from attending.attention.scoring import Scoring


def weights_by(
    q: Float[Tensor, "batch head query dim"],
    k: Float[Tensor, "batch kv_head key dim"],
    scoring: Scoring,
    *,
    sink: Float[Tensor, " head"] | None = None,
    rows: Sequence[int] | None = None,
) -> Float[Tensor, "batch head row key"]:
    """Weights of the chosen queries (None: all), in the order given. With a sink, rows sum to 1 less what the sink takes."""
    if rows is not None:
        chosen = check_rows(rows, q.shape[2], q.device)
        q, scoring = q[:, :, chosen], scoring.pick_rows(chosen)
    scores, alive = masked_scores(q, k, scoring)
    scores = scores.view(*q.shape[:3], k.shape[2])
    if sink is None:
        weights = scores.softmax(dim=-1)
    else:
        logit = sink.to(scores.dtype)[None, :, None, None].expand(*scores.shape[:3], 1)
        weights = torch.cat([scores, logit], dim=-1).softmax(dim=-1)[..., :-1]
    return weights if alive is None else torch.where(alive, weights, 0.0)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What there is to know of the weights, row by row, without their square."""

    entropy: Float[Tensor, "batch head query"]
    """−Σ w ln w over the keys, in nats; 0 where nothing is seen."""
    top_weights: Float[Tensor, "batch head query top"]
    top_keys: Int[Tensor, "batch head query top"]
    head_distance: Float[Tensor, "batch head head"]
    """Mean over rows of the Jensen–Shannon distance between two heads' weights, in [0, 1] (square root, base 2)."""
    mean_reach: Float[Tensor, "batch head query"]
    """Mean distance in tokens between the query and what it looks at."""


def summarise(
    weights_of: Callable[[range], Float[Tensor, "batch head row key"]], *, n_query: int, rows_at_once: int, top: int
) -> Summary:
    """Entropy, largest weights, reach and the distance between heads, from one pass over the rows a few at a time.

    `weights_of` gives the weights of some rows; their places are their indices, aligned to the end of the keys.
    """
    entropy, weight, key, reach, distance = [], [], [], [], []
    for start in range(0, n_query, rows_at_once):
        rows = range(start, min(start + rows_at_once, n_query))
        weights = weights_of(rows)
        n_key = weights.shape[3]
        entropy.append(_entropy(weights))
        largest = weights.topk(min(top, n_key), dim=-1)
        weight.append(largest.values)
        key.append(largest.indices)
        far = aligned(n_query, n_key, weights.device).rows(rows.start, rows.stop).distance().abs()
        reach.append((weights * far[:, None]).sum(dim=-1))
        distance.append(_head_distance(weights))
    return Summary(
        entropy=torch.cat(entropy, dim=2),
        top_weights=torch.cat(weight, dim=2),
        top_keys=torch.cat(key, dim=2),
        head_distance=torch.stack(distance).sum(dim=0) / n_query,
        mean_reach=torch.cat(reach, dim=2),
    )


def _entropy(weights: Tensor) -> Tensor:
    return torch.special.entr(weights).sum(dim=-1)


def _head_distance(weights: Float[Tensor, "batch head row key"]) -> Float[Tensor, "batch head head"]:
    """Jensen–Shannon distance of each pair of heads, summed over rows."""
    own = _entropy(weights)
    columns = []
    for head in range(weights.shape[1]):
        other = weights[:, head : head + 1]
        divergence = _entropy((weights + other) / 2) - (own + own[:, head : head + 1]) / 2
        columns.append((divergence.clamp(min=0.0) / math.log(2)).sqrt().sum(dim=-1))
    return torch.stack(columns, dim=-1)


def check_rows(rows: Sequence[int], n_query: int, device: torch.device) -> Int[Tensor, " row"]:
    """Row indices as a tensor, negative ones counted from the end; raises where a row does not exist."""
    if any(not -n_query <= row < n_query for row in rows):
        raise AttentionError(f"rows: found {list(rows)}, expected indices of the {n_query} queries")
    return torch.as_tensor(rows, dtype=torch.long, device=device) % n_query
