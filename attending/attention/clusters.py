"""Which heads look alike: clusters of heads by their attention maps, and how many of them there are.

The rule of CHAI (Agarwal et al. 2024, arXiv 2403.08058): agglomerative clustering with average linkage on the cosine distance
of attention maps. Two choices are ours: a cluster is represented by its medoid, and the number is found, not read off a plot.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attending.attention.errors import AttentionError

LEAST_BEND = 0.1
"""A curve of distortion that bends by less than a tenth of its height is taken for straight."""


@dataclass(frozen=True, kw_only=True)
class HeadClusters:
    """`leaders[h]` is the head whose scores head h uses; `distortion[k − 1]` is that of k clusters, in [0, heads − 1]."""

    n_clusters: int
    leaders: tuple[int, ...]
    distortion: tuple[float, ...]


def find_clusters(maps: Iterable[Float[Tensor, "batch head query key"]], *, least_bend: float = LEAST_BEND) -> HeadClusters:
    """Clusters of the heads of one layer, in a number found from the maps themselves.

    `maps` are `weights(…)` of calibration batches; lengths may differ from batch to batch. The distortion of k clusters is the
    sum of squared distances of the unit-length maps from their cluster's mean. Heads that have nothing in common lie equally
    far from each other, and then every merge adds the same: the curve is the straight line from one cluster to all heads. The
    number is the k where the curve lies furthest below that line (the elbow); where it never lies `least_bend` of its height
    below, nothing is alike and every head stays its own cluster. Maps that are all the same make one cluster.
    """
    distance = _distance_of(maps)
    levels = [_distortion(distance, labels) for labels in reversed(_merged(distance[None], 1))]
    return _clusters(distance, _elbow(levels, least_bend), levels)


def group_heads(maps: Iterable[Float[Tensor, "batch head query key"]], n_clusters: int) -> HeadClusters:
    """Clusters of the heads of one layer, in the number given."""
    distance = _distance_of(maps)
    if not 1 <= n_clusters <= len(distance):
        raise AttentionError(f"n_clusters: found {n_clusters} for {len(distance)} heads, expected 1 to {len(distance)}")
    return _clusters(distance, n_clusters, [_distortion(distance, labels) for labels in reversed(_merged(distance[None], 1))])


@torch.no_grad()
def leaders_of(maps: Float[Tensor, "batch head query key"], n_clusters: int) -> Int[Tensor, "batch head"]:
    """For each sample and head, the head whose scores it is to use, by the maps of that sample alone.

    Always exactly `n_clusters` leaders, each its own; no value is read back, so that it can be traced.
    """
    flat = torch.nn.functional.normalize(maps.flatten(2), dim=-1)
    distance = _symmetric(1.0 - flat @ flat.mT)
    return _medoids(distance, _merged(distance, n_clusters)[-1])


def _distance_of(maps: Iterable[Tensor]) -> Float[Tensor, "head head"]:
    """Cosine distance between heads over all maps together, from sums of products: no map is kept."""
    products: Tensor | None = None
    for batch in maps:
        if batch.dim() != 4:
            raise AttentionError(f"maps: found shape {tuple(batch.shape)}, expected weights [batch, head, query, key]")
        flat = batch.detach().double().transpose(0, 1).flatten(1)
        products = flat @ flat.T if products is None else products + flat @ flat.T
    if products is None:
        raise AttentionError("maps: found none; give the weights of at least one calibration batch")
    size = products.diagonal().clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    return _symmetric(1.0 - products / (size[:, None] * size))


def _symmetric(distance: Tensor) -> Tensor:
    """Exactly symmetric with a diagonal of exactly 0, so that ties do not hang on rounding."""
    even = (distance + distance.mT) / 2
    return even - torch.diag_embed(even.diagonal(dim1=-2, dim2=-1))


def _merged(distance: Float[Tensor, "batch head head"], n_clusters: int) -> list[Int[Tensor, "batch head"]]:
    """Labels after each merge of the two nearest clusters (average linkage), from all heads down to `n_clusters`.

    A label is the lowest head of its cluster.
    """
    n_samples, n_heads, _ = distance.shape
    head, sample = torch.arange(n_heads, device=distance.device), torch.arange(n_samples, device=distance.device)
    between = distance.masked_fill(torch.eye(n_heads, dtype=torch.bool, device=distance.device), torch.inf)
    size = torch.ones_like(between[:, 0])
    labels = [head.expand(n_samples, -1)]
    for _ in range(n_heads - n_clusters):
        nearest = between.flatten(1).argmin(dim=1)
        first, second = nearest // n_heads, nearest % n_heads
        low, high = torch.minimum(first, second), torch.maximum(first, second)
        of_low, of_high = size[sample, low, None], size[sample, high, None]
        row = (of_low * between[sample, low] + of_high * between[sample, high]) / (of_low + of_high)
        is_low, is_high = head == low[:, None], head == high[:, None]
        row = row.masked_fill(is_low | is_high, torch.inf)
        between = torch.where(is_low[:, :, None], row[:, None], torch.where(is_low[:, None], row[:, :, None], between))
        between = between.masked_fill(is_high[:, :, None] | is_high[:, None], torch.inf)
        size = torch.where(is_low, of_low + of_high, size)
        labels.append(torch.where(labels[-1] == high[:, None], low[:, None], labels[-1]))
    return labels


def _medoids(distance: Float[Tensor, "batch head head"], labels: Int[Tensor, "batch head"]) -> Int[Tensor, "batch head"]:
    """The head of each cluster that is nearest to the others of it; of equals the first."""
    same = labels[:, :, None] == labels[:, None]
    total = torch.where(same, distance, 0.0).sum(dim=-1)
    return torch.where(same, total[:, None], torch.inf).argmin(dim=-1)


def _distortion(distance: Float[Tensor, "head head"], labels: Int[Tensor, "one head"]) -> float:
    """Σ over clusters of |C| − ‖Σ u‖²/|C| for unit maps u, which is Σ of the distances within over |C|."""
    same = (labels[0][:, None] == labels[0]).double()
    return float((distance * same / same.sum(dim=1, keepdim=True)).sum())


def _elbow(levels: list[float], least_bend: float) -> int:
    n_heads = len(levels)
    if n_heads == 1 or levels[0] <= 1e-9 * n_heads:
        return 1
    bends = [(n_heads - k) / (n_heads - 1) - levels[k - 1] / levels[0] for k in range(1, n_heads + 1)]
    deepest = max(bends)
    if deepest < least_bend:
        return n_heads
    # Of equal bends the larger number: it keeps more of the heads.
    return max(k for k in range(1, n_heads + 1) if bends[k - 1] >= deepest - 1e-12)


def _clusters(distance: Tensor, n_clusters: int, levels: list[float]) -> HeadClusters:
    labels = _merged(distance[None], n_clusters)[-1]
    leaders = tuple(_medoids(distance[None], labels)[0].tolist())
    return HeadClusters(n_clusters=n_clusters, leaders=leaders, distortion=tuple(levels))
