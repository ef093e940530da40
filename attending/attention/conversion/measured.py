"""How far a converted layer lies from the one it was made from, on inputs that neither was fitted to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention.conversion.conversion import Converted, Seen
from attending.attention.mechanism import Mechanism


@dataclass(frozen=True, kw_only=True)
class OutputError:
    """Root of Σ‖new − old‖² / Σ‖old‖² over tokens: of the layer's output, and of what each head of the old layer adds to it.

    A head's addition is taken apart from its mean over tokens, because a constant may move from a head into the output bias. A
    head that adds nothing but a constant has None.
    """

    output: float
    by_head: tuple[float | None, ...]


@torch.no_grad()
def output_error(old: Mechanism, converted: Converted, seen: Sequence[Seen]) -> OutputError:
    """The errors over these inputs; queries that are padding do not count."""
    n_heads = old.config.n_heads
    order = torch.tensor(converted.heads).argsort()
    wrong = total = 0.0
    off, whole = torch.zeros(n_heads, dtype=torch.float64), torch.zeros(n_heads, dtype=torch.float64)
    for one in seen:
        (before, heads_before), (after, heads_after) = (_watched(layer, one) for layer in (old, converted.layer))
        wrong += float(((after - before)[one.rows] ** 2).sum())
        total += float((before[one.rows] ** 2).sum())
        for head in range(n_heads):
            was = _about_mean(_addition(old, heads_before, head, n_heads)[one.rows])
            now = _about_mean(_addition(converted.layer, heads_after, int(order[head]), n_heads)[one.rows])
            off[head] += ((now - was) ** 2).sum().cpu()
            whole[head] += (was**2).sum().cpu()
    by_head = tuple(float((o / w).sqrt()) if w > 0.0 else None for o, w in zip(off, whole, strict=True))
    return OutputError(output=(wrong / total) ** 0.5 if total > 0.0 else 0.0, by_head=by_head)


def output_projection(layer: Mechanism) -> nn.Linear:
    """The map from heads to tokens."""
    found = layer.get_submodule("projections.output" if hasattr(layer, "projections") else "output")
    assert isinstance(found, nn.Linear)
    return found


@contextmanager
def heads_kept(layer: Mechanism) -> Iterator[list[Float[Tensor, "batch query heads_width"]]]:
    """Fills the list that it gives with the heads' outputs, side by side, of every call inside."""
    kept: list[Tensor] = []
    hook = output_projection(layer).register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    try:
        yield kept
    finally:
        hook.remove()


def _watched(layer: Mechanism, one: Seen) -> tuple[Tensor, Tensor]:
    """Output and heads in float64."""
    with heads_kept(layer) as kept:
        output = one.answered_by(layer)
    return output.double(), kept[-1].double()


def _addition(layer: Mechanism, heads: Tensor, head: int, n_heads: int) -> Float[Tensor, "batch query dim"]:
    weight = output_projection(layer).weight.double()
    width = weight.shape[1] // n_heads
    own = slice(head * width, (head + 1) * width)
    return heads[..., own] @ weight[:, own].T


def _about_mean(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    return rows - rows.mean(dim=0) if len(rows) else rows
