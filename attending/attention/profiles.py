"""What each head of a trace does, in a few numbers: how widely and how far it looks, what it parks, and which heads are alike.

Descriptions of weights and nothing more: that a weight is large does not say that it mattered for the answer.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attending.attention.clusters import HeadClusters, find_clusters
from attending.attention.inspection import Summary, summarise
from attending.attention.tracing import Trace


@dataclass(frozen=True, kw_only=True)
class HeadProfile:
    """Means over the queries of one sample that are there and have a choice: they see two keys or more. NaN where none has.

    Where a mechanism's weights may be negative (low rank), what is said of shares is said of its weights over slots.
    """

    entropy: Float[Tensor, " head"]
    """−Σ w ln w, in nats; exp of it is how many keys a query looks at, in effect."""
    most_entropy: float
    """What even weights over everything that is seen would have: the mean of ln (number of keys seen)."""
    reach: Float[Tensor, " head"] | None
    """Mean distance in tokens between a query and what it looks at; None over a context, whose tokens stand elsewhere."""
    sink_mass: Float[Tensor, " head"] | None
    """Share of weight on the first key that is there, and on a learned sink: where heads that look for nothing put their weight
    (Xiao et al. 2024, arXiv 2309.17453, section 3.1). None over a context, or where weights may be negative."""
    distance: Float[Tensor, "head head"]
    """Mean Jensen–Shannon distance of the weights of two heads, in [0, 1]."""
    clusters: HeadClusters
    """Heads that look alike in this one sample (cosine of their maps; `find_clusters`)."""
    is_over_slots: bool
    """Whether entropy, distance and clusters are those of weights over slots."""

    @property
    def diversity(self) -> float:
        """Mean distance between two different heads, in [0, 1]; NaN for one head."""
        n = len(self.distance)
        return float(self.distance.sum() / (n * (n - 1))) if n > 1 else float("nan")


def profile(trace: Trace, *, sample: int = 0) -> HeadProfile:
    """The profile of every head, for one sample of the batch."""
    weights = trace.weights[sample].double()
    is_signed = bool((weights < 0.0).any())
    shares = _shares(trace)[sample].double() if is_signed else weights
    seen = (shares > 0.0).any(dim=0).sum(dim=-1)
    chosen = seen >= 2
    if trace.is_self:
        chosen &= trace.exists(sample)
    is_placed = trace.is_self and not is_signed
    if not bool(chosen.any()):
        return _unknown(shares, is_placed=is_placed, is_signed=is_signed)
    whole, choosing = _summary(shares), _summary(shares[:, chosen])
    return HeadProfile(
        entropy=choosing.entropy[0].mean(dim=-1),
        most_entropy=float(seen[chosen].double().log().mean()),
        reach=whole.mean_reach[0][:, chosen].mean(dim=-1) if is_placed else None,
        sink_mass=_sink_mass(trace, weights, sample=sample)[:, chosen].mean(dim=-1) if is_placed else None,
        distance=choosing.head_distance[0],
        clusters=find_clusters([shares[None, :, chosen]]),
        is_over_slots=is_signed,
    )


def _unknown(shares: Tensor, *, is_placed: bool, is_signed: bool) -> HeadProfile:
    n_heads = len(shares)
    unknown = shares.new_full((n_heads,), torch.nan)
    return HeadProfile(
        entropy=unknown,
        most_entropy=float("nan"),
        reach=unknown if is_placed else None,
        sink_mass=unknown if is_placed else None,
        distance=shares.new_full((n_heads, n_heads), torch.nan).fill_diagonal_(0.0),
        clusters=find_clusters([shares[None]]),
        is_over_slots=is_signed,
    )


def _summary(shares: Float[Tensor, "head query key"]) -> Summary:
    n_query = shares.shape[1]
    return summarise(lambda rows: shares[None, :, rows.start : rows.stop], n_query=n_query, rows_at_once=n_query, top=1)


def _shares(trace: Trace) -> Tensor:
    """The weights that the signed ones were made from: the last step of that name before them."""
    names = list(trace)
    return trace[next(name for name in reversed(names[: names.index("weights")]) if name.endswith(" weights"))]


def _sink_mass(trace: Trace, weights: Tensor, *, sample: int) -> Float[Tensor, "head query"]:
    mass = weights[:, :, int(trace.exists(sample).int().argmax())]
    return mass + trace["sink weights"][sample].double() if "sink weights" in trace else mass
