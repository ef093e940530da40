"""How scores become weights: the mask, the bias, the scale and the soft-cap of one attention call, lowered block by block.

Every core takes the same `Scoring`, so a rule means the same on each of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attending.attention.grid import Grid
from attending.attention.rules import Mask

ScoreBias: TypeAlias = Tensor | Callable[[Grid], Tensor]
"""Added to the scores: `Float[Tensor, "batch head query key"]` (axes of one broadcast), or what makes it for a grid."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """weights = softmax(softcap(q · k × scale) + bias) over the keys that the mask lets a query see.

    A bias of −inf hides, too. `dropout` is the share of weights dropped; mechanisms pass 0 in eval.
    """

    mask: Mask
    grid: Grid
    scale: float
    bias: ScoreBias | None = None
    softcap: float | None = None
    dropout: float = 0.0

    def rows(self, start: int, stop: int) -> "Scoring":
        """The same rules for queries `start` to `stop`."""
        bias = self.bias
        if isinstance(bias, Tensor) and bias.shape[2] > 1:
            bias = bias[:, :, start:stop]
        return replace(self, grid=self.grid.rows(start, stop), bias=bias)

    def columns(self, start: int, stop: int) -> "Scoring":
        """The same rules for keys `start` to `stop`."""
        if start == 0 and stop == self.grid.n_key:
            return self
        bias = self.bias
        if isinstance(bias, Tensor) and bias.shape[3] > 1:
            bias = bias[..., start:stop]
        return replace(self, grid=self.grid.columns(start, stop), bias=bias)

    def samples(self, start: int, stop: int) -> "Scoring":
        """The same rules for samples `start` to `stop` of the batch."""
        bias = self.bias
        if isinstance(bias, Tensor) and bias.shape[0] > 1:
            bias = bias[start:stop]
        return replace(self, grid=self.grid.samples(start, stop), mask=self.mask.samples(start, stop), bias=bias)

    @property
    def learns_bias(self) -> bool:
        """Whether gradients must reach the bias."""
        if isinstance(self.bias, Tensor):
            return self.bias.requires_grad
        return self.bias is not None and getattr(self.bias, "is_learned", False)

    @property
    def rows_see_something(self) -> bool:
        """Whether every row is sure to see at least one key."""
        if isinstance(self.bias, Tensor):
            return False
        rules = self.mask.rules
        return (not rules and self.grid.n_key > 0) or (self.grid.is_square and self.mask.sees_itself)

    def additive(self, dtype: torch.dtype) -> tuple[Float[Tensor, "..."] | None, Bool[Tensor, "..."] | None]:
        """What is added to the scores (−inf: hidden), and which rows see anything (None: all do).

        Rows that see nothing get 0 everywhere, so that their softmax is finite; the core must set their output to 0.
        """
        seen = self.mask.seen(self.grid)
        added = None
        if seen is not None:
            added = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
        if self.bias is not None:
            bias = self.bias if isinstance(self.bias, Tensor) else self.bias(self.grid)
            added = bias.to(dtype) if added is None else added + bias.to(dtype)
        if added is None or self.rows_see_something:
            return added, None
        alive = (added > -torch.inf).any(dim=-1, keepdim=True)
        return torch.where(alive, added, 0.0), alive

    def alive(self) -> Bool[Tensor, "batch_or_one query 1"] | None:
        """Which queries see anything in any head; None: all do."""
        alive = self.additive(torch.float32)[1]
        return None if alive is None else alive.any(dim=1)
