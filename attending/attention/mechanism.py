"""The contract: what every attention mechanism is, learns, shows and remembers.

Four verbs, and no flag that changes the kind of result: `forward` to learn, `weights` to explain, `steps` to look inside,
`new_cache` to serve. A mechanism makes its own cache, because each remembers something different.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.attention.core import Choice, recorded
from attending.attention.costs import Cost, Phase
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, aligned
from attending.attention.inspection import Summary, summarise
from attending.attention.masks import check_mask, every_key_is_seen, present, real_keys, there
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias
from attending.attention.steps import Step

_WEIGHTS_AT_ONCE = 1 << 22
"""Weights held at once by `summary`."""


@dataclass(frozen=True, kw_only=True)
class MechanismConfig(ABC):
    """What a mechanism is made from: numbers only, so that it can be compared, written down and costed without building."""

    dim: int
    n_heads: int

    @abstractmethod
    def build(self) -> "Mechanism":
        """A new mechanism with fresh weights."""

    @abstractmethod
    def cost(
        self,
        length: int,
        *,
        batch: int = 1,
        dtype: str = "float32",
        phase: Phase = "prefill",
        cache_dtype: str | None = None,
        context: int | None = None,
    ) -> Cost:
        """Parameters, FLOPs and bytes of one layer, by arithmetic. `cache_dtype` None is `dtype`.

        `context`: how many tokens of a context are looked at, instead of each other.
        """


class Cache(ABC):
    """What a mechanism remembers of the tokens it has seen. It extends itself."""

    @abstractmethod
    def extend(
        self, x: Float[Tensor, "batch new dim"], *, real: Bool[Tensor, "batch new"] | None = None
    ) -> Float[Tensor, "batch new dim"]:
        """Attention output of the new tokens, which are remembered from now on.

        Tokens that are not `real` leave no trace, and their output is 0. Any chunking gives what `forward` gives at once.
        """

    @abstractmethod
    def crop(self, lengths: int | Int[Tensor, " batch"]) -> None:
        """Forget all but the first `lengths` tokens (of each sample)."""

    @abstractmethod
    def reorder(self, samples: Int[Tensor, " batch"]) -> None:
        """Let sample i go on as a copy of sample `samples[i]`, as beam search does; the batch keeps its size."""

    @abstractmethod
    def select(self, samples: Int[Tensor, " kept"]) -> None:
        """Keep only these samples, in this order."""

    @property
    @abstractmethod
    def lengths(self) -> Int[Tensor, " batch"]:
        """How many tokens are remembered of each sample."""

    @property
    @abstractmethod
    def nbytes_used(self) -> int:
        """Bytes that hold something remembered."""

    @property
    @abstractmethod
    def nbytes_allocated(self) -> int:
        """Bytes held, in use or not."""


class Mechanism(nn.Module, ABC):
    """An attention layer, batch first. With a `context` the keys are the context's tokens (cross-attention).

    `mask` says what may be *seen* and is never guessed. A key hidden from every query has exactly no influence, whatever it
    contains; a query that sees nothing gives exactly 0. `positions` (default: real tokens counted) feed the position encoding.
    """

    config: MechanismConfig

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """What each token gathers from those it sees."""

    @abstractmethod
    def weights(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
        rows: Sequence[int] | None = None,
    ) -> Float[Tensor, "batch head row key"]:
        """How much each query (of `rows`, or all) takes from each key: rows that sum to 1, or to 0 where nothing is seen."""

    @abstractmethod
    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Iterator[Step]:
        """Every step of `forward` by name, without dropout, from the projections over "weights" to "result".

        Computed from the formula and holding the square of the scores: for looking at short sequences (`tracing.trace`).
        """

    @abstractmethod
    def new_cache(
        self,
        batch: int,
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        capacity: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> Cache:
        """An empty memory for `batch` samples. With a `context` its keys and values are projected here, once.

        `capacity` None grows without end; a number is never exceeded. `dtype` None is that of the weights.
        """

    @torch.no_grad()
    def summary(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        top: int = 5,
    ) -> Summary:
        """Entropy, `top` keys, reach and head distance of the weights, a few rows at a time."""
        n_key = x.shape[1] if context is None else context.shape[1]
        at_once = max(_WEIGHTS_AT_ONCE // max(x.shape[0] * self.config.n_heads * n_key, 1), 1)
        return summarise(
            lambda rows: self.weights(x, mask=mask, context=context, rows=rows),
            n_query=x.shape[1],
            rows_at_once=at_once,
            top=top,
        )

    @torch.no_grad()
    def explain(
        self, x: Float[Tensor, "batch query dim"], *, mask: Mask, context: Float[Tensor, "batch key context"] | None = None
    ) -> tuple[Choice, ...]:
        """Which cores `forward` takes for these tokens here and now, in order, and why not the others."""
        with recorded() as choices:
            self(x, mask=mask, context=context)
        return tuple(choices)

    def auxiliary_loss(
        self, x: Float[Tensor, "batch query dim"], *, mask: Mask, context: Float[Tensor, "batch key context"] | None = None
    ) -> Float[Tensor, ""]:
        """What the mechanism asks to be trained on beside the task; 0 for most."""
        return x.new_zeros(())


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Tokens that are safe to project: what nobody may see is 0, and the grid says where queries and keys lie."""

    x: Float[Tensor, "batch query dim"]
    source: Float[Tensor, "batch key context"]
    grid: Grid
    positions: Int[Tensor, "batch_or_one query"] | range


