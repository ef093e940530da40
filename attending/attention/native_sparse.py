"""Native sparse attention (NSA: Yuan et al. 2025, arXiv 2502.11089, section 3): compressed, selected and near keys, gated.

Three branches share the queries and have keys and values of their own, as in the paper: runs of tokens pooled into one key each
by a small network, the tokens of a few blocks picked by the weights on those runs (one choice for all heads of a KV group), and
a sliding window. Each head adds them up by three sigmoid gates of the token. Positions turn the selected and the near keys; a
run is not turned, the network knows the places in it. A run is seen by who sees all of it, so that any mask means what it says.
Self-attention only: windows and blocks count places, and a context's tokens stand elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from attending.attention.block_choice import (
    Picked,
    RunPooling,
    importance,
    keys_of,
    ordered,
    over,
    pick,
    put_back,
    read_copied,
    read_gathered,
    read_hiding,
    seen_keys,
    side_by_side,
    some_seen,
    taken,
    whole_seen,
)
from attending.attention.blocks import window_output
from attending.attention.core import joined, note
from attending.attention.errors import AttentionError
from attending.attention.grid import Places, aligned, places_tensor
from attending.attention.heads import HeadedAttention
from attending.attention.inspection import check_rows, weights_by
from attending.attention.masks import real_keys
from attending.attention.mechanism import Cache, prepare
from attending.attention.native_sparse_cache import NativeSparseCache
from attending.attention.native_sparse_shape import FEW_QUERIES, NativeSparseShape
from attending.attention.packing import can_pack, of_real, packing_under
from attending.attention.positions import RotaryConfig
from attending.attention.projection import Projection
from attending.attention.rules import Mask, Window
from attending.attention.scoring import ScoreBias, Scoring
from attending.attention.shared import dropped, mixed_by_head
from attending.attention.steps import Step, finished, mixed, step, weighed
from attending.attention.stored import Stored, Tokens

_HELD_AT_ONCE = 8 << 20
"""Numbers held at once: rows are taken a few at a time, so that memory does not grow with their number."""


@dataclass(frozen=True, kw_only=True)
class NativeSparseConfig(NativeSparseShape):
    """See `NativeSparseShape`. Short sequences and narrow heads want smaller sizes than the paper's, which are the defaults.

    Without a causal mask a query may see runs and pick blocks behind it, too; its window has two sides where `after` says so.
    """

    def build(self) -> "NativeSparseAttention":
        return NativeSparseAttention(self)


class Asked(NamedTuple):
    """Queries as they meet runs, the same turned by their places as they meet tokens, and the gates of each branch."""

    plain: Float[Tensor, "batch head query dim"]
    turned: Float[Tensor, "batch head query dim"]
    gates: Float[Tensor, "branch batch head query 1"]

    def rows(self, chosen: slice | Tensor) -> "Asked":
        """The same for the chosen queries."""
        return Asked(self.plain[:, :, chosen], self.turned[:, :, chosen], self.gates[:, :, :, chosen])


class NativeSparseAttention(HeadedAttention):
    """See `NativeSparseConfig`. Masks may not differ by head, and a bias over single tokens is refused."""

    config: NativeSparseConfig

    def __init__(self, config: NativeSparseConfig) -> None:
        super().__init__(config, source_dim=config.dim, n_queries=config.n_heads, n_keys=config.kv_heads)
        width = config.kv_heads * config.width
        self.window_key, self.window_value, self.run_key, self.run_value = (
            Projection(config.dim, width, bias=config.bias) for _ in range(4)
        )
        self.key_pooling, self.value_pooling = (
            RunPooling(config.runs, width=config.width, hidden=config.pooled_dim) for _ in range(2)
        )
        self.gate = Projection(config.dim, 3 * config.n_heads)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        _check(context, bias)
        if can_pack(mask, aligned(x.shape[1], x.shape[1], x.device)):
            # Tokens that are not there give 0; with the others together a window is a band.
            packing = packing_under(mask, x)
            positions = None if positions is None else packing.of(positions)
            return packing.back(self.forward(packing.of(x), mask=packing.rules(mask), positions=positions))
        asked, held, scoring, order = self._looked_up(x, mask=mask, context=context, positions=positions, bias=bias)
        key, value = (held[name] if order is None else taken(held[name], order) for name in ("key", "value"))
        tokens = Tokens(Stored.plain(key), Stored.plain(value))
        return self.answer(asked, held, tokens, ordered(scoring, order), near=scoring)

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
        """Shares by the gates of the branches that see anything; what goes to a run is spread evenly over its tokens."""
        asked, held, scoring, order = self._looked_up(x, mask=mask, context=context, positions=positions, bias=bias)
        if rows is not None:
            chosen = check_rows(rows, x.shape[1], x.device)
            asked, scoring = asked.rows(chosen), scoring.pick_rows(chosen)
        of_order = ordered(scoring, order)
        compressed = self._over_runs(asked, held["run_key"], of_order)
        read = self._read(self._picked(compressed, of_order), of_order, order)
        selected = weights_by(asked.turned, held["key"], over(read, scoring))
        near = weights_by(asked.turned, held["window_key"], self._near(scoring))
        return self._shares(asked.gates, (compressed, selected, near), order)

    def steps(
        self,
        x: Float[Tensor, "batch query dim"],
        *,
        mask: Mask,
        context: Float[Tensor, "batch key context"] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        bias: ScoreBias | None = None,
    ) -> Iterator[Step]:
        asked, held, scoring, order = self._looked_up(x, mask=mask, context=context, positions=positions, bias=bias)
        of_order, is_turned = ordered(scoring, order), isinstance(self.config.position, RotaryConfig)
        yield step("queries", asked.plain, "batch head query dim", "projected; they meet the runs")
        if is_turned:
            yield step("rotated queries", asked.turned, "batch head query dim", "turned; they meet the keys")
        for name, prefix, key in BRANCHES:
            told = f"runs of {self.config.run}, pooled" if key == "run" else "projected"
            turned = ", turned" if key == "key" and is_turned else ""
            yield step(f"{name} keys", held[f"{prefix}key"], f"batch kv_head {key} dim", told + turned)
            yield step(f"{name} values", held[f"{prefix}value"], f"batch kv_head {key} value", told)
        runs = over(whole_seen(of_order, self.config.runs), scoring)
        compressed = yield from weighed(
            asked.plain, held["run_key"], runs, of="compressed", key="run", weights="compressed weights"
        )
        important, picked = self._important(compressed.weights, of_order), self._picked(compressed.weights, of_order)
        yield step("importance", important, "batch kv_head query block", "weights on runs, by overlap")
        marked, told = picked.among(important.shape[3]), f"{self.config.n_selected} of those seen"
        yield step("picked", marked, "batch kv_head query block", told)
        tokens = over(self._read(picked, of_order, order), scoring)
        selected = yield from weighed(asked.turned, held["key"], tokens, of="selected", weights="selected weights")
        near = yield from weighed(asked.turned, held["window_key"], self._near(scoring), of="window", weights="window weights")
        found, heads = (compressed, selected, near), torch.zeros_like(asked.plain)
        if can_pack(mask, aligned(x.shape[1], x.shape[1], x.device)):
            found = (of_real(compressed, mask), of_real(selected, mask), of_real(near, mask))
        yield step("gates", asked.gates.squeeze(-1), "branch batch head query", "sigmoids, one a branch")
        shares = self._shares(asked.gates, tuple(one.weights for one in found), order)
        yield step("weights", shares, "batch head query key", "shares by the gates")
        for gate, (name, prefix, _), one in zip(asked.gates, BRANCHES, found, strict=True):
            heads = heads + gate * (yield from mixed(one.weights, held[f"{prefix}value"], of=name))
        yield step("heads", heads, "batch head query value", "branches × gates, summed")
        yield from finished(heads, found[1].alive, self.output)

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
        """Tokens and pooled runs for ever, rings of the window and of the last run. `capacity` lets `crop` go further back."""
        _check(context, None)
        return NativeSparseCache(self, mask, batch=batch, dtype=dtype, device=device, capacity=capacity)

    def project_branches(self, x: Tensor, places: Places) -> tuple[Asked, dict[str, Tensor]]:
        """Queries and gates of tokens, and what is made of them for keys; runs are not pooled yet."""
        x = x if self.position is None else self.position.embed(x, places)
        return self._asked(x, places), self._made(x, places)

    def answer(self, asked: Asked, held: Mapping[str, Tensor], tokens: Tokens, scoring: Scoring, *, near: Scoring) -> Tensor:
        """The output: the branches times their gates. `near` is how the window's keys stand; the others stand in order."""
        reach = self.config.reach
        window = window_output(asked.turned, held["window_key"], held["window_value"], self._near(near), reach=reach)
        compressed, selected = self._far(asked, held, tokens, scoring)
        heads = asked.gates[0] * compressed + asked.gates[1] * selected + asked.gates[2] * window
        return joined(heads, self.output, scoring)

    def _looked_up(
        self, x: Tensor, *, mask: Mask, context: Tensor | None, positions: Tensor | None, bias: ScoreBias | None
    ) -> tuple[Asked, dict[str, Tensor], Scoring, Int[Tensor, "batch_or_one key"] | None]:
        """Queries, what they look into, how it is scored, and the order of the tokens that are there (None: as they stand).

        Tokens stand as given; runs are pooled over those that are there.
        """
        _check(context, bias)
        dims = (self.config.dim, self.config.dim)
        inputs = prepare(x, mask=mask, context=None, positions=positions, dims=dims, counts=True)
        asking, seen = (inputs.x, inputs.source) if self.position is None else self._embedded(inputs, self.position)
        dropout = self.config.dropout if self.training else 0.0
        scoring = self.scoring(mask, inputs.grid, position=self.position, dropout=dropout)
        real = real_keys(mask, inputs.grid)
        order = None if real is None else (~real).to(torch.int8).argsort(dim=1, stable=True)
        held = self._made(seen, inputs.positions)
        for name, pooling in (("run_key", self.key_pooling), ("run_value", self.value_pooling)):
            held[name] = pooling(held[name] if order is None else taken(held[name], order))
        return self._asked(asking, inputs.positions), held, scoring, order

    def _asked(self, x: Tensor, places: Places) -> Asked:
        plain = self._heads(self.query, x)
        turned = plain if self.position is None else self.position.rotate(plain, places)
        gates = self.gate(x).sigmoid().unflatten(-1, (3, -1)).permute(2, 0, 3, 1)[..., None]
        return Asked(plain, turned, gates)

    def _made(self, x: Tensor, places: Places) -> dict[str, Float[Tensor, "batch kv_head seq dim"]]:
        return {
            "key": self._turned(self.key, x, places),
            "value": self._heads(self.value, x),
            "window_key": self._turned(self.window_key, x, places),
            "window_value": self._heads(self.window_value, x),
            "run_key": self._heads(self.run_key, x),
            "run_value": self._heads(self.run_value, x),
        }

    def _far(self, asked: Asked, held: Mapping[str, Tensor], tokens: Tokens, scoring: Scoring) -> tuple[Tensor, Tensor]:
        """The compressed and the selected branch, a few rows at a time; in training each is computed again going back."""
        note("compressed", others="the weights on runs are what blocks are picked by")
        n_query, rows, copied = asked.plain.shape[2], self._rows_at_once(asked, held["run_key"], scoring), None
        if n_query > FEW_QUERIES or not self._gathers(n_query, scoring):
            tokens = tokens.read()  # most are read, and by many queries
            if self._gathers(n_query, scoring):
                copied = side_by_side(tokens.key.all(), self.config.block), side_by_side(tokens.value.all(), self.config.block)
        if rows >= n_query:
            return self._of_rows(asked, held, tokens, scoring, copied)
        parts = []
        for start in range(0, n_query, rows):
            of_rows = scoring.rows(start, min(start + rows, n_query))
            last = of_rows.mask.span(of_rows.grid)[1]
            runs = self.config.runs.whole(last)
            keys = {name: held[name][:, :, :runs] for name in ("run_key", "run_value")}
            given = (asked.rows(slice(start, start + rows)), keys, tokens.first(last), of_rows.columns(0, last), copied)
            learns = torch.is_grad_enabled()
            parts.append(checkpoint(self._of_rows, *given, use_reentrant=False) if learns else self._of_rows(*given))
        compressed, selected = zip(*parts, strict=True)
        return torch.cat(compressed, dim=2), torch.cat(selected, dim=2)

    def _gathers(self, n_query: int, scoring: Scoring) -> bool:
        """Whether picked blocks are read alone; in training the others are hidden: going back through copies is slower."""
        return not torch.is_grad_enabled() and scoring.dropout == 0.0 and self.config.gathers(n_query, scoring.grid.n_key)

    def _of_rows(
        self,
        asked: Asked,
        held: Mapping[str, Tensor],
        tokens: Tokens,
        scoring: Scoring,
        copied: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """Both branches of some rows. `copied`: keys and values of the picked branch side by side, where they are copied."""
        weights = self._over_runs(asked, held["run_key"], scoring)
        run_value = held["run_value"]
        compressed = mixed_by_head(dropped(weights, scoring.dropout).to(run_value.dtype), run_value)
        picked, seen, size = self._picked(weights, scoring), seen_keys(scoring), self.config.block
        if not self._gathers(asked.plain.shape[2], scoring):
            read = keys_of(picked, seen, self.config.blocks)
            return compressed, read_hiding(asked.turned, tokens.key.all(), tokens.value.all(), read, scoring)
        if copied is None:
            return compressed, read_gathered(asked.turned, *tokens, picked, seen=seen, scoring=scoring, size=size)
        return compressed, read_copied(asked.turned, *copied, picked, seen=seen, scoring=scoring, size=size)

    def _over_runs(self, asked: Asked, run_key: Tensor, scoring: Scoring) -> Float[Tensor, "batch head query run"]:
        """Weights on the runs that a query sees the whole of; in 32 bits at least, because blocks are picked by them."""
        precise = torch.promote_types(run_key.dtype, torch.float32)
        runs = over(whole_seen(scoring, self.config.runs), scoring)
        return weights_by(asked.plain.to(precise), run_key.to(precise), runs)

    def _important(self, compressed: Tensor, scoring: Scoring) -> Float[Tensor, "batch kv_head query block"]:
        n_key, blocks = scoring.grid.n_key, self.config.blocks
        return importance(compressed, self.config.runs, blocks, n_groups=self.config.kv_heads, n_blocks=blocks.begun(n_key))

    def _picked(self, compressed: Tensor, scoring: Scoring) -> Picked:
        """What each group of heads reads, by its weights on the runs."""
        config, grid = self.config, scoring.grid
        place = places_tensor(grid.query_place, grid.device) if grid.query_count is None else grid.query_count
        seen, important = some_seen(scoring, config.blocks), self._important(compressed, scoring)
        numbers = {"n": config.n_selected, "n_first": config.n_first, "n_local": config.n_local}
        return pick(important, seen, place // config.block, **numbers)

    def _read(self, picked: Picked, scoring: Scoring, order: Tensor | None) -> Bool[Tensor, "batch head query key"]:
        """Which tokens each head reads, as they stand."""
        read = keys_of(picked, seen_keys(scoring), self.config.blocks)
        return put_back(read, order).repeat_interleave(self.config.n_heads // self.config.kv_heads, dim=1)

    def _near(self, scoring: Scoring) -> Scoring:
        return replace(scoring, mask=scoring.mask & Window(*self.config.reach))

    def _shares(self, gates: Tensor, found: tuple[Tensor, ...], order: Tensor | None) -> Float[Tensor, "batch head query key"]:
        """How much of a head's answer comes from each key, over the branches by their gates."""
        compressed, selected, near = found
        spread = put_back(self.config.runs.spread(compressed, selected.shape[3]), order).to(selected.dtype)
        mass = gates[0] * spread + gates[1] * selected + gates[2] * near
        total = mass.sum(dim=-1, keepdim=True)
        return mass / torch.where(total > 0, total, 1.0)

    def _rows_at_once(self, asked: Asked, run_key: Tensor, scoring: Scoring) -> int:
        (batch, n_heads), n_key, groups = asked.plain.shape[:2], scoring.grid.n_key, self.config.kv_heads
        per_row = batch * (3 * n_heads * run_key.shape[2] + (groups + 1) * n_key)
        return max(_HELD_AT_ONCE // max(per_row, 1), 1)


BRANCHES = (("compressed", "run_", "run"), ("selected", "", "key"), ("window", "window_", "key"))
"""Each branch, what its keys and values are held under, and what one of them stands for."""


def _check(context: Tensor | None, bias: ScoreBias | None) -> None:
    if context is not None:
        raise AttentionError(
            "native sparse: found a context, and windows and blocks count places, which a context's tokens do not share; for "
            "cross-attention take grouped or latent, for self-attention write context=None"
        )
    if bias is not None:
        raise AttentionError(
            "native sparse: found a bias over single keys, and it scores runs that mix them; write bias=None, or take grouped"
        )
