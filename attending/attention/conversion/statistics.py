"""What a layer does with its calibration inputs, in the few moments from which an error of its output can be foretold.

To first order a score of key s that is wrong by δ moves a head's output by p·δ·(v − o): weight, score, and how far that key's
value lies from the mean. What is added to all keys' scores alike moves nothing, and what is added to all values alike moves the
output by a constant, which a bias takes up; so both are taken about their means. Float64, one layer at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from attending.attention.conversion.conversion import Seen
from attending.attention.conversion.weights import read_output
from attending.attention.grouped import GroupedAttention
from attending.attention.positions import Rotary


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStatistics:
    """Sums over queries, in units of the squared output; tokens carry a 1 behind their last number, for biases.

    A key that head h misses by E·token costs tr(query[h] E key_tokens Eᵀ) of the squared output, or with `rotary_tokens` where
    it is turned by its place, because then a constant error counts, too. A value that it misses by E·token costs
    tr(outputᵀ output E value_tokens Eᵀ) · value_share[h]. `mean_token[h]` is what head h averages, on average. `turning` is the
    mean of exp(−iθΔ) for each rotary pair over the distances Δ between queries and the keys that matter to them. `coherence` is
    how many times more errors cost that have the same sign for all keys of a query, as those of a rotation left out may have.
    """

    key_tokens: Float[Tensor, "source source"]
    rotary_tokens: Float[Tensor, "source source"]
    value_tokens: Float[Tensor, "source source"]
    value_share: Float[Tensor, " head"]
    mean_token: Float[Tensor, "head source"]
    query: Float[Tensor, "head width width"]
    turning: Complex[Tensor, " pair"]
    coherence: float
    output_energy: float


@torch.no_grad()
def gather_statistics(layer: GroupedAttention, seen: Sequence[Seen]) -> LayerStatistics:
    """The moments over all inputs; queries that are padding do not count.

    Under a soft-cap or with sinks a constant does not cancel, and nothing is taken about its mean.
    """
    config, near = layer.config, _near(layer)
    share, n_source = config.n_heads // config.kv_heads, layer.key.in_features + 1
    cancels = config.softcap is None and not config.sinks
    empty = near.new_zeros
    about, raw, averaged = (empty(n_source, n_source) for _ in range(3))
    spread, mean, query = empty(config.n_heads), empty(config.n_heads, n_source), empty(near.shape)
    frequencies = layer.position._frequencies.to(near.device) if isinstance(layer.position, Rotary) else empty(0)
    turning, mass, together, n_rows, energy = frequencies * 0j, 0.0, 0.0, 0.0, 0.0
    for one in seen:
        asking, tokens, places, scoring, _ = layer._before_heads(
            one.x, mask=one.mask, context=one.context, positions=one.positions, bias=one.bias
        )
        p = one.weights_of(layer).double()
        source = torch.nn.functional.pad(tokens.double(), (0, 1), value=1.0)
        q = layer._queries(asking, None).double()
        v = layer._heads(layer.value, tokens).double().repeat_interleave(share, dim=1)
        o = p @ v
        near_v, near_o = v @ near, o @ near
        far = (near_v * v).sum(-1)[:, :, None] - 2 * near_o @ v.mT + (near_o * o).sum(-1)[..., None]
        cost = p**2 * far.clamp(min=0.0)
        together += float((p * far.clamp(min=0.0)).sum())
        of_query = cost.sum(-1)
        query += torch.einsum("bhq,bhqe,bhqf->hef", of_query, q, q) * config.score_scale**2
        attended = p @ source[:, None]  # [batch, head, query, source]
        raw += torch.einsum("bk,bki,bkj->ij", cost.sum(dim=(1, 2)), source, source)
        missed = (cost @ source[:, None]).flatten(0, 2)
        flat = attended.flatten(0, 2)
        cross = missed.T @ flat
        about -= cross
        about -= cross.T
        about += flat.T @ (flat * of_query.flatten()[:, None])
        averaged += flat.T @ flat
        spread += (attended**2)[..., :-1].sum(dim=(0, 2, 3))
        mean += attended.sum(dim=(0, 2))
        n_rows += float(one.rows.sum())
        energy += float(((one.answered_by(layer).double() ** 2).sum(-1) * one.rows).sum())
        mass += float(cost.sum())
        if places is not None and len(frequencies):
            angle = scoring.grid.distance()[..., None] * frequencies
            turning = turning + (cost.sum(dim=1)[..., None] * torch.polar(torch.ones_like(angle), -angle)).sum(dim=(0, 1, 2))
    mean /= max(n_rows, 1.0)
    if cancels:
        averaged -= n_rows * mean.T @ mean
        about += raw
        spread = spread - n_rows * (mean[:, :-1] ** 2).sum(-1)
    spread = spread.clamp(min=0.0)
    scale = max(mass, torch.finfo(torch.float64).tiny)
    return LayerStatistics(
        key_tokens=_even(about if cancels else raw, scale),
        rotary_tokens=_even(raw, scale),
        value_tokens=_even(averaged, config.n_heads),
        value_share=spread / spread.mean() if spread.any() else torch.ones_like(spread),
        mean_token=mean,
        query=query,
        turning=turning / scale,
        coherence=together / scale if mass > 0.0 else 1.0,
        output_energy=energy,
    )


def _near(layer: GroupedAttention) -> Float[Tensor, "head width width"]:
    """What two numbers of a head's mean value have to do with each other in the output."""
    output = read_output(layer)
    return output.mT @ output


def _even(moment: Tensor, scale: float) -> Tensor:
    return (moment + moment.mT).div_(2 * scale)