def prepare(
    x: Float[Tensor, "batch query dim"],
    *,
    mask: Mask,
    context: Float[Tensor, "batch key context"] | None,
    positions: Int[Tensor, "batch query"] | None,
    dims: tuple[int, int],
    counts: bool,
) -> Inputs:
    """Check what a mechanism was given and clean it before it is projected.

    `dims` are the widths expected of `x` and of the tokens that become keys. `counts`: whether the mechanism needs positions.
    """
    check_mask(mask)
    _check_tokens("x", x, dims[0])
    if context is not None:
        _check_tokens("context", context, dims[1])
        if context.shape[0] != x.shape[0]:
            raise AttentionError(f"context: found a batch of {context.shape[0]}, expected {x.shape[0]} as for x")
    source = x if context is None else context
    batch, n_query, n_key = x.shape[0], x.shape[1], source.shape[1]
    mask.check(batch=batch, n_query=n_query, n_key=n_key)
    grid = aligned(n_query, n_key, x.device)
    kept = present(mask, grid)
    if kept is not None:
        source = torch.where(kept[..., None], source, 0.0)
    # What does not exist asks nothing either; a token that exists and is seen by nobody may still look at others.
    x = source if context is None else x
    if not every_key_is_seen(mask, grid) and (seen := there(mask, grid)) is not None:
        source = torch.where(seen[..., None], source, 0.0)
    if context is None and (counts or mask.measures_distance):
        real = real_keys(mask, grid)
        if real is not None:
            count = (real.cumsum(dim=1) - 1).clamp_(min=0)
            grid = replace(grid, query_count=count, key_count=count)
    if positions is None:
        places: Tensor | range = grid.query if grid.query_count is None else grid.query_count
    else:
        if positions.shape not in ((batch, n_query), (1, n_query)):
            raise AttentionError(
                f"positions: found shape {tuple(positions.shape)}, expected {(batch, n_query)}, one for each token"
            )
        places = positions
    return Inputs(x=x, source=source, grid=grid, positions=places)


def check_heads(dim: int, n_heads: int, n_kv_heads: int) -> None:
    """Raise where heads cannot be formed."""
    if min(dim, n_heads, n_kv_heads) < 1:
        raise AttentionError(f"heads: found dim={dim}, n_heads={n_heads}, n_kv_heads={n_kv_heads}; all are 1 or more")
    if n_heads % n_kv_heads:
        divisors = [n for n in range(1, n_heads + 1) if n_heads % n == 0]
        raise AttentionError(f"n_kv_heads: found {n_kv_heads} for {n_heads} heads; it must divide them: one of {divisors}")


def _check_tokens(name: str, x: Tensor, dim: int) -> None:
    if x.dim() != 3 or x.shape[-1] != dim:
        raise AttentionError(f"{name}: found shape {tuple(x.shape)}, expected [batch, seq, {dim}]")
