"""Multi-head, grouped-query and multi-query attention: one mechanism, by the number of KV heads.

n_kv_heads = n_heads is MHA (Vaswani et al. 2017), 1 is MQA (Shazeer 2019), between them GQA (Ainslie et al. 2023). Query head h
reads KV head h // (n_heads / n_kv_heads).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attending.attention.core import joined, mixed_by
from attending.attention.costs import Cost, Phase
from attending.attention.errors import AttentionError
from attending.attention.inspection import weights_by
from attending.attention.mechanism import Cache, Inputs, Mechanism, MechanismConfig, check_heads, prepare
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias, Scoring


@dataclass(frozen=True, kw_only=True)
class GroupedConfig(MechanismConfig):
    """`n_kv_heads` None is one per head (MHA); `head_dim` None is dim / n_heads; `context_dim` None is dim."""

    n_kv_heads: int | None = None
    head_dim: int | None = None
    context_dim: int | None = None
    bias: bool = False
    output_bias: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_heads(self.dim, self.n_heads, self.kv_heads)
        if self.head_dim is None and self.dim % self.n_heads:
            raise AttentionError(f"n_heads: found {self.n_heads} for dim={self.dim}; it must divide dim, or give head_dim")

    @property
    def kv_heads(self) -> int:
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def width(self) -> int:
        """Size of one head."""
        return self.dim // self.n_heads if self.head_dim is None else self.head_dim

    def build(self) -> "GroupedAttention":
        return GroupedAttention(self)

    def cost(self, length: int, *, batch: int = 1, dtype: str = "float32", phase: Phase = "prefill") -> Cost:
        raise NotImplementedError


class GroupedAttention(Mechanism):
    """See `GroupedConfig`."""

    def __init__(self, config: GroupedConfig) -> None:
        super().__init__()
        self.config: GroupedConfig = config
        context_dim = config.dim if config.context_dim is None else config.context_dim
        self._dims = (config.dim, context_dim)
        self.query = nn.Linear(config.dim, config.n_heads * config.width, bias=config.bias)
        self.key = nn.Linear(context_dim, config.kv_heads * config.width, bias=config.bias)
        self.value = nn.Linear(context_dim, config.kv_heads * config.width, bias=config.bias)
        self.output = nn.Linear(config.n_heads * config.width, config.dim, bias=config.output_bias)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        inputs = prepare(x, mask=mask, context=context, positions=positions, dims=self._dims, counts=False)
        q, k = self._queries(inputs), self._keys(inputs)
        scoring = self._scoring(mask, inputs, bias)
        heads = mixed_by(q, k, self._heads(self.value, inputs.source), scoring)
        return joined(heads, self.output, scoring)

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
        inputs = prepare(x, mask=mask, context=context, positions=positions, dims=self._dims, counts=False)
        return weights_by(self._queries(inputs), self._keys(inputs), self._scoring(mask, inputs, bias), rows=rows)

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
        raise NotImplementedError

    def _queries(self, inputs: Inputs) -> Tensor:
        return self._heads(self.query, inputs.x)

    def _keys(self, inputs: Inputs) -> Tensor:
        return self._heads(self.key, inputs.source)

    def _heads(self, projection: nn.Linear, x: Tensor) -> Float[Tensor, "batch head seq dim"]:
        return projection(x).unflatten(-1, (-1, self.config.width)).transpose(1, 2)

    def _scoring(self, mask: Mask, inputs: Inputs, bias: ScoreBias | None) -> Scoring:
        dropout = self.config.dropout if self.training else 0.0
        return Scoring(mask=mask, grid=inputs.grid, scale=self.config.width**-0.5, bias=bias, dropout=dropout)
