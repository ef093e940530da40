"""Multi-head latent attention (MLA, DeepSeek-V2, arXiv 2405.04434): every head reads one small remembered vector a token.

Whether keys and values are expanded from the latents or the queries absorbed into them is decided by what costs less for the
numbers of queries and keys at hand; the result is the same up to rounding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attending.attention.caching import ContextCache, TokenCache, clean_context, memory_over_context, memory_over_tokens
from attending.attention.core import joined, mixed_by
from attending.attention.costs import Cost, Phase, meeting
from attending.attention.grid import Grid, Places
from attending.attention.inspection import weights_by
from attending.attention.latents import LatentProjections, LatentQueries, LatentShape
from attending.attention.mechanism import Cache, Mechanism, prepare
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias, Scoring, check_bias
from attending.attention.steps import Step, weighed


@dataclass(frozen=True, kw_only=True)
class LatentConfig(LatentShape):
    """See `LatentShape` for the widths. DeepSeek-V3: latent 512, rope 64, nope 128, value 128, query latent 1536, 128 heads."""

    def build(self) -> "LatentAttention":
        return LatentAttention(self)

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
        met = meeting(length, phase=phase, context=context)
        return self.latent_cost(
            met, length=length, batch=batch, dtype=dtype, phase=phase, cache_dtype=cache_dtype, context=context
        )


class LatentAttention(Mechanism):
    """See `LatentConfig`."""

    config: LatentConfig

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.config = config
        self.projections = LatentProjections(config)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        return self._mixed(*self._lowered(x, mask=mask, context=context, positions=positions, bias=bias))

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
        queries, latents, scoring = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        n_rows = x.shape[1] if rows is None else len(rows)
        q, k, _ = self._heads(queries, latents, absorbed=self._absorbs(n_rows, latents.shape[2]))
        return weights_by(q, k, scoring, rows=rows)

    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Iterator[Step]:
        queries, latents, scoring = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        q, k, v = self._heads(queries, latents, absorbed=False)
        yield from self.projections.steps_of_tokens(queries, latents)
        found = yield from weighed(q, k, scoring)
        yield from self.projections.steps_of_weights(found, latents, v)

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
        weight = self.projections.latent_down.weight
        if context is None:
            memory = memory_over_tokens(
                self.config.remembered, mask, batch=batch, weight=weight, dtype=dtype, device=device, capacity=capacity
            )
            return TokenCache(memory, mask, dim=self.config.dim, project=self._project_tokens, answer=self._answer)
        with torch.no_grad():
            held = {"latent": self.projections.latents(clean_context(context, mask, batch), None)}
        memory = memory_over_context(held, weight=weight, dtype=dtype, capacity=capacity)
        return ContextCache(memory, mask, dim=self.config.dim, project=self._project_queries, answer=self._answer)

    def _lowered(
        self, x: Tensor, *, mask: Mask, context: Tensor | None, positions: Tensor | None, bias: ScoreBias | None
    ) -> tuple[LatentQueries, Tensor, Scoring]:
        """Queries, latents, and how they are scored."""
        dims = (self.config.dim, self.config.source_dim)
        inputs = prepare(x, mask=mask, context=context, positions=positions, dims=dims, counts=context is None)
        places = inputs.positions if context is None else None
        n_query, n_key = x.shape[1], inputs.source.shape[1]
        biases = check_bias(bias, batch=x.shape[0], n_heads=self.config.n_heads, n_query=n_query, n_key=n_key)
        dropout = self.config.dropout if self.training else 0.0
        scoring = Scoring(mask=mask, grid=inputs.grid, scale=self.config.score_scale, biases=biases, dropout=dropout)
        return self.projections.queries(inputs.x, places), self.projections.latents(inputs.source, places), scoring

    def _absorbs(self, n_query: int, n_key: int) -> bool:
        # With gradients the expansion is paid once and used by every query, forward and backward.
        return not torch.is_grad_enabled() and self.config.prefers_absorbed(n_query, n_key)

    def _heads(self, queries: LatentQueries, latents: Tensor, *, absorbed: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values: of every head, or of the one latent that all heads share."""
        if absorbed:
            return self.projections.absorbed(queries), latents, latents[..., : self.config.latent_dim]
        return torch.cat([queries.nope, queries.rope], dim=-1), *self.projections.expanded(latents)

    def _mixed(self, queries: LatentQueries, latents: Tensor, scoring: Scoring) -> Tensor:
        absorbed = self._absorbs(queries.nope.shape[2], latents.shape[2])
        heads = mixed_by(*self._heads(queries, latents, absorbed=absorbed), scoring)
        heads = self.projections.from_latent(heads) if absorbed else heads
        return joined(heads, self.projections.output, scoring)

    def _project_tokens(self, x: Tensor, places: Places) -> tuple[LatentQueries, dict[str, Tensor]]:
        return self.projections.queries(x, places), {"latent": self.projections.latents(x, places)}

    def _project_queries(self, x: Tensor, places: Places) -> tuple[LatentQueries, dict[str, Tensor]]:
        return self.projections.queries(x, None), {}

    def _answer(self, queries: LatentQueries, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._mixed(queries, held["latent"], Scoring(mask=mask, grid=grid, scale=self.config.score_scale))
