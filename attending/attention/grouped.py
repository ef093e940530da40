"""Multi-head, grouped-query and multi-query attention: one mechanism, by the number of KV heads.

n_kv_heads = n_heads is MHA (Vaswani et al. 2017), 1 is MQA (Shazeer 2019), between them GQA (Ainslie et al. 2023). Query head h
reads KV head h // (n_heads / n_kv_heads).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attending.attention.caching import ContextCache, TokenCache, clean_context, memory_over_context, memory_over_tokens
from attending.attention.core import joined, mixed_by
from attending.attention.costs import Cost, Phase, bytes_of, cache_cost
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places
from attending.attention.inspection import weights_by
from attending.attention.mechanism import Cache, Inputs, Mechanism, MechanismConfig, check_heads, prepare
from attending.attention.positions import PositionConfig, PositionEncoding
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias, Scoring, check_bias


@dataclass(frozen=True, kw_only=True)
class GroupedConfig(MechanismConfig):
    """Defaults are plain MHA: one KV head for each head, heads of dim / n_heads, scores times 1/√head, no biases, no positions.

    `qk_norm_eps`: RMS norm of queries and keys, before rotation, as in Qwen3. `softcap`: bound on the scores, as in Gemma 2.
    `sinks`: a learned logit for each head that takes weight and gives no value. `position` serves self-attention only.
    """

    n_kv_heads: int | None = None
    head_dim: int | None = None
    context_dim: int | None = None
    position: PositionConfig | None = None
    scale: float | None = None
    qk_norm_eps: float | None = None
    softcap: float | None = None
    sinks: bool = False
    bias: bool = False
    output_bias: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_heads(self.dim, self.n_heads, self.kv_heads)
        if self.head_dim is None and self.dim % self.n_heads:
            raise AttentionError(f"n_heads: found {self.n_heads} for dim={self.dim}; it must divide dim, or give head_dim")
        if self.softcap is not None and not self.softcap > 0.0:
            raise AttentionError(f"softcap: found {self.softcap}; it is a positive bound on the scores, or None")
        if not 0.0 <= self.dropout < 1.0:
            raise AttentionError(f"dropout: found {self.dropout}, expected a share of weights in [0, 1)")

    @property
    def kv_heads(self) -> int:
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def width(self) -> int:
        """Size of one head."""
        return self.dim // self.n_heads if self.head_dim is None else self.head_dim

    @property
    def source_dim(self) -> int:
        """Width of the tokens that become keys."""
        return self.dim if self.context_dim is None else self.context_dim

    @property
    def score_scale(self) -> float:
        return self.width**-0.5 if self.scale is None else self.scale

    def build(self) -> "GroupedAttention":
        return GroupedAttention(self)

    @property
    def remembered(self) -> dict[str, tuple[int, int]]:
        """(heads, dim) of what a cache holds of each token, by name."""
        return dict.fromkeys(("key", "value"), (self.kv_heads, self.width))

    def cost(
        self, length: int, *, batch: int = 1, dtype: str = "float32", phase: Phase = "prefill", cache_dtype: str | None = None
    ) -> Cost:
        size, heads, kv = bytes_of(dtype), self.n_heads * self.width, 2 * self.kv_heads * self.width
        weights = self.dim * heads + self.source_dim * kv + heads * self.dim
        extra = (heads + kv if self.bias else 0) + (self.dim if self.output_bias else 0) + (self.n_heads if self.sinks else 0)
        extra += 2 * self.width if self.qk_norm_eps is not None else 0
        extra += 0 if self.position is None else self.position.parameters(dim=self.dim, n_heads=self.n_heads)
        rows = 1 if phase == "decode" else length
        pairs, seen_pairs = rows * length, (length if phase == "decode" else length * (length + 1) // 2)
        passes = 3 if phase == "train" else 1
        return Cost(
            phase=phase,
            dtype=dtype,
            parameters=weights + extra,
            parameter_bytes=(weights + extra) * size,
            flops=passes * 2 * batch * (rows * weights + pairs * 2 * heads),
            causal_flops=passes * 2 * batch * (rows * weights + seen_pairs * 2 * heads),
            activation_bytes=batch * rows * (2 * self.dim + 2 * heads + kv) * size,
            cache=cache_cost(self.remembered, length=length, batch=batch, dtype=cache_dtype or dtype),
        )


class GroupedAttention(Mechanism):
    """See `GroupedConfig`."""

    config: GroupedConfig

    def __init__(self, config: GroupedConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.dim, config.n_heads * config.width, bias=config.bias)
        self.key = nn.Linear(config.source_dim, config.kv_heads * config.width, bias=config.bias)
        self.value = nn.Linear(config.source_dim, config.kv_heads * config.width, bias=config.bias)
        self.output = nn.Linear(config.n_heads * config.width, config.dim, bias=config.output_bias)
        self.query_norm: nn.RMSNorm | None = None
        self.key_norm: nn.RMSNorm | None = None
        if config.qk_norm_eps is not None:
            self.query_norm = nn.RMSNorm(config.width, eps=config.qk_norm_eps)
            self.key_norm = nn.RMSNorm(config.width, eps=config.qk_norm_eps)
        self.sink = nn.Parameter(torch.zeros(config.n_heads)) if config.sinks else None
        self.position: PositionEncoding | None = None
        if config.position is not None:
            self.position = config.position.build(dim=config.dim, n_heads=config.n_heads, head_dim=config.width)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        q, k, v, scoring = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
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
        q, k, _, scoring = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        return weights_by(q, k, scoring, sink=self.sink, rows=rows)

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
        dtype = weight.dtype if dtype is None else dtype
        device = weight.device if device is None else device
        if context is None:
            memory = memory_over_tokens(
                self.config.remembered, mask, batch=batch, dtype=dtype, reads_as=weight.dtype, device=device, capacity=capacity
            )
            return TokenCache(memory, mask, dim=self.config.dim, project=self._project_tokens, answer=self._answer_over_tokens)
        with torch.no_grad():
            source = clean_context(context, mask, batch)
            held = {"key": self._keys(source, None), "value": self._heads(self.value, source)}
            memory = memory_over_context(held, dtype=dtype, reads_as=weight.dtype, capacity=capacity)
        return ContextCache(memory, mask, dim=self.config.dim, project=self._project_queries, answer=self._answer_over_context)

    def _lowered(
        self,
        x: Tensor,
        *,
        mask: Mask,
        context: Tensor | None,
        positions: Tensor | None,
        bias: ScoreBias | None,
    ) -> tuple[Tensor, Tensor, Tensor, Scoring]:
        """Queries, keys and values by head, and how they are scored."""
        position = self.position if context is None else None
        dims = (self.config.dim, self.config.source_dim)
        inputs: Inputs = prepare(x, mask=mask, context=context, positions=positions, dims=dims, counts=position is not None)
        batch, n_query, n_key = x.shape[0], x.shape[1], inputs.source.shape[1]
        biases = check_bias(bias, batch=batch, n_heads=self.config.n_heads, n_query=n_query, n_key=n_key)
        tokens = inputs.x if position is None else position.embed(inputs.x, inputs.positions)
        source = inputs.source
        if context is None:
            source = tokens if source is inputs.x or position is None else position.embed(source, inputs.positions)
        places = None if position is None else inputs.positions
        q, k, v = self._queries(tokens, places), self._keys(source, places), self._heads(self.value, source)
        return (
            q,
            k,
            v,
            self._scoring(mask, inputs.grid, position, biases, dropout=self.config.dropout if self.training else 0.0),
        )

    def _queries(self, x: Tensor, places: Places | None) -> Float[Tensor, "batch head query dim"]:
        q = self._heads(self.query, x)
        q = q if self.query_norm is None else self.query_norm(q)
        return q if self.position is None or places is None else self.position.rotate(q, places)

    def _keys(self, x: Tensor, places: Places | None) -> Float[Tensor, "batch kv_head key dim"]:
        k = self._heads(self.key, x)
        k = k if self.key_norm is None else self.key_norm(k)
        return k if self.position is None or places is None else self.position.rotate(k, places)

    def _heads(self, projection: nn.Linear, x: Tensor) -> Float[Tensor, "batch head seq dim"]:
        return projection(x).unflatten(-1, (-1, self.config.width)).transpose(1, 2)

    def _scoring(
        self, mask: Mask, grid: Grid, position: PositionEncoding | None, biases: tuple[ScoreBias, ...], *, dropout: float
    ) -> Scoring:
        of_position = None if position is None else position.score_bias()
        biases = biases if of_position is None else (*biases, of_position)
        config = self.config
        return Scoring(mask=mask, grid=grid, scale=config.score_scale, biases=biases, softcap=config.softcap, dropout=dropout)

    def _project_tokens(self, x: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        x = x if self.position is None else self.position.embed(x, places)
        return self._queries(x, places), {"key": self._keys(x, places), "value": self._heads(self.value, x)}

    def _project_queries(self, x: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        return self._queries(x, None), {}

    def _answer_over_tokens(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._answer(q, held, self._scoring(mask, grid, self.position, (), dropout=0.0))

    def _answer_over_context(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._answer(q, held, self._scoring(mask, grid, None, (), dropout=0.0))

    def _answer(self, q: Tensor, held: Mapping[str, Tensor], scoring: Scoring) -> Tensor:
        return joined(mixed_by(q, held["key"], held["value"], scoring, sink=self.sink), self.output, scoring)
