"""Global tokens of a window: which they are, what the rules about them are, how their rows and columns are taken apart, and
how a few rows are answered without keys and values of their own.

Sizes depend on how many are asked for, not on where they stand, so that samples of a batch can differ.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.attention.core import mixed_by, note
from attending.attention.grid import Grid, Places, places_tensor
from attending.attention.rules import AnyOf, Mask, Seen, Window
from attending.attention.scoring import ScoreBias, Scoring
from attending.attention.tables import KeepKeys

_ABSENT = -(1 << 40)
"""Where a global token stands that is not there: out of reach of every distance."""


@dataclass(frozen=True)
class Near(Mask):
    """What a token may see at all: its window, the global tokens, and everything if it is global itself."""

    window: Window
    is_global: Bool[Tensor, "batch_or_one seq"]

    def seen(self, grid: Grid) -> Seen | None:
        near = AnyOf((self.window, KeepKeys(self.is_global))).seen(grid)
        index = places_tensor(grid.query, grid.device).expand(self.is_global.shape[0], -1)
        return None if near is None else near | self.is_global.gather(1, index)[:, None, :, None]

    @property
    def sees_itself(self) -> bool:
        return True

    @property
    def measures_distance(self) -> bool:
        return True


@dataclass(frozen=True)
class Far(Mask):
    """What lies outside the window; never a global token that is not there."""

    before: int
    after: int

    def seen(self, grid: Grid) -> Seen:
        distance = grid.distance()[:, None]
        return ((distance > self.before) | (distance < -self.after)) & (distance < -_ABSENT // 2)

    @property
    def measures_distance(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Globals:
    """The global tokens of each sample: where they stand, which of them are there, and the same by token."""

    index: Int[Tensor, "batch global"]
    valid: Bool[Tensor, "batch global"]
    by_token: Bool[Tensor, "batch_or_one seq"]

    def of(self, tensor: Tensor, axis: int) -> Tensor:
        """Their entries along an axis of a tensor whose first axis is the batch."""
        shape = [1] * tensor.dim()
        shape[0], shape[axis] = self.index.shape
        wide = [*tensor.shape]
        wide[0], wide[axis] = self.index.shape
        return tensor.expand(self.index.shape[0], *tensor.shape[1:]).gather(axis, self.index.view(shape).expand(wide))


def globals_among(
    batch: int, n: int, kept: Tensor | None, *, given: Tensor | None, n_global: int, device: torch.device
) -> Globals | None:
    """The tokens named, or the first real ones; None where no sample has any."""
    if given is not None:
        by_token = given if kept is None else given & kept
        count = int(by_token.sum(dim=1).max()) if by_token.numel() else 0
    else:
        kept = torch.ones(1, n, dtype=torch.bool, device=device) if kept is None else kept
        by_token = kept & (kept.cumsum(dim=1) <= n_global)
        count = min(n_global, n)
    if count == 0:
        return None
    index = by_token.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    valid = by_token.gather(1, index).expand(batch, -1)
    return Globals(index=index.expand(batch, -1), valid=valid, by_token=by_token)


def grids_of(chosen: Globals, grid: Grid) -> tuple[Grid, Grid]:
    """The scores of all tokens over the global ones, and of the global ones over all."""
    places = places_tensor(grid.query, grid.device)
    query_count = places if grid.query_count is None else grid.query_count
    key_count = places if grid.key_count is None else grid.key_count
    theirs = chosen.of(key_count, 1)
    over_global = replace(grid, key=chosen.index, query_count=query_count, key_count=torch.where(chosen.valid, theirs, _ABSENT))
    return over_global, replace(grid, query=chosen.index, query_count=chosen.of(query_count, 1), key_count=key_count)


def places_of(chosen: Globals, places: Places) -> Places:
    return chosen.index if isinstance(places, range) else chosen.of(places, 1)


def bias_of(chosen: Globals, bias: ScoreBias, axis: int) -> ScoreBias:
    """The bias of the global rows (axis 2) or columns (axis 3)."""
    return chosen.of(bias, axis) if isinstance(bias, Tensor) and bias.shape[axis] > 1 else bias


def overwritten(ordinary: Tensor, own: Tensor, chosen: Globals, axis: int) -> Tensor:
    """The rows of global tokens from their own projections; slots without a token leave what stands there."""
    shape = [1] * own.dim()
    shape[0], shape[axis] = chosen.index.shape
    index = chosen.index.view(shape).expand(own.shape)
    return ordinary.scatter(axis, index, torch.where(chosen.valid.view(shape), own, ordinary.gather(axis, index)))


def absorbed_output(
    q: Float[Tensor, "batch head global dim"],
    tokens: Float[Tensor, "batch key token"],
    key: nn.Linear,
    value: nn.Linear,
    scoring: Scoring,
) -> Float[Tensor, "batch head global value"]:
    """Answers of a few rows from the tokens themselves, for keys and values that are projected and nothing more.

    q·(W x + b) is (qᵀ[W b])·[x 1], and Σ p (W x + b) is [W b] Σ p [x 1]: queries are taken to the tokens and the tokens' means
    to values. The 1 beside each token carries the biases, also where weights are dropped or a row sees nothing.
    """
    note("absorbed", expanded="keys and values of all tokens for so few rows take more products")
    keys, values = (_by_kv_head(layer, q.shape[3]) for layer in (key, value))
    if key.bias is not None:
        tokens = torch.cat([tokens, tokens.new_ones(*tokens.shape[:2], 1)], dim=2)
    means = mixed_by(_through(q, keys), tokens[:, None], tokens[:, None], scoring)
    return _through(means, values.mT)


def written_over(
    ordinary: Float[Tensor, "batch head seq value"], own: Float[Tensor, "batch head global value"], chosen: Globals
) -> Float[Tensor, "batch head seq value"]:
    """`overwritten` for the heads; without gradients in their place, because one row is no reason to copy all."""
    if torch.is_grad_enabled():
        return overwritten(ordinary, own, chosen, 2)
    index = chosen.index[:, None, :, None].expand(own.shape)
    return ordinary.scatter_(2, index, torch.where(chosen.valid[:, None, :, None], own, ordinary.gather(2, index)))


def _by_kv_head(layer: nn.Linear, width: int) -> Float[Tensor, "kv_head dim token"]:
    """The matrix of each KV head, its bias as one more column."""
    whole = layer.weight if layer.bias is None else torch.cat([layer.weight, layer.bias[:, None]], dim=1)
    return whole.unflatten(0, (-1, width))


def _through(
    heads: Float[Tensor, "batch head row one"], matrices: Float[Tensor, "kv_head one two"]
) -> Float[Tensor, "batch head row two"]:
    """Each head times the matrix of its KV head."""
    (batch, n_heads, n_rows, _), n_kv_heads = heads.shape, len(matrices)
    # [batch, head, row, one] → [kv head, batch × fold × row, one], and back
    folded = heads.unflatten(1, (n_kv_heads, n_heads // n_kv_heads)).transpose(0, 1).flatten(1, 3)
    taken = torch.bmm(folded, matrices).unflatten(1, (batch, n_heads // n_kv_heads, n_rows))
    return taken.transpose(0, 1).flatten(1, 2)


def alive_with(local: Scoring, far: Scoring, own: Scoring, chosen: Globals) -> Bool[Tensor, "batch seq 1"] | None:
    """Which tokens see anything; None: all do."""
    near = local.alive()
    beyond = None if near is None else far.alive()
    if near is None or beyond is None:
        return None
    ordinary, of_global = (near | beyond).expand(len(chosen.index), -1, -1), own.alive()
    return ordinary if of_global is None else overwritten(ordinary, of_global.expand(len(chosen.index), -1, -1), chosen, 1)
