"""Clustered heads: heads that look alike share one row of scores, and each keeps its own values (CHAI, arXiv 2403.08058).

Membership is static (`leaders`, found offline by `clusters.find_clusters`) or found for each sample from the maps of its first
`observe` tokens. Only representatives' queries meet keys, keys that no representative needs are not kept, values all are: of
the bytes of an MHA cache this saves ½·(1 − n_clusters/n_heads), never more than half. Not a way to save values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attending.attention.caching import ContextCache, TokenCache, clean_context, memory_over_context, memory_over_tokens
from attending.attention.clustered_cache import OwnClustersCache
from attending.attention.clustered_shape import ClusteredShape
from attending.attention.clusters import leaders_of
from attending.attention.core import joined
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places
from attending.attention.heads import HeadedAttention
from attending.attention.inspection import check_rows
from attending.attention.mechanism import Cache, Inputs
from attending.attention.membership import (
    FirstTokens,
    Membership,
    at_places,
    bias_at_places,
    first_tokens,
    membership,
    of_first_or_not,
    put_at_places,
)
from attending.attention.projection import Projection
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias, Scoring
from attending.attention.shared import (
    biases_by_head,
    by_clusters,
    by_head,
    dropped,
    mixed_by_head,
    shared_output,
    shared_weights,
)
from attending.attention.steps import Step, finished, mixed, step, weighed
from attending.attention.tables import Blocks, Keep


@dataclass(frozen=True, kw_only=True)
class ClusteredConfig(ClusteredShape):
    """See `ClusteredShape`: how many clusters, and whether `leaders` name them or each sample finds its own."""

    def build(self) -> "ClusteredAttention":
        return ClusteredAttention(self)

    def weights_from(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of this mechanism, out of the `state_dict` of grouped attention with the same heads."""
        if self.leaders is None:
            return dict(state)
        taken = dict(state)
        for name, heads in (("query", self.representatives), ("key", self.key_heads)):
            for kind in ("weight", "bias"):
                if (whole := state.get(f"{name}.{kind}")) is not None:
                    taken[f"{name}.{kind}"] = whole.unflatten(0, (-1, self.width))[list(heads)].flatten(0, 1).clone()
        return taken


