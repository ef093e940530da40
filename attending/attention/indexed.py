"""Indexed attention (DSA, DeepSeek-V3.2): a light indexer picks the keys of each query, and latent attention reads only those.

Index score of key s for query t: Σ_j w(t, j)·ReLU(q(t, j)·k(s)), one key a token, few small heads. The top_k of the keys that a
query may see are gathered from the latents and attended to absorbed, by all heads alike; of equal scores the earlier key wins.
With top_k ≥ length it is dense latent attention. The choice has no gradient: `auxiliary_loss` teaches the indexer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.attention.caching import ContextCache, TokenCache, clean_context, memory_over_context, memory_over_tokens
from attending.attention.core import joined, mixed_by, note
from attending.attention.costs import Cost, Phase, bytes_of, meeting, slots_cost
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places, places_tensor
from attending.attention.inspection import check_rows, weights_by
from attending.attention.latents import LatentProjections, LatentQueries, LatentShape
from attending.attention.mechanism import Cache, Mechanism, prepare
from attending.attention.picking import Picked, first_of_equals, hiding, row_blocks
from attending.attention.positions import RotaryConfig
from attending.attention.projection import Projection
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias, Scoring, check_bias
from attending.attention.steps import Step, step, weighed
from attending.attention.tables import Keep


@dataclass(frozen=True, kw_only=True)
class IndexedConfig(LatentShape):
    """Latent attention (see `LatentShape`) over the `top_k` keys that an indexer of `index_heads` heads of `index_dim` picks.

    The first rope_dim numbers of an index head are turned by `index_rotary` (half-split in DeepSeek-V3.2, unlike the main one).
    """

    top_k: int
    index_heads: int
    index_dim: int
    index_rotary: RotaryConfig = field(default_factory=RotaryConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k < 1 or self.index_heads < 1:
            raise AttentionError(f"indexed: found top_k={self.top_k}, index_heads={self.index_heads}; both are 1 or more")
        if self.index_dim < self.rope_dim:
            raise AttentionError(f"index_dim: found {self.index_dim}, expected at least rope_dim={self.rope_dim}")

    def build(self) -> "IndexedAttention":
        return IndexedAttention(self)

    @property
    def remembered(self) -> dict[str, tuple[int, int]]:
        return {**super().remembered, "index_key": (1, self.index_dim)}

    def gathers(self, n_query: int, n_key: int) -> bool:
        """Whether reading only the picked keys, absorbed, costs fewer products than attending to all and hiding the others."""
        if self.top_k >= n_key:
            return False
        head = self.nope_dim + self.value_dim
        gathered = n_query * (self.latent_dim * head + self.top_k * (2 * self.latent_dim + self.rope_dim))
        return gathered < n_key * self.latent_dim * head + n_query * n_key * (head + self.rope_dim)

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
        dense = self.latent_cost(
            met, length=length, batch=batch, dtype=dtype, phase=phase, cache_dtype=cache_dtype, context=context
        )
        times, once, size = (6 if phase == "train" else 2) * batch, 2 * batch, bytes_of(dtype)
        key = self.source_dim * self.index_dim
        query = self.query_source_dim * self.index_heads * self.index_dim + self.dim * self.index_heads
        # Where top_k reaches every key nothing is picked, and the forward pass has no gradient through the picking.
        picks, gathers = self.top_k < met.keys, phase != "train" and self.gathers(met.rows, met.keys)
        flops = {"flops": dense.flops, "causal_flops": dense.causal_flops}
        if gathers:
            read = met.rows * self.top_k * self.n_heads * (2 * self.latent_dim + self.rope_dim)
            fixed = met.rows * (self.query_products + self.up_products) + met.projected * self.latent_products
            flops = dict.fromkeys(flops, times * (fixed + read))
        for name, pairs in (("flops", met.pairs), ("causal_flops", met.seen)):
            picking = met.rows * query + pairs * self.index_heads * (self.index_dim + 1)
            flops[name] += once * (met.projected * key + (picking if picks else 0))
        passed = self.passed_on(met, absorbed=True) if gathers else dense.activation_bytes // (batch * size)
        passed += met.projected * self.index_dim + (met.rows * self.index_heads * (self.index_dim + 1) if picks else 0)
        latents = {name: width for name, width in self.remembered.items() if name == "latent"}
        left = (
            slots_cost(latents, used=met.keys - self.top_k, allocated=0, batch=batch, dtype=cache_dtype or dtype)
            if gathers
            else None
        )
        parameters = dense.parameters + key + query + 2 * self.index_dim
        return replace(
            dense,
            parameters=parameters,
            parameter_bytes=parameters * size,
            activation_bytes=batch * passed * size,
            unread_bytes=0 if left is None else left.used + left.scales,
            flops=flops["flops"],
            causal_flops=flops["causal_flops"],
        )


class IndexQueries(NamedTuple):
    """Index queries by head, and how much each head counts."""

    heads: Float[Tensor, "batch index_head query index_dim"]
    shares: Float[Tensor, "batch query index_head"]

    def rows(self, chosen: slice | Tensor) -> "IndexQueries":
        """The same for the chosen queries."""
        return IndexQueries(self.heads[:, :, chosen], self.shares[:, chosen])


class Indexer(nn.Module):
    """Scores every key for every query with a few small heads."""

    def __init__(self, config: IndexedConfig) -> None:
        super().__init__()
        self.n_heads, self.width = config.index_heads, config.index_dim
        self.query = Projection(config.query_source_dim, self.n_heads * self.width, bias=False)
        self.key = Projection(config.source_dim, self.width, bias=False)
        self.key_norm = nn.LayerNorm(self.width, eps=config.norm_eps)
        self.share = Projection(config.dim, self.n_heads, bias=False)
        rotary = replace(config.index_rotary, rotary_dim=config.rope_dim)
        self.rotary = rotary.build(dim=config.dim, n_heads=self.n_heads, head_dim=self.width)

    def queries(self, x: Float[Tensor, "batch query dim"], source: Tensor, places: Places | None) -> IndexQueries:
        heads = self.query(source).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        heads = heads if places is None else self.rotary.rotate(heads, places)
        return IndexQueries(heads, self.share(x) * (self.n_heads * self.width) ** -0.5)

    def keys(self, source: Float[Tensor, "batch key source"], places: Places | None) -> Float[Tensor, "batch 1 key index_dim"]:
        keys = self.key_norm(self.key(source))[:, None]
        return keys if places is None else self.rotary.rotate(keys, places)

    def scores(self, queries: IndexQueries, keys: Float[Tensor, "batch 1 key index_dim"]) -> Float[Tensor, "batch query key"]:
        """Σ_j share_j · ReLU(q_j · k), for every pair."""
        batch, _, n_query, _ = queries.heads.shape
        dots = torch.bmm(queries.heads.reshape(batch, self.n_heads * n_query, self.width), keys[:, 0].mT).relu()
        return torch.einsum("bqh,bhqk->bqk", queries.shares, dots.view(batch, self.n_heads, n_query, keys.shape[2]))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Queries of the main heads, and what the indexer makes its own from when it is needed."""

    main: LatentQueries
    x: Float[Tensor, "batch query dim"]
    places: Places | None


