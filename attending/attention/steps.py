"""The steps of attention by name, from the projections to the result: what `Mechanism.steps` gives and members share.

Written from the formula, with the square of the scores held and no core chosen: it is for looking, not for speed, and `forward`
never runs it. Weights are never dropped here, whatever mode the layer is in. How steps are printed is `tracing.py`'s business.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attending.attention.scoring import Scoring


@dataclass(frozen=True, kw_only=True)
class Step:
    """One tensor on the way: its name, what each axis counts, and the formula or the words that say where it comes from."""

    name: str
    values: Tensor
    axes: tuple[str, ...]
    told: str


def step(name: str, values: Tensor, axes: str, told: str) -> Step:
    """A step; `axes` as in "batch head query key"."""
    named = tuple(axes.split())
    assert len(named) == values.dim(), f"{name}: {values.dim()} axes are named {axes}"
    return Step(name=name, values=values, axes=named, told=told)


class Weighed(NamedTuple):
    """Weights, and which queries of each head see anything."""

    weights: Float[Tensor, "batch row query key"]
    alive: Bool[Tensor, "batch row query"]


def weighed(
    q: Float[Tensor, "batch row query dim"],
    k: Float[Tensor, "batch kv_head key dim"],
    scoring: Scoring,
    *,
    sink: Float[Tensor, " row"] | None = None,
    of: str = "",
    row: str = "head",
    key: str = "key",
    weights: str = "weights",
) -> Generator[Step, None, Weighed]:
    """Steps from queries and keys to weights, and the weights.

    `of` stands before the names ("global scores"); `row` and `key` name the axes; `weights` is what the last step is called.
    """
    axes, named = f"batch {row} query {key}", f"{of} " if of else ""
    scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], dim=1).mT * scoring.scale
    yield step(f"{named}scores", scores, axes, f"QKᵀ × {scoring.scale:.4g}")
    if scoring.softcap is not None:
        scores = scoring.softcap * (scores / scoring.softcap).tanh()
        yield step(f"{named}capped scores", scores, axes, f"{scoring.softcap:g} tanh(scores / {scoring.softcap:g})")
    if scoring.biases:
        for bias in scoring.biases:
            scores = scores + (bias if isinstance(bias, Tensor) else bias(scoring.grid)).to(scores.dtype)
        yield step(f"{named}biased scores", scores, axes, "scores + biases (positions, bias=)")
    seen = scoring.mask.seen(scoring.grid)
    scores = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
    yield step(f"masked {named}scores", scores, axes, "−∞ where the mask hides")
    alive = (scores > -torch.inf).any(dim=-1)
    shown = scores.masked_fill(~alive[..., None], 0.0)
    if sink is None:
        found = shown.softmax(dim=-1)
    else:
        logit = sink.to(scores.dtype)[None, :, None, None].expand(*shown.shape[:3], 1)
        found = torch.cat([shown, logit], dim=-1).softmax(dim=-1)[..., :-1]
    found = torch.where(alive[..., None], found, 0.0)
    yield step(weights, found, axes, f"softmax over {key}s; 0 if none is seen")
    if sink is not None:
        yield step("sink weights", 1.0 - found.sum(dim=-1), f"batch {row} query", "what the learned sink takes")
    return Weighed(found, alive)


def mixed(
    weights: Float[Tensor, "batch head query key"], v: Float[Tensor, "batch kv_head key value"], *, of: str = ""
) -> Generator[Step, None, Tensor]:
    """The step to the output of each head, and that output; `of` stands before its name."""
    heads = weights @ v.repeat_interleave(weights.shape[1] // v.shape[1], dim=1)
    yield step(f"{of} heads" if of else "heads", heads, "batch head query value", "weights × V, head by head")
    return heads


def finished(
    heads: Float[Tensor, "batch head query value"], alive: Bool[Tensor, "batch row query"], output: nn.Linear
) -> Generator[Step, None, None]:
    """The last steps: heads side by side, and the result."""
    side_by_side = heads.transpose(1, 2).flatten(2)
    yield step("joined heads", side_by_side, "batch query heads×value", "heads side by side")
    result = output(side_by_side)
    if output.bias is not None:
        result = torch.where(alive.any(dim=1)[..., None], result, 0.0)
    yield step("result", result, "batch query dim", "joined heads × W_O")