class ClusteredAttention(HeadedAttention):
    """See `ClusteredConfig`. A static layer has the projections of its representatives only."""

    config: ClusteredConfig

    def __init__(self, config: ClusteredConfig) -> None:
        is_static = config.leaders is not None
        n_queries, n_keys = (config.n_clusters, config.n_kept_keys) if is_static else (config.n_heads, config.kv_heads)
        super().__init__(config, source_dim=config.source_dim, n_queries=n_queries, n_keys=n_keys)
        share = config.n_heads // config.kv_heads
        chosen, keys = config.representatives, config.key_heads
        leaders = () if config.leaders is None else config.leaders
        # Not in the state: the configuration says it all.
        self._representatives: Tensor
        self._of_head: Tensor
        self._slot: Tensor
        self.register_buffer("_representatives", torch.tensor(chosen, dtype=torch.long), persistent=False)
        self.register_buffer("_of_head", torch.tensor([chosen.index(h) for h in leaders], dtype=torch.long), persistent=False)
        slots = [keys.index(head // share) for head in chosen]
        self.register_buffer("_slot", torch.tensor(slots, dtype=torch.long), persistent=False)
        self._folds = len({slots.count(slot) for slot in slots}) <= 1

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        q, k, v, scoring, inputs = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        if self.config.leaders is not None:
            scoring = self.of_representatives(scoring, self._representatives)
            return joined(shared_output(q, self._read(k), v, self._of_head, scoring), self.output, scoring)
        first = first_tokens(mask, x.shape[0], inputs.grid, self.config.observe)
        weights = self._weights_of_first(q, k, scoring, first)
        early = mixed_by_head(dropped(weights, scoring.dropout), at_places(v, first.index, 2))
        if x.shape[1] <= self.config.observe:
            return joined(put_at_places(torch.zeros_like(early), first.index, early), self.output, scoring)
        members = self.members_of(weights)
        heads = shared_output(
            by_head(q, members.representatives),
            self._kept(k, members),
            v,
            members.of_head,
            self.of_representatives(scoring, members.representatives),
        )
        return joined(put_at_places(heads, first.index, early), self.output, scoring)

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
        """As in the contract; heads of one cluster show the same weights, because they use the same."""
        q, k, _, scoring, inputs = self._lowered(x, mask=mask, context=context, positions=positions, bias=bias)
        chosen = torch.arange(x.shape[1], device=x.device) if rows is None else check_rows(rows, x.shape[1], x.device)
        picked = scoring if rows is None else scoring.pick_rows(chosen)
        if self.config.leaders is not None:
            picked = self.of_representatives(picked, self._representatives)
            return shared_weights(q[:, :, chosen], self._read(k), self._of_head, picked)
        first = first_tokens(mask, x.shape[0], inputs.grid, self.config.observe)
        every = torch.arange(self.config.n_heads, device=x.device)
        early = shared_weights(q[:, :, chosen], k, every, picked)
        if x.shape[1] <= self.config.observe:
            return early
        members = self.members_of(self._weights_of_first(q, k, scoring, first))
        read = self._kept(k, members)
        asked = by_head(q[:, :, chosen], members.representatives)
        late = shared_weights(asked, read, members.of_head, self.of_representatives(picked, members.representatives))
        return torch.where(first.by_token[:, None, chosen, None], early, late)

    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Iterator[Step]:
        self._check(mask, context)
        asking, seen, places, scoring, inputs = self._before_heads(
            x, mask=mask, context=context, positions=positions, bias=bias
        )
        is_static = self.config.leaders is not None
        row, kept = ("cluster", "kept_head") if is_static else ("head", "kv_head")
        q = yield from self._turning("queries", f"batch {row} query dim", self.query, asking, places=places)
        k = yield from self._turning("keys", f"batch {kept} key dim", self.key, seen, places=places)
        v = self._heads(self.value, seen)
        yield step("values", v, "batch kv_head key value", "projected, split into heads")
        if is_static:
            of_clusters = self.of_representatives(scoring, self._representatives)
            found = yield from weighed(q, self._read(k), of_clusters, row=row, weights="cluster weights")
            found = by_clusters(found, self._of_head)
        else:
            first = first_tokens(mask, x.shape[0], inputs.grid, self.config.observe)
            found = yield from weighed(q, k, scoring, weights="weights of all heads")
            maps = self._weights_of_first(q, k, scoring, first)
            yield step("first maps", maps, "batch head first first", "of the first tokens; decide clusters")
            if x.shape[1] > self.config.observe:
                members = self.members_of(maps)
                yield step("representatives", members.representatives, "batch cluster", "heads whose scores are computed")
                yield step("cluster of head", members.of_head, "batch head", "whose scores each head uses")
                of_clusters = self.of_representatives(scoring, members.representatives)
                asked, read = by_head(q, members.representatives), self._kept(k, members)
                late = yield from weighed(asked, read, of_clusters, of="cluster", row="cluster", weights="cluster weights")
                found = of_first_or_not(first, found, by_clusters(late, members.of_head))
        yield step("weights", found.weights, "batch head query key", "each head takes its cluster's")
        heads = yield from mixed(found.weights, v)
        yield from finished(heads, found.alive, self.output)

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
        """Where samples find their own clusters, membership is fixed with token `observe`, and `crop` cannot go back before it.

        Such a cache keeps all tokens, also under a window.
        """
        self._check(mask, context)
        weight = self.key.weight
        if context is not None:
            with torch.no_grad():
                source = clean_context(context, mask, batch)
                held = {"key": self._keys(source, None), "value": self._heads(self.value, source)}
                memory = memory_over_context(held, weight=weight, dtype=dtype, capacity=capacity)
            return ContextCache(memory, mask, dim=self.config.dim, project=self._project_queries, answer=self._answer)
        if self.config.leaders is None:
            dtype, device = weight.dtype if dtype is None else dtype, weight.device if device is None else device
            return OwnClustersCache(self, mask, batch=batch, dtype=dtype, device=device, capacity=capacity)
        memory = memory_over_tokens(
            self.config.remembered, mask, batch=batch, weight=weight, dtype=dtype, device=device, capacity=capacity
        )
        return TokenCache(memory, mask, dim=self.config.dim, project=self.project, answer=self._answer_over_tokens)

    def _check(self, mask: Mask, context: Tensor | None) -> None:
        for leaf in mask.leaves:
            if (isinstance(leaf, Keep) and leaf.pairs.shape[1] > 1) or (isinstance(leaf, Blocks) and leaf.layout.shape[0] > 1):
                raise AttentionError(
                    f"clustered: found {type(leaf).__name__.lower()} that differs by head, and heads of a cluster share their "
                    "scores; give one rule for all heads, or take grouped"
                )
        if self.config.leaders is not None:
            return
        if context is not None:
            raise AttentionError(
                "clustered: found a context, and clusters found from the first tokens serve causal self-attention only; find "
                "them offline, find_clusters(maps), and build with leaders=…"
            )
        if mask.sees_future:
            raise AttentionError(
                "clustered: this mask lets tokens see later ones, and clusters are found from the first tokens; write "
                "mask=causal() & …, or find them offline, find_clusters(maps), and build with leaders=…"
            )

    def _lowered(
        self, x: Tensor, *, mask: Mask, context: Tensor | None, positions: Tensor | None, bias: ScoreBias | None
    ) -> tuple[Tensor, Tensor, Tensor, Scoring, Inputs]:
        """Queries, keys and values of all heads that are projected, and how all heads would score."""
        self._check(mask, context)
        return super()._lowered(x, mask=mask, context=context, positions=positions, bias=bias)

    def _weights_of_first(
        self, q: Tensor, k: Tensor, scoring: Scoring, first: FirstTokens
    ) -> Float[Tensor, "batch head first first"]:
        """Maps of all heads over the first real tokens; 0 for those that are not there."""
        every = torch.arange(self.config.n_heads, device=q.device)
        grid = scoring.grid
        counts = [None if count is None else at_places(count, first.index, 1) for count in (grid.query_count, grid.key_count)]
        biases = tuple(bias_at_places(bias, first.index) for bias in scoring.biases)
        grid = replace(grid, query=first.index, key=first.index, query_count=counts[0], key_count=counts[1])
        early = replace(scoring, grid=grid, biases=biases)
        weights = shared_weights(at_places(q, first.index, 2), at_places(k, first.index, 2), every, early)
        return torch.where(first.valid[:, None, :, None], weights, 0.0)

    def members_of(self, maps: Float[Tensor, "batch head first first"]) -> Membership:
        """Clusters of each sample, from its own maps."""
        config = self.config
        leaders = leaders_of(maps, config.n_clusters)
        return membership(leaders, n_clusters=config.n_clusters, kv_heads=config.kv_heads, n_kept=config.n_kept_keys)

    def _kept(self, k: Float[Tensor, "batch kv_head key dim"], members: Membership) -> Float[Tensor, "batch cluster key dim"]:
        """The keys of each representative."""
        kept = by_head(k, members.kept)
        return kept if self.config.kv_heads == self.config.n_heads else by_head(kept, members.slot)

    def _read(self, k: Float[Tensor, "batch key_head key dim"]) -> Float[Tensor, "batch key_head key dim"]:
        """Keys that static representatives fold over; repeated only where they share key heads unevenly."""
        return k if self._folds else k.index_select(1, self._slot)

    def project_some(
        self, x: Tensor, places: Places, queries: Sequence[int], keys: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`project`, with only these heads' queries and keys made; the weights are read in place."""
        x = x if self.position is None else self.position.embed(x, places)

        def made(projection: Projection, heads: Sequence[int]) -> Tensor:
            some = projection.of_heads(x, heads, self.config.width)
            return some if self.position is None else self.position.rotate(some, places)

        return made(self.query, queries), {"key": made(self.key, keys), "value": self._heads(self.value, x)}

    def of_representatives(self, scoring: Scoring, representatives: Tensor) -> Scoring:
        return replace(scoring, biases=biases_by_head(scoring.biases, representatives)) if scoring.biases else scoring

    def _answer_over_tokens(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._answered(q, held, self.scoring(mask, grid, position=self.position))

    def _answer(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        return self._answered(q, held, self.scoring(mask, grid, position=None))

    def _answered(self, q: Tensor, held: Mapping[str, Tensor], scoring: Scoring) -> Tensor:
        scoring = self.of_representatives(scoring, self._representatives)
        return joined(shared_output(q, self._read(held["key"]), held["value"], self._of_head, scoring), self.output, scoring)
