"""How scores become weights: the mask, the biases, the scale and the soft-cap of one attention call, lowered block by block.

Every core takes the same `Scoring`, so a rule means the same on each of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.errors import AttentionError
from attending.attention.grid import Grid
from attending.attention.rules import Mask

ScoreBias: TypeAlias = Tensor | Callable[[Grid], Tensor]
"""Added to the scores: `Float[Tensor, "batch head query key"]` (axes of one broadcast), or what makes it for a grid."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """weights = softmax(softcap(q · k × scale) + biases) over the keys that the mask lets a query see.

    A bias of −inf hides, too. `dropout` is the share of weights dropped; mechanisms pass 0 in eval.
    """

    mask: Mask
    grid: Grid
    scale: float
    biases: tuple[ScoreBias, ...] = ()
    softcap: float | None = None
    dropout: float = 0.0

    def rows(self, start: int, stop: int) -> "Scoring":
        """The same rules for queries `start` to `stop`."""
        if start == 0 and stop == self.grid.n_query:
            return self
        return replace(self, grid=self.grid.rows(start, stop), biases=self._cut(2, slice(start, stop)))

    def columns(self, start: int, stop: int) -> "Scoring":
        """The same rules for keys `start` to `stop`."""
        if start == 0 and stop == self.grid.n_key:
            return self
        return replace(self, grid=self.grid.columns(start, stop), biases=self._cut(3, slice(start, stop)))

    def samples(self, chosen: slice) -> "Scoring":
        """The same rules for the chosen samples of the batch."""
        return replace(self, grid=self.grid.samples(chosen), mask=self.mask.samples(chosen), biases=self._cut(0, chosen))

    def pick_rows(self, rows: Int[Tensor, " row"]) -> "Scoring":
        """The same rules for the chosen queries, in the order given."""
        return replace(self, grid=self.grid.pick_rows(rows), biases=self._cut(2, rows))

    def also(self, bias: ScoreBias) -> "Scoring":
        """The same rules with one more bias."""
        return replace(self, biases=(*self.biases, bias))

    @property
    def learns_bias(self) -> bool:
        """Whether gradients must reach a bias."""
        return torch.is_grad_enabled() and any(
            bias.requires_grad if isinstance(bias, Tensor) else getattr(bias, "is_learned", False) for bias in self.biases
        )

    @property
    def rows_see_something(self) -> bool:
        """Whether every row is sure to see at least one key."""
        if any(isinstance(bias, Tensor) for bias in self.biases):
            return False
        start, stop = self.mask.surely_seen(self.grid)
        return start < stop or (self.grid.is_square and self.mask.sees_itself)

    @property
    def columns_of_every_row(self) -> tuple[int, int] | None:
        """Columns `start` to `stop` where every row sees these and no others; None: rows may differ, or a bias may hide."""
        seen = self.mask.surely_seen(self.grid)
        return seen if seen[0] < seen[1] and not self.biases and seen == self.mask.span(self.grid) else None

    def additive(self, dtype: torch.dtype) -> tuple[Float[Tensor, "..."] | None, Bool[Tensor, "..."] | None]:
        """What is added to the scores (−inf: hidden), and which rows see anything (None: all do).

        Both broadcast to [batch, head, query, key]. Rows that see nothing get 0 everywhere, so that their softmax is finite;
        the core must set their output to 0.
        """
        seen = self.mask.seen(self.grid)
        added = None
        if seen is not None:
            added = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
        for bias in self.biases:
            one = (bias if isinstance(bias, Tensor) else bias(self.grid)).to(dtype)
            added = one if added is None else added + one
        if added is None or self.rows_see_something:
            return added, None
        alive = (added > -torch.inf).any(dim=-1, keepdim=True)
        return torch.where(alive, added, 0.0), alive

    def alive(self) -> Bool[Tensor, "batch_or_one query 1"] | None:
        """Which queries see anything in any head; None: all do."""
        if self.rows_see_something:
            return None
        blocks = [self.rows(start, min(start + 1024, self.grid.n_query)) for start in range(0, self.grid.n_query, 1024)]
        blocks = [block.columns(*block.mask.span(block.grid)) for block in blocks]
        alive = [block.additive(torch.float32)[1] for block in blocks]
        known = [
            rows.any(dim=1).expand(-1, block.grid.n_query, -1)
            for rows, block in zip(alive, blocks, strict=True)
            if rows is not None
        ]
        return torch.cat(known, dim=1) if known and len(known) == len(blocks) else None

    def _cut(self, axis: int, index: slice | Tensor) -> tuple[ScoreBias, ...]:
        """The biases with one axis of their tensors cut; axes of one stay."""
        chosen = (slice(None),) * axis + (index,)
        return tuple(bias[chosen] if isinstance(bias, Tensor) and bias.shape[axis] > 1 else bias for bias in self.biases)


def check_bias(bias: ScoreBias | None, *, batch: int, n_heads: int, n_query: int, n_key: int) -> tuple[ScoreBias, ...]:
    """The bias as a tuple of none or one; raises where a tensor is not [batch, head, query, key] or axes of one."""
    if bias is None:
        return ()
    expected = (batch, n_heads, n_query, n_key)
    if isinstance(bias, Tensor):
        if not bias.is_floating_point():
            raise AttentionError(f"bias: found {bias.dtype}, expected numbers added to the scores; a mask goes to mask=keep(…)")
        if bias.dim() != 4 or any(found not in (1, wanted) for found, wanted in zip(bias.shape, expected, strict=True)):
            raise AttentionError(f"bias: found shape {tuple(bias.shape)}, expected {expected}, where any axis may be 1")
    return (bias,)
