"""Sliding-window attention with global tokens (Longformer: Beltagy et al. 2020, arXiv 2004.05150, section 3).

Each token sees `before` tokens before and `after` tokens after itself; global tokens see all and are seen by all. The rows of
global tokens have projections of their own, copied from the ordinary ones at the start; an ordinary row sees a global key
through the ordinary projection. Cost and memory are linear in length. A Longformer window of w is before = after = w // 2, a
Mistral window of w is (w − 1, 0). Self-attention only: a window counts places, and a context's tokens stand elsewhere.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.blocks import Extra, window_output
from attending.attention.buffers import Memory
from attending.attention.caching import memory_over_tokens
from attending.attention.core import joined, mixed_by, note
from attending.attention.errors import AttentionError, describe
from attending.attention.global_tokens import (
    Far,
    Globals,
    Near,
    absorbed_output,
    alive_with,
    bias_of,
    globals_among,
    grids_of,
    places_of,
    written_over,
)
from attending.attention.grid import Grid, Places, aligned
from attending.attention.heads import HeadedAttention
from attending.attention.inspection import weights_by
from attending.attention.masks import present
from attending.attention.mechanism import Cache, Inputs, prepare
from attending.attention.packing import can_pack, of_real, packing_under
from attending.attention.rules import AnyOf, Mask, Window
from attending.attention.scoring import ScoreBias, Scoring, check_bias
from attending.attention.steps import Step, Weighed, finished, mixed, step, weighed
from attending.attention.tables import KeepKeys
from attending.attention.windowed_cache import RingCache, WindowedCache
from attending.attention.windowed_shape import WindowedShape


@dataclass(frozen=True, kw_only=True)
class WindowedConfig(WindowedShape):
    """See `WindowedShape`."""

    def build(self) -> "WindowedAttention":
        return WindowedAttention(self)


class WindowedAttention(HeadedAttention):
    """See `WindowedConfig`."""

    config: WindowedConfig

    def __init__(self, config: WindowedConfig) -> None:
        super().__init__(config, source_dim=config.dim, n_queries=config.n_heads, n_keys=config.kv_heads)
        if config.n_global:
            self.global_query = copy.deepcopy(self.query)
            self.global_key = copy.deepcopy(self.key)
            self.global_value = copy.deepcopy(self.value)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
        global_tokens: Bool[Tensor, "batch query"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """As in the contract. `global_tokens` True: these are global, instead of the first `n_global`.

        With keep_keys the output of tokens that are not there means nothing.
        """
        self._check(x, context, global_tokens)
        if self._packs(x, mask, bias):
            return self._packed(x, mask=mask, positions=positions, global_tokens=global_tokens)
        return self._over_tokens(x, mask=mask, positions=positions, bias=bias, global_tokens=global_tokens)

    def weights(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
        rows: Sequence[int] | None = None,
        global_tokens: Bool[Tensor, "batch query"] | None = None,
    ) -> Float[Tensor, "batch head row key"]:
        self._check(x, context, global_tokens)
        inputs, chosen, biases = self._cleaned(x, mask=mask, positions=positions, bias=bias, global_tokens=global_tokens)
        asking, tokens, places = self._asking(inputs)
        scoring = self.scoring(mask & self._near(chosen), inputs.grid, biases, position=self.position)
        q, k = self._turned(self.query, asking, places), self._turned(self.key, tokens, places)
        weights = weights_by(q, k, scoring, rows=rows)
        if chosen is None:
            return weights
        q, k = self._turned(self.global_query, asking, places), self._turned(self.global_key, tokens, places)
        of_global = weights_by(q, k, replace(scoring, mask=mask), rows=rows)
        is_global = chosen.by_token if rows is None else chosen.by_token[:, list(rows)]
        return torch.where(is_global[:, None, :, None], of_global, weights)

    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
        global_tokens: Bool[Tensor, "batch query"] | None = None,
    ) -> Iterator[Step]:
        self._check(x, context, global_tokens)
        inputs, chosen, biases = self._cleaned(x, mask=mask, positions=positions, bias=bias, global_tokens=global_tokens)
        asking, tokens, places = self._asking(inputs)
        scoring = self.scoring(mask & self._near(chosen), inputs.grid, biases, position=self.position)
        q = yield from self._turning("queries", "batch head query dim", self.query, asking, places=places)
        k = yield from self._turning("keys", "batch kv_head key dim", self.key, tokens, places=places)
        v = self._heads(self.value, tokens)
        yield step("values", v, "batch kv_head key value", "projected, split into heads")
        if chosen is None:
            found = yield from weighed(q, k, scoring)
            found = of_real(found, mask) if self._packs(x, mask, bias) else found
            heads = yield from mixed(found.weights, v)
            yield from finished(heads, found.alive, self.output)
            return
        local = yield from weighed(q, k, scoring, of="local", weights="local weights")
        yield step("global tokens", chosen.by_token, "batch query", "see all; own projections")
        q = yield from self._turning("global queries", "batch head query dim", self.global_query, asking, places=places)
        k = yield from self._turning("global keys", "batch kv_head key dim", self.global_key, tokens, places=places)
        v_global = self._heads(self.global_value, tokens)
        yield step("global values", v_global, "batch kv_head key value", "what global rows take")
        own = yield from weighed(q, k, replace(scoring, mask=mask), of="global", weights="global weights")
        is_global = chosen.by_token[:, None, :, None]
        found = Weighed(
            torch.where(is_global, own.weights, local.weights), torch.where(is_global[..., 0], own.alive, local.alive)
        )
        found = of_real(found, mask) if self._packs(x, mask, bias) else found
        yield step("weights", found.weights, "batch head query key", "global ones in global rows")
        ordinary = yield from mixed(found.weights, v, of="local")
        of_global = yield from mixed(found.weights, v_global, of="global")
        heads = torch.where(is_global, of_global, ordinary)
        yield step("heads", heads, "batch head query value", "global ones in global rows")
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
        """A ring of the window and, for ever, the global tokens. A larger `capacity` lets `crop` go further back."""
        _check_context(context)
        weight = self.key.weight
        memory = memory_over_tokens(
            self.config.remembered,
            mask & Window(*self.config.reach),
            batch=batch,
            weight=weight,
            dtype=dtype,
            device=device,
            capacity=capacity,
        )
        if self.config.n_global == 0:
            return RingCache(memory, mask, dim=self.config.dim, project=self.project, answer=self.answer)
        ever = Memory(
            self.config.remembered_of_global,
            batch=batch,
            dtype=weight.dtype if dtype is None else dtype,
            reads_as=weight.dtype,
            device=memory.device,
            capacity=self.config.n_global,
        )
        return WindowedCache(self, memory, ever, mask)

    def _check(self, x: Tensor, context: Tensor | None, global_tokens: Tensor | None) -> None:
        _check_context(context)
        if global_tokens is None:
            return
        if self.config.n_global == 0:
            raise AttentionError("global_tokens: this layer has no projections for them; build it with n_global=1 or more")
        if global_tokens.dtype != torch.bool or global_tokens.shape != x.shape[:2]:
            raise AttentionError(f"global_tokens: found {describe(global_tokens)}, expected boolean {tuple(x.shape[:2])}")

    def _near(self, chosen: Globals | None) -> Mask:
        """What an ordinary token may see at all."""
        near = Window(*self.config.reach)
        return near if chosen is None else AnyOf((near, KeepKeys(chosen.by_token)))

    def _packs(self, x: Tensor, mask: Mask, bias: ScoreBias | None) -> bool:
        """Whether the real tokens are moved together first."""
        return bias is None and can_pack(mask, aligned(x.shape[1], x.shape[1], x.device))

    def _packed(
        self, x: Tensor, *, mask: Mask, positions: Tensor | None, global_tokens: Tensor | None
    ) -> Float[Tensor, "batch query dim"]:
        """The same with the real tokens moved together, so that a window is a band again; tokens not there give 0."""
        packing = packing_under(mask, x)
        output = self._over_tokens(
            packing.of(x),
            mask=packing.rules(mask),
            positions=None if positions is None else packing.of(positions),
            bias=None,
            global_tokens=None if global_tokens is None else packing.of(global_tokens),
        )
        return packing.back(output)

    def _over_tokens(
        self,
        x: Tensor,
        *,
        mask: Mask,
        positions: Tensor | None,
        bias: ScoreBias | None,
        global_tokens: Tensor | None,
    ) -> Float[Tensor, "batch query dim"]:
        inputs, chosen, biases = self._cleaned(x, mask=mask, positions=positions, bias=bias, global_tokens=global_tokens)
        asking, tokens, places = self._asking(inputs)
        dropout = self.config.dropout if self.training else 0.0
        q, k = self._turned(self.query, asking, places), self._turned(self.key, tokens, places)
        v = self._heads(self.value, tokens)
        scoring = self.scoring(mask & Window(*self.config.reach), inputs.grid, biases, position=self.position, dropout=dropout)
        if chosen is None:
            return joined(window_output(q, k, v, scoring, reach=self.config.reach), self.output, scoring)
        far_grid, own_grid = grids_of(chosen, inputs.grid)
        of_far = tuple(bias_of(chosen, bias, 3) for bias in scoring.biases)
        far = replace(scoring, mask=mask & Far(*self.config.reach), grid=far_grid, biases=of_far)
        extra = Extra(k=chosen.of(k, 2), v=chosen.of(v, 2), scoring=far)
        ordinary = window_output(q, k, v, scoring, reach=self.config.reach, extra=extra)
        own = replace(scoring, mask=mask, grid=own_grid, biases=tuple(bias_of(chosen, bias, 2) for bias in scoring.biases))
        of_global = self._of_global(chosen, asking, tokens, places, own)
        result = self.output(written_over(ordinary, of_global, chosen).transpose(1, 2).flatten(2))
        alive = alive_with(scoring, far, own, chosen) if self.config.output_bias else None
        return result if alive is None else torch.where(alive, result, 0.0)

    def _of_global(
        self, chosen: Globals, asking: Tensor, tokens: Tensor, places: Places, scoring: Scoring
    ) -> Float[Tensor, "batch head global value"]:
        """What the heads of global tokens answer."""
        q = self._turned(self.global_query, chosen.of(asking, 1), places_of(chosen, places))
        why_not = self.config.why_not_absorbed(q.shape[2], tokens.shape[1])
        if not why_not:
            return absorbed_output(q, tokens, self.global_key, self.global_value, scoring)
        note("expanded", absorbed=why_not)
        k, v = self._turned(self.global_key, tokens, places), self._heads(self.global_value, tokens)
        return mixed_by(q, k, v, scoring)

    def _cleaned(
        self,
        x: Tensor,
        *,
        mask: Mask,
        positions: Tensor | None,
        bias: ScoreBias | None,
        global_tokens: Tensor | None,
    ) -> tuple[Inputs, Globals | None, tuple[ScoreBias, ...]]:
        """Clean tokens, the global ones among them, and the biases."""
        batch, n = x.shape[0], x.shape[1]
        chosen, window = None, Window(*self.config.reach)
        if self.config.n_global:
            mask.check(batch=batch, n_query=n, n_key=n)
            kept = present(mask, aligned(n, n, x.device))
            chosen = globals_among(batch, n, kept, given=global_tokens, n_global=self.config.n_global, device=x.device)
        near = window if chosen is None else Near(window, chosen.by_token)
        dims = (self.config.dim, self.config.dim)
        counts = self.position is not None
        inputs = prepare(x, mask=mask & near, context=None, positions=positions, dims=dims, counts=counts)
        return inputs, chosen, check_bias(bias, batch=batch, n_heads=self.config.n_heads, n_query=n, n_key=n)

    def _asking(self, inputs: Inputs) -> tuple[Tensor, Tensor, Places]:
        """Tokens as they ask, as they are seen (0 where nobody may), and where they stand."""
        if self.position is None:
            return inputs.x, inputs.source, inputs.positions
        return *self._embedded(inputs, self.position), inputs.positions

    def project_global(self, x: Tensor, places: Places) -> tuple[Tensor, dict[str, Tensor]]:
        x = x if self.position is None else self.position.embed(x, places)
        keys, values = self._turned(self.global_key, x, places), self._heads(self.global_value, x)
        return self._turned(self.global_query, x, places), {"global_key": keys, "global_value": values}

    def answer(self, q: Tensor, held: Mapping[str, Tensor], mask: Mask, grid: Grid) -> Tensor:
        scoring = self.scoring(mask & Window(*self.config.reach), grid, position=self.position)
        return joined(window_output(q, held["key"], held["value"], scoring, reach=self.config.reach), self.output, scoring)


def _check_context(context: Tensor | None) -> None:
    if context is not None:
        raise AttentionError(
            "windowed: found a context, and a window counts places, which a context's tokens do not share; "
            "for cross-attention take grouped (or low rank), for self-attention write context=None"
        )
