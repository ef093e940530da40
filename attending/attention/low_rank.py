"""Low-rank attention over the sequence: keys and values are projected along it to a fixed number of slots.

Linformer (Wang et al. 2020, arXiv 2006.04768, section 4): softmax(Q(EK)ᵀ/√d)(FV), linear in length. Not causal, because every
slot mixes all tokens; the length is bounded by the width of E and F; padding is zeroed before it is projected. Cross-attention
projects the context. For one token after another, or rules about single keys, take another mechanism.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attending.attention.caching import ContextCache, clean_context, memory_over_context
from attending.attention.core import joined, mixed_by
from attending.attention.costs import Cost, Phase, bytes_of, meeting, slots_cost
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places, aligned
from attending.attention.heads import HeadShape, split_heads
from attending.attention.inspection import weights_by
from attending.attention.masks import present, real_keys
from attending.attention.mechanism import Cache, Mechanism, prepare
from attending.attention.projection import Projection
from attending.attention.rules import Everything, Mask
from attending.attention.scoring import ScoreBias, Scoring
from attending.attention.steps import Step, finished, step, weighed
from attending.attention.tables import KeyRule, Padding

Sharing = Literal["none", "heads", "values", "layers"]
SHARINGS = ("none", "heads", "values", "layers")


@dataclass(frozen=True, kw_only=True)
class LowRankConfig(HeadShape):
    """At most `length` keys are projected to `rank` slots.

    `sharing` as in the paper, section 4: "heads" one E and one F for all heads (headwise), "values" one projection for all
    heads and for keys and values (key-value), "layers" as "values" and the same for all layers of a `stack` (layerwise),
    "none" an E and an F for each head.
    """

    length: int
    rank: int
    sharing: Sharing = "values"
    context_dim: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.rank <= self.length:
            raise AttentionError(f"rank: found {self.rank} slots for length={self.length}, expected 1 to {self.length}")
        if self.sharing not in SHARINGS:
            raise AttentionError(f"sharing: found {self.sharing!r}, expected one of {', '.join(SHARINGS)}")

    @property
    def source_dim(self) -> int:
        """Width of the tokens that become keys."""
        return self.dim if self.context_dim is None else self.context_dim

    @property
    def n_projections(self) -> int:
        """How many matrices of rank × length a layer holds."""
        return {"none": 2 * self.n_heads, "heads": 2, "values": 1, "layers": 1}[self.sharing]

    def slot_products(self, n_key: int) -> tuple[int, int]:
        """Multiplications that make the slots of keys and values: by projecting heads along the sequence, or tokens first.

        (E x) W = E (x W): where heads share E, mixing the tokens first leaves `rank` of them to go through the linear layers.
        """
        heads, mixes = self.n_heads * self.width, 1 if self.n_projections == 1 else 2
        of_heads = 2 * n_key * self.source_dim * heads + 2 * self.rank * n_key * heads
        of_tokens = mixes * self.rank * n_key * self.source_dim + 2 * self.rank * self.source_dim * heads
        return of_heads, of_heads if self.sharing == "none" else of_tokens

    def build(self) -> "LowRankAttention":
        return LowRankAttention(self, SequenceProjection(self))

    def stack(self, n_layers: int) -> list["LowRankAttention"]:
        """Layers of one model; with sharing "layers" they hold the same projection, otherwise each its own."""
        shared = SequenceProjection(self)
        return [
            LowRankAttention(self, shared if self.sharing == "layers" else SequenceProjection(self)) for _ in range(n_layers)
        ]

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
        """As for every mechanism; a decode step is one more query over a context (of `length` tokens), projected before."""
        size, heads = bytes_of(dtype), self.n_heads * self.width
        parameters = 2 * self.dim * heads + 2 * self.source_dim * heads + self.n_projections * self.rank * self.length
        parameters += (3 * heads if self.bias else 0) + (self.dim if self.output_bias else 0)
        met = meeting(length, phase=phase, context=length if phase == "decode" and context is None else context)
        of_heads, of_tokens = self.slot_products(met.projected)
        times = (6 if phase == "train" else 2) * batch
        # Where tokens are mixed first, how much of the bias each slot holds is a product of its own.
        of_bias = 2 * self.rank * met.projected if self.bias and of_tokens < of_heads else 0
        making = min(of_heads, of_tokens) + of_bias
        flops = times * (met.rows * 2 * self.dim * heads + making + met.rows * self.rank * 2 * heads)
        slots = 2 * self.rank * heads if met.projected else 0
        if of_heads <= of_tokens:
            slots += met.projected * 2 * heads
        elif met.projected:
            slots += (1 if self.n_projections == 1 else 2) * self.rank * self.source_dim
        return Cost(
            phase=phase,
            dtype=dtype,
            parameters=parameters,
            parameter_bytes=parameters * size,
            flops=flops,
            causal_flops=flops,
            activation_bytes=batch * (met.rows * 2 * (self.dim + heads) + slots + met.beside * self.source_dim) * size,
            cache=slots_cost(
                dict.fromkeys(("key", "value"), (self.n_heads, self.width)),
                per_token=0,
                used=self.rank,
                allocated=self.rank,
                batch=batch,
                dtype=cache_dtype or dtype,
            ),
        )


class SequenceProjection(nn.Module):
    """E and F: from places in the sequence to slots.

    Entries start with a variance of 1/length, so that a slot varies as a key does. `key` and `value` are
    [head or 1, rank, length]; `value` is None where one projection serves both.
    """

    def __init__(self, config: LowRankConfig) -> None:
        super().__init__()
        heads = config.n_heads if config.sharing == "none" else 1
        shape, spread = (heads, config.rank, config.length), config.length**-0.5
        self.key = nn.Parameter(torch.empty(shape).normal_(std=spread))
        self.value: nn.Parameter | None = None
        if config.sharing in ("none", "heads"):
            self.value = nn.Parameter(torch.empty(shape).normal_(std=spread))

    def of_keys(self, n_key: int) -> Float[Tensor, "head_or_one slot key"]:
        """E over the first `n_key` places: as if zeros stood behind them."""
        return self.key[:, :, :n_key]

    def of_values(self, n_key: int) -> Float[Tensor, "head_or_one slot key"]:
        """F, which may be E."""
        return (self.key if self.value is None else self.value)[:, :, :n_key]


class LowRankAttention(Mechanism):
    """See `LowRankConfig`. Rules may hide keys from all queries (padding, keep_keys); others mean nothing and are refused."""

    config: LowRankConfig

    def __init__(self, config: LowRankConfig, projection: SequenceProjection) -> None:
        super().__init__()
        self.config, self.projection = config, projection
        heads = config.n_heads * config.width
        self.query = Projection(config.dim, heads, bias=config.bias)
        self.key = Projection(config.source_dim, heads, bias=config.bias)
        self.value = Projection(config.source_dim, heads, bias=config.bias)
        self.output = Projection(heads, config.dim, bias=config.output_bias)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        q, source, order = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        k, v = self._slots(source, order)
        scoring = self._scoring(x.shape[1], order, x.device)
        return joined(mixed_by(q, k, v, scoring), self.output, scoring)

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
        """softmax(Q(EK)ᵀ/√d)·F: what each query takes from each token, exactly, as the output is this times V.

        F is learned and of any sign, so that rows need not sum to 1, and a weight may be negative.
        """
        q, source, order = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        k, _ = self._slots(source, order)
        over_slots = weights_by(q, k, replace(self._scoring(x.shape[1], order, x.device), dropout=0.0), rows=rows)
        return self._over_keys(over_slots, order, source.shape[1])

    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Iterator[Step]:
        """As in the contract. Keys and values stand in the order they are projected in: real tokens first."""
        q, source, order = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        n_key = source.shape[1]
        yield step("queries", q, "batch head query dim", "projected, split into heads")
        k, v = self._heads(self.key, source), self._heads(self.value, source)
        if order.kept is not None:
            kept = order.kept[:, None, :, None]
            k, v = torch.where(kept, k, 0.0), torch.where(kept, v, 0.0)
        yield step("keys", k, "batch head key dim", "projected; real ones first, else 0")
        yield step("values", v, "batch head key value", "projected; real ones first, else 0")
        of_keys, of_values = self.projection.of_keys(n_key), self.projection.of_values(n_key)
        yield step("E", of_keys, "head_or_one slot key", "learned: places of keys to slots")
        yield step("F", of_values, "head_or_one slot key", "learned: places of values to slots")
        yield step("slot keys", of_keys @ k, "batch head slot dim", "E × keys, along the sequence")
        yield step("slot values", of_values @ v, "batch head slot value", "F × values, along the sequence")
        scoring = self._scoring(x.shape[1], order, x.device)
        found = yield from weighed(q, of_keys @ k, scoring, key="slot", weights="slot weights")
        over_keys = self._over_keys(found.weights, order, n_key)
        yield step("weights", over_keys, "batch head query key", "slot weights × F, of any sign")
        heads = found.weights @ (of_values @ v)
        yield step("heads", heads, "batch head query value", "slot weights × slot values")
        yield from finished(heads, found.alive, self.output)

    def _over_keys(
        self, over_slots: Float[Tensor, "batch head row slot"], order: "_Order", n_key: int
    ) -> Float[Tensor, "batch head row key"]:
        """Weights over slots as weights over the tokens that were mixed into them."""
        over_keys = over_slots @ self.projection.of_values(n_key)
        if order.kept is not None:
            over_keys = torch.where(order.kept[:, None, None], over_keys, 0.0)
        if order.index is None:
            return over_keys
        # The keys were packed for the projection: weight j belongs to the token that stood at index[j].
        index = order.index[:, None, None].expand_as(over_keys)
        return torch.zeros_like(over_keys).scatter(-1, index, over_keys)

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
        """A memory of a context, projected once to `rank` slots. Without a context there is none."""
        if context is None:
            raise AttentionError(
                "cache: found no context, and low rank cannot go token by token, as each new token would change every slot; "
                "write forward(x, mask=…), give context=…, or take a causal mechanism (grouped, latent, windowed)"
            )
        self._check(mask, context.shape[1])
        with torch.no_grad():
            order = _order(mask, context.shape[1], context.device)
            keys, values = self._slots(_packed(clean_context(context, mask, batch), order), order)
            memory = memory_over_context({"key": keys, "value": values}, weight=self.key.weight, dtype=dtype, capacity=capacity)
        over_slots = self._slot_mask(order)
        return ContextCache(memory, over_slots, dim=self.config.dim, project=self._project_queries, answer=self._answer)

    def _lowered(
        self, x: Tensor, *, mask: Mask, context: Tensor | None, positions: Tensor | None, bias: ScoreBias | None
    ) -> tuple[Tensor, Tensor, "_Order"]:
        """Queries by head, clean source tokens with the real ones first, and how these were ordered."""
        if bias is not None:
            raise AttentionError("low rank: found a bias over single keys, and it scores slots that mix them; write bias=None")
        dims = (self.config.dim, self.config.source_dim)
        inputs = prepare(x, mask=mask, context=context, positions=positions, dims=dims, counts=False)
        n_key = inputs.source.shape[1]
        self._check(mask, n_key)
        order = _order(mask, n_key, x.device)
        return self._heads(self.query, inputs.x), _packed(inputs.source, order), order

    def _check(self, mask: Mask, n_key: int) -> None:
        for rule in mask.rules:
            if not isinstance(rule, KeyRule):
                raise AttentionError(
                    f"low rank: found the rule {type(rule).__name__.lower()}, which tells queries apart, and each slot mixes "
                    "all keys; write everything(), padding(…) or keep_keys(…), or take grouped or windowed for this rule"
                )
        if n_key > self.config.length:
            raise AttentionError(
                f"low rank: found {n_key} keys, and its projections are made for {self.config.length}; "
                f"build it with length={n_key} or more, or shorten what it looks at"
            )

    def _slots(self, source: Tensor, order: "_Order") -> tuple[Tensor, Tensor]:
        """EK and FV of packed tokens. What is not real is 0 before it is projected, under a bias too."""
        n_key = source.shape[1]
        of_keys, of_values = self.projection.of_keys(n_key), self.projection.of_values(n_key)
        of_heads, of_tokens = self.config.slot_products(n_key)
        if of_heads <= of_tokens:
            k, v = self._heads(self.key, source), self._heads(self.value, source)
            if order.kept is not None and self.config.bias:
                kept = order.kept[:, None, :, None]
                k, v = torch.where(kept, k, 0.0), torch.where(kept, v, 0.0)
            return of_keys @ k, of_values @ v
        mixed = of_keys[0] @ source
        twice = mixed if self.projection.value is None else of_values[0] @ source
        k, v = (nn.functional.linear(tokens, layer.weight) for tokens, layer in ((mixed, self.key), (twice, self.value)))
        if self.config.bias:
            real = torch.ones_like(source[:, :, :1]) if order.kept is None else order.kept[..., None].to(source.dtype)
            k, v = k + of_keys[0] @ real * self.key.bias, v + of_values[0] @ real * self.value.bias
        return split_heads(k, self.config.width), split_heads(v, self.config.width)

    def _heads(self, projection: nn.Linear, x: Tensor) -> Float[Tensor, "batch head seq dim"]:
        return split_heads(projection(x), self.config.width)

    def _slot_mask(self, order: "_Order") -> Mask:
        """All slots where a sample has any token; none otherwise."""
        return Everything() if order.kept is None else Padding(order.kept.any(dim=1) * self.config.rank)

    def _scoring(self, n_query: int, order: "_Order", device: torch.device) -> Scoring:
        return self._scored(Grid(query=range(n_query), key=range(self.config.rank), device=device), self._slot_mask(order))

    def _scored(self, grid: Grid, mask: Mask) -> Scoring:
        dropout = self.config.dropout if self.training else 0.0
        return Scoring(mask=mask, grid=grid, scale=self.config.width**-0.5, dropout=dropout)

    def _project_queries(self, x: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        return self._heads(self.query, x), {}

    def _answer(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        scoring = replace(self._scored(grid, mask), dropout=0.0)
        return joined(mixed_by(q, held["key"], held["value"], scoring), self.output, scoring)


@dataclass(frozen=True, kw_only=True)
class _Order:
    """`kept`: which keys are real, in the order they are projected in (None: all). `index`: that order (None: as given)."""

    kept: Tensor | None
    index: Tensor | None


def _order(mask: Mask, n_key: int, device: torch.device) -> _Order:
    """Real tokens first, so that left padding and right padding meet the same columns of E and F."""
    grid = aligned(n_key, n_key, device)
    kept = present(mask, grid)
    if kept is None or real_keys(mask, grid) is None:
        return _Order(kept=kept, index=None)
    index = kept.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    return _Order(kept=kept.gather(1, index), index=index)


def _packed(source: Tensor, order: _Order) -> Tensor:
    if order.index is None:
        return source
    index = order.index[..., None].expand(source.shape[0], -1, source.shape[2])
    return source.gather(1, index)
