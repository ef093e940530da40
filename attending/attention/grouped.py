"""Multi-head, grouped-query and multi-query attention: one mechanism, by the number of KV heads.

n_kv_heads = n_heads is MHA (Vaswani et al. 2017), 1 is MQA (Shazeer 2019), between them GQA (Ainslie et al. 2023). Query head h
reads KV head h // (n_heads / n_kv_heads).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attending.attention.caching import ContextCache, TokenCache, clean_context, memory_over_context, memory_over_tokens
from attending.attention.core import joined, mixed_by
from attending.attention.costs import Cost, Phase, bytes_of, cache_cost, meeting
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places, places_tensor
from attending.attention.heads import HeadedAttention, SharedHeadShape
from attending.attention.inspection import check_rows, weights_by
from attending.attention.mechanism import Cache
from attending.attention.positions import PositionEncoding
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias, Scoring
from attending.attention.steps import Step, finished, mixed, step, weighed


@dataclass(frozen=True, kw_only=True)
class GroupedConfig(SharedHeadShape):
    """Defaults are plain MHA: one KV head for each head, heads of dim / n_heads, scores times 1/√head, no biases, no positions.

    `qk_norm_eps`: RMS norm of queries and keys, before rotation, as in Qwen3. `softcap`: bound on the scores, as in Gemma 2.
    `sinks`: a learned logit for each head that takes weight and gives no value. `position` serves self-attention only.
    """

    context_dim: int | None = None
    qk_norm_eps: float | None = None
    softcap: float | None = None
    sinks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.softcap is not None and not self.softcap > 0.0:
            raise AttentionError(f"softcap: found {self.softcap}; it is a positive bound on the scores, or None")

    @property
    def source_dim(self) -> int:
        """Width of the tokens that become keys."""
        return self.dim if self.context_dim is None else self.context_dim

    def build(self) -> "GroupedAttention":
        return GroupedAttention(self)

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
        size, heads, kv = bytes_of(dtype), self.n_heads * self.width, 2 * self.kv_heads * self.width
        weights = self.dim * heads + self.source_dim * kv + heads * self.dim
        extra = (heads + kv if self.bias else 0) + (self.dim if self.output_bias else 0) + (self.n_heads if self.sinks else 0)
        extra += 2 * self.width if self.qk_norm_eps is not None else 0
        extra += self.position_parameters
        met = meeting(length, phase=phase, context=context)
        linear = met.rows * 2 * self.dim * heads + met.projected * self.source_dim * kv
        times = (6 if phase == "train" else 2) * batch
        return Cost(
            phase=phase,
            dtype=dtype,
            parameters=weights + extra,
            parameter_bytes=(weights + extra) * size,
            flops=times * (linear + met.pairs * 2 * heads),
            causal_flops=times * (linear + met.seen * 2 * heads),
            activation_bytes=batch
            * (met.rows * (2 * self.dim + 2 * heads) + met.projected * kv + met.beside * self.source_dim)
            * size,
            cache=cache_cost(self.remembered, length=length, batch=batch, dtype=cache_dtype or dtype, context=context),
        )


class GroupedAttention(HeadedAttention):
    """See `GroupedConfig`."""

    config: GroupedConfig

    def __init__(self, config: GroupedConfig) -> None:
        super().__init__(config, source_dim=config.source_dim, n_queries=config.n_heads, n_keys=config.kv_heads)
        self.query_norm: nn.RMSNorm | None = None
        self.key_norm: nn.RMSNorm | None = None
        if config.qk_norm_eps is not None:
            self.query_norm = nn.RMSNorm(config.width, eps=config.qk_norm_eps)
            self.key_norm = nn.RMSNorm(config.width, eps=config.qk_norm_eps)
        self.sink = nn.Parameter(torch.zeros(config.n_heads)) if config.sinks else None

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        q, k, v, scoring, _ = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        return joined(mixed_by(q, k, v, scoring, sink=self.sink), self.output, scoring)

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
        asking, seen, places, scoring, _ = self._before_heads(x, mask=mask, context=context, positions=positions, bias=bias)
        where = places
        if rows is not None:
            chosen = check_rows(rows, x.shape[1], x.device)
            asking, scoring = asking[:, chosen], scoring.pick_rows(chosen)
            where = None if places is None else places_tensor(places, x.device)[:, chosen]
        return weights_by(self._queries(asking, where), self._keys(seen, places), scoring, sink=self.sink)

    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Iterator[Step]:
        asking, seen, places, scoring, _ = self._before_heads(x, mask=mask, context=context, positions=positions, bias=bias)
        q = yield from self._turning("queries", "batch head query dim", self.query, asking, places=places, norm=self.query_norm)
        k = yield from self._turning("keys", "batch kv_head key dim", self.key, seen, places=places, norm=self.key_norm)
        v = self._heads(self.value, seen)
        yield step("values", v, "batch kv_head key value", "projected, split into heads")
        weights, alive = yield from weighed(q, k, scoring, sink=self.sink)
        heads = yield from mixed(weights, v)
        yield from finished(heads, alive, self.output)

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
        weight = self.key.weight
        if context is None:
            memory = memory_over_tokens(
                self.config.remembered, mask, batch=batch, weight=weight, dtype=dtype, device=device, capacity=capacity
            )
            return TokenCache(memory, mask, dim=self.config.dim, project=self.project, answer=self._answer_over_tokens)
        with torch.no_grad():
            source = clean_context(context, mask, batch)
            held = {"key": self._keys(source, None), "value": self._heads(self.value, source)}
            memory = memory_over_context(held, weight=weight, dtype=dtype, capacity=capacity)
        return ContextCache(memory, mask, dim=self.config.dim, project=self._project_queries, answer=self._answer_over_context)

    def scoring(
        self,
        mask: Mask,
        grid: Grid,
        biases: tuple[ScoreBias, ...] = (),
        *,
        position: PositionEncoding | None,
        dropout: float = 0.0,
    ) -> Scoring:
        plain = super().scoring(mask, grid, biases, position=position, dropout=dropout)
        return plain if self.config.softcap is None else replace(plain, softcap=self.config.softcap)

    def _queries(self, x: Tensor, places: Places | None) -> Float[Tensor, "batch head query dim"]:
        return self._turned(self.query, x, places, self.query_norm)

    def _keys(self, x: Tensor, places: Places | None) -> Float[Tensor, "batch kv_head key dim"]:
        return self._turned(self.key, x, places, self.key_norm)

    def _answer_over_tokens(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._answer(q, held, self.scoring(mask, grid, position=self.position))

    def _answer_over_context(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._answer(q, held, self.scoring(mask, grid, position=None))

    def _answer(self, q: Tensor, held: Mapping[str, Tensor], scoring: Scoring) -> Tensor:
        return joined(mixed_by(q, held["key"], held["value"], scoring, sink=self.sink), self.output, scoring)