class IndexedAttention(Mechanism):
    """See `IndexedConfig`. Masks may not differ by head, because all heads share one choice of keys."""

    config: IndexedConfig

    def __init__(self, config: IndexedConfig) -> None:
        super().__init__()
        self.config = config
        self.projections = LatentProjections(config)
        self.indexer = Indexer(config)

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
        asked, held, scoring = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        q, index = heads_of(asked.main), self._index(asked)
        if rows is not None:
            chosen = check_rows(rows, x.shape[1], x.device)
            q, index, scoring = q[:, :, chosen], index.rows(chosen), scoring.pick_rows(chosen)
        scoring = scoring.also(hiding(self._picked(index, held, scoring), x.dtype))
        return weights_by(q, self.projections.expanded(held["latent"])[0], scoring)

    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Iterator[Step]:
        asked, held, scoring = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        yield from self.projections.steps_of_tokens(asked.main, held["latent"])
        index = self._index(asked)
        yield step("index queries", index.heads, "batch index_head query index_dim", "projected, turned")
        yield step("index keys", held["index_key"][:, 0], "batch key index_dim", "projected, layer norm, turned")
        yield step("index shares", index.shares, "batch query index_head", "how much each index head counts")
        scores = self.indexer.scores(index, held["index_key"])
        yield step("index scores", scores, "batch query key", "Σ share × ReLU(query · key)")
        picked = self._picked(index, held, scoring)
        yield step("picked", picked, "batch query key", f"the best {self.config.top_k} of those seen")
        k, v = self.projections.expanded(held["latent"])
        found = yield from weighed(heads_of(asked.main), k, replace(scoring, mask=scoring.mask & Keep(picked[:, None])))
        yield from self.projections.steps_of_weights(found, held["latent"], v)

    def auxiliary_loss(
        self, x: Float[Tensor, "batch query dim"], *, mask: Mask, context: Float[Tensor, "batch key context"] | None = None
    ) -> Float[Tensor, ""]:
        """Mean over queries of KL(what the heads look at ‖ softmax of the index scores), over the picked keys.

        The heads' weights are summed and normed, and nothing but the indexer gets a gradient. For the dense warm-up of
        DeepSeek-V3.2 use a config whose `top_k` reaches the length: the weights are the same and every key is picked.
        """
        with torch.no_grad():
            asked, held, scoring = self._lowered(x, mask=mask, context=context, positions=None, bias=None)
            scoring = replace(scoring, dropout=0.0)
            q, keys = heads_of(asked.main), self.projections.expanded(held["latent"])[0]
            source = prepare(x, mask=mask, context=context, positions=None, dims=self._dims, counts=False).source
        index = self.indexer.queries(asked.x, asked.main.source, asked.places)
        index_keys = self.indexer.keys(source, asked.places)
        total, n_alive = x.new_zeros(()), x.new_zeros(())
        for rows in row_blocks(scoring, x.shape[0] * self.config.n_heads):
            of_rows = scoring.rows(rows.start, rows.stop)
            with torch.no_grad():
                picked = self._picked(index.rows(rows), held, of_rows)
                looked = weights_by(q[:, :, rows], keys, of_rows.also(hiding(picked, x.dtype))).sum(dim=1)
                alive = picked.any(dim=-1)
                looked = looked / torch.where(alive, looked.sum(dim=-1), 1.0)[..., None]
            scores = self.indexer.scores(index.rows(rows), index_keys)
            guess = torch.where(picked | ~alive[..., None], scores, -torch.inf).log_softmax(dim=-1)
            cross = -(looked * torch.where(picked, guess, 0.0)).sum(dim=-1)
            total = total + torch.where(alive, cross - torch.special.entr(looked).sum(dim=-1), 0.0).sum()
            n_alive = n_alive + alive.sum()
        return total / n_alive.clamp(min=1.0)

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
            held = self._held(clean_context(context, mask, batch), None)
        memory = memory_over_context(held, weight=weight, dtype=dtype, capacity=capacity)
        return ContextCache(memory, mask, dim=self.config.dim, project=self._project_queries, answer=self._answer)

    @property
    def _dims(self) -> tuple[int, int]:
        return self.config.dim, self.config.source_dim

    def _lowered(
        self, x: Tensor, *, mask: Mask, context: Tensor | None, positions: Tensor | None, bias: ScoreBias | None
    ) -> tuple[_Asked, dict[str, Tensor], Scoring]:
        """Queries, what they look into, and how it is scored."""
        inputs = prepare(x, mask=mask, context=context, positions=positions, dims=self._dims, counts=context is None)
        places = inputs.positions if context is None else None
        n_query, n_key = x.shape[1], inputs.source.shape[1]
        biases = check_bias(bias, batch=x.shape[0], n_heads=self.config.n_heads, n_query=n_query, n_key=n_key)
        dropout = self.config.dropout if self.training else 0.0
        scoring = Scoring(mask=mask, grid=inputs.grid, scale=self.config.score_scale, biases=biases, dropout=dropout)
        return self._asked(inputs.x, places), self._held(inputs.source, places), scoring

    def _asked(self, x: Tensor, places: Places | None) -> _Asked:
        return _Asked(main=self.projections.queries(x, places), x=x, places=places)

    def _held(self, source: Tensor, places: Places | None) -> dict[str, Tensor]:
        latent = self.projections.latents(source, places)
        with torch.no_grad():  # picking has no gradient; auxiliary_loss makes its own
            return {"latent": latent, "index_key": self.indexer.keys(source, places)}

    def _index(self, asked: _Asked) -> IndexQueries:
        with torch.no_grad():
            return self.indexer.queries(asked.x, asked.main.source, asked.places)

    def _mixed(self, asked: _Asked, held: Mapping[str, Tensor], scoring: Scoring) -> Tensor:
        """Output, reading only the picked keys where that is less work, and hiding the others where it is not."""
        n_query, n_key = scoring.grid.n_query, scoring.grid.n_key
        serves = not torch.is_grad_enabled() and scoring.dropout == 0.0
        if serves and self.config.gathers(n_query, n_key):
            note("gathered", dense="fewer products by reading the picked keys alone")
            heads = self.projections.from_latent(self._gathered(asked, held, scoring))
            return joined(heads, self.projections.output, scoring)
        if self.config.top_k < n_key:
            index = self._index(asked)
            blocks = row_blocks(scoring, index.shares.shape[0] * self.config.index_heads)
            picked = [self._picked(index.rows(rows), held, scoring.rows(rows.start, rows.stop)) for rows in blocks]
            scoring = scoring.also(hiding(torch.cat(picked, dim=1), held["latent"].dtype))
        if serves and self.config.prefers_absorbed(n_query, n_key):
            latent = held["latent"]
            heads = mixed_by(self.projections.absorbed(asked.main), latent, latent[..., : self.config.latent_dim], scoring)
            return joined(self.projections.from_latent(heads), self.projections.output, scoring)
        heads = mixed_by(heads_of(asked.main), *self.projections.expanded(held["latent"]), scoring)
        return joined(heads, self.projections.output, scoring)

    def _gathered(
        self, asked: _Asked, held: Mapping[str, Tensor], scoring: Scoring
    ) -> Float[Tensor, "batch head query latent"]:
        """Mean latents of the picked keys, a few rows at a time."""
        latent, absorbed, index = held["latent"][:, 0], self.projections.absorbed(asked.main), self._index(asked)
        batch, n_heads, n_query, width = absorbed.shape
        output = absorbed.new_zeros(batch, n_heads, n_query, self.config.latent_dim)
        per_pair = max(self.config.top_k * width // max(latent.shape[1], 1), self.config.index_heads)
        for rows in row_blocks(scoring, batch * per_pair):
            of_rows = scoring.rows(rows.start, rows.stop)
            start, stop = of_rows.mask.span(of_rows.grid)
            if start == stop:
                continue
            of_rows = of_rows.columns(start, stop)
            chosen = self._top(index.rows(rows), held["index_key"][:, :, start:stop], of_rows)
            n_rows, n_picked = chosen.keys.shape[1:]
            flat = (chosen.keys + start).flatten(1)[..., None].expand(-1, -1, width)
            read = latent.gather(1, flat).view(batch * n_rows, n_picked, width)
            queries = absorbed[:, :, rows].transpose(1, 2).reshape(batch * n_rows, n_heads, width)
            scores = torch.bmm(queries * scoring.scale, read.mT).view(batch, n_rows, n_heads, n_picked)
            if scoring.biases:
                added = of_rows.additive(scores.dtype)[0]
                assert added is not None
                keys = chosen.keys[:, None].expand(-1, added.shape[1], -1, -1)
                scores = scores + added.expand(batch, -1, n_rows, stop - start).gather(3, keys).transpose(1, 2)
            valid = chosen.valid[:, :, None] & (scores > -torch.inf)
            alive = valid.any(dim=-1, keepdim=True)
            weights = scores.masked_fill(~valid & alive, -torch.inf).softmax(dim=-1)
            mixed = torch.bmm(weights.view(batch * n_rows, n_heads, n_picked), read[..., : self.config.latent_dim])
            mixed = mixed.unflatten(0, (batch, n_rows))
            output[:, :, rows] = torch.where(alive, mixed, 0.0).transpose(1, 2)
        return output

    @torch.no_grad()
    def _picked(self, index: IndexQueries, held: Mapping[str, Tensor], scoring: Scoring) -> Bool[Tensor, "batch query key"]:
        """Which keys each query reads: its top_k, or all that it sees where they are no more."""
        n_key = scoring.grid.n_key
        if self.config.top_k >= n_key:
            return self._seen(scoring, index.shares.shape[0]).expand(-1, scoring.grid.n_query, -1)
        chosen = self._top(index, held["index_key"], scoring)
        marked = torch.zeros(*chosen.keys.shape[:2], n_key, dtype=torch.bool, device=chosen.keys.device)
        return marked.scatter_(2, chosen.keys, chosen.valid)

    def _top(self, index: IndexQueries, keys: Tensor, scoring: Scoring) -> Picked:
        seen = self._seen(scoring, index.shares.shape[0])
        scores = self.indexer.scores(index, keys).masked_fill(~seen, -torch.inf)
        top = scores.topk(min(self.config.top_k, scores.shape[-1]), dim=-1, sorted=False)
        least = top.values.amin(dim=-1, keepdim=True)
        tied = (scores >= least).sum(dim=-1, keepdim=True) > top.values.shape[-1]
        chosen = top.indices
        if torch.compiler.is_compiling() or bool((tied & (least > -torch.inf)).any()):
            chosen = first_of_equals(scores, places_tensor(scoring.grid.key, scores.device), top.values.shape[-1])
        return Picked(keys=chosen, valid=scores.gather(2, chosen) > -torch.inf)

    def _seen(self, scoring: Scoring, batch: int) -> Bool[Tensor, "batch query_or_one key"]:
        seen = scoring.mask.seen(scoring.grid)
        if seen is None:
            return torch.ones(1, 1, 1, dtype=torch.bool, device=scoring.grid.device).expand(batch, 1, scoring.grid.n_key)
        if seen.shape[1] != 1:
            raise AttentionError(f"indexed: found a mask for {seen.shape[1]} heads; all heads share one choice of keys")
        return seen[:, 0].expand(batch, -1, scoring.grid.n_key)

    def _project_tokens(self, x: Tensor, places: Places) -> tuple[_Asked, dict[str, Tensor]]:
        return self._asked(x, places), self._held(x, places)

    def _project_queries(self, x: Tensor, places: Places) -> tuple[_Asked, dict[str, Tensor]]:
        return self._asked(x, None), {}

    def _answer(self, asked: _Asked, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._mixed(asked, held, Scoring(mask=mask, grid=grid, scale=self.config.score_scale))


def heads_of(main: LatentQueries) -> Float[Tensor, "batch head query dim"]:
    """Both parts of the queries side by side, as they meet expanded keys."""
    return torch.cat([main.nope, main.rope], dim=-1)
