"""Tokens that are there, moved together in front of those that are not, so that a window over them is a band again.

With holes between real tokens, or samples of a cache that stand at different places, a window reaches further in slots than it
counts in tokens, and each row would have to meet every key. No mechanism; what windows and their caches share.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.buffers import Memory, Ring
from attending.attention.grid import Grid, aligned
from attending.attention.masks import present, real_keys
from attending.attention.rules import Causal, Mask, Window
from attending.attention.steps import Weighed
from attending.attention.stored import Stored
from attending.attention.tables import KeepKeys, KeyRule, Padding

_ROWS = 128
"""Rows that meet the same keys where a window goes in blocks."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """The order with the tokens that are there in front, and which these are as they stood."""

    order: Int[Tensor, "batch seq"]
    kept: Bool[Tensor, "batch seq"]

    @property
    def there(self) -> Bool[Tensor, "batch seq"]:
        """Which are there, in the new order."""
        return self.of(self.kept)

    def of(self, given: Tensor) -> Tensor:
        """What belongs to tokens (axes batch or one, seq, …) in the new order."""
        rest = given.shape[2:]
        index = self.order.view(*self.order.shape, *(1 for _ in rest)).expand(-1, -1, *rest)
        return given.expand(len(self.order), *given.shape[1:]).gather(1, index)

    def back(self, output: Float[Tensor, "batch seq dim"]) -> Float[Tensor, "batch seq dim"]:
        """The outputs as their tokens stood; 0 for those that are not there."""
        clean = torch.where(self.there[..., None], output, 0.0)
        return torch.zeros_like(clean).scatter(1, self.order[..., None].expand_as(clean), clean)

    def rules(self, mask: Mask) -> Mask:
        """What the mask says once the tokens are moved."""
        moved: Mask = Padding(self.kept.sum(dim=1))
        for rule in mask.rules:
            if not isinstance(rule, KeyRule):
                moved = moved & rule
        return moved


def packing_of(kept: Bool[Tensor, "batch seq"]) -> Packing:
    """Those that are there first, in the order in which they stand."""
    return Packing(order=kept.to(torch.int8).argsort(dim=1, descending=True, stable=True), kept=kept)


def packing_under(mask: Mask, x: Float[Tensor, "batch seq dim"]) -> Packing:
    """The packing of the tokens that the mask says are there, of some that are not."""
    batch, n = x.shape[:2]
    mask.check(batch=batch, n_query=n, n_key=n)
    kept = present(mask, aligned(n, n, x.device))
    assert kept is not None
    return packing_of(kept.expand(batch, -1))


def packing_of_new(x: Float[Tensor, "batch new dim"], real: Bool[Tensor, "batch new"] | None) -> Packing:
    """The packing of new tokens of a cache; None: all are there."""
    return packing_of(torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if real is None else real)


def can_pack(mask: Mask, grid: Grid) -> bool:
    """Whether there are holes, under rules that mean the same once the real tokens are moved together."""
    return real_keys(mask, grid) is not None and all(isinstance(rule, (KeyRule, Causal, Window)) for rule in mask.rules)


def of_real(found: Weighed, mask: Mask) -> Weighed:
    """Nothing in the rows of tokens that are not there, as packing leaves them."""
    n = found.weights.shape[2]
    kept = present(mask, aligned(n, n, found.weights.device))
    assert kept is not None
    return Weighed(torch.where(kept[:, None, :, None], found.weights, 0.0), found.alive & kept[:, None])


def goes_packed(memory: Memory, mask: Mask, n_new: int, real: Bool[Tensor, "batch new"] | None) -> bool:
    """Whether new tokens of samples that stand at different places meet less than half the keys once they are packed.

    Otherwise all slots of the ring are read where they lie, which copies nothing.
    """
    if not isinstance(memory, Ring) or (real is None and memory.is_even):
        return False
    if not all(isinstance(rule, (Causal, Window)) for rule in mask.rules):
        return False
    beside = n_new if n_new + memory.lookback > memory.n_slots else 0
    return min(memory.longest, memory.n_slots) + beside > 2 * (memory.lookback + min(n_new, _ROWS))


def remembered_packed(
    ring: Memory, new: Mapping[str, Float[Tensor, "batch head new dim"]], real: Bool[Tensor, "batch new"]
) -> tuple[dict[str, Float[Tensor, "batch head near dim"]], Mask, Grid]:
    """Remember new tokens, real ones in front; gives the window before them and themselves, every sample's own in one row.

    With them a rule that says which of the keys are there, and where queries and keys lie: at the same places in every sample,
    counted from the first key of the window.
    """
    assert isinstance(ring, Ring)
    n_new, back, device = real.shape[1], ring.lookback, ring.device
    places = torch.tensor(ring.counts, device=device)[:, None] - back + torch.arange(back, device=device)
    there = places >= 0
    sample = torch.arange(ring.batch, device=device)[:, None, None]
    held = {}
    for name, values in new.items():
        head = torch.arange(values.shape[1], device=device)[:, None]
        before = Stored.of(ring.buffers[name]).at(sample, head, (places % ring.n_slots)[:, None])
        held[name] = torch.cat([torch.where(there[:, None, :, None], before, 0.0), values], dim=2)
    ring.remember(new, None if bool(real.all()) else real)
    grid = Grid(query=range(back, back + n_new), key=range(back + n_new), device=device)
    return held, KeepKeys(torch.cat([there, real], dim=1)), grid
