"""The caches of a window: a ring of the window, and beside it the global tokens for ever, where there are any.

A large chunk meets both in two softmaxes that are merged, so that neither is copied beside the other. Samples that stand at
different places are moved together first, so that a chunk is a band over the ring, too.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from attending.attention.buffers import Memory
from attending.attention.caching import TokenCache
from attending.attention.core import Attended, attended_by, merge
from attending.attention.global_tokens import Far
from attending.attention.grid import Grid, Places, places_tensor
from attending.attention.packing import goes_packed, packing_of_new, remembered_packed
from attending.attention.rules import Everything, Mask, Window

if TYPE_CHECKING:
    from attending.attention.windowed import WindowedAttention


class RingCache(TokenCache):
    """The window's ring alone."""

    def _step(self, x: Tensor, real: Tensor | None) -> Tensor:
        if not goes_packed(self._memory, self._mask, x.shape[1], real):
            return super()._step(x, real)
        packing = packing_of_new(x, real)
        queries, new = self._project(packing.of(x), self._memory.next_places(x.shape[1], packing.there))
        held, exists, grid = remembered_packed(self._memory, new, packing.there)
        return packing.back(self._answer(queries, held, self._mask & exists, grid))


class WindowedCache(TokenCache):
    """The window's ring beside the global tokens, which stay."""

    def __init__(self, module: "WindowedAttention", memory: Memory, ever: Memory, mask: Mask) -> None:
        super().__init__(memory, mask, dim=module.config.dim, project=module.project, answer=module.answer)
        self._module, self._ever = module, ever

    def _step(self, x: Tensor, real: Tensor | None) -> Tensor:
        if not goes_packed(self._memory, self._mask, x.shape[1], real):
            return self._attended(x, real, packed=None)
        packing = packing_of_new(x, real)
        return packing.back(self._attended(packing.of(x), packing.there, packed=packing.there))

    def _attended(self, x: Tensor, real: Tensor | None, *, packed: Tensor | None) -> Tensor:
        """The output of new tokens. `packed`: which are there, where those stand in front."""
        module, mask = self._module, self._mask
        places = self._memory.next_places(x.shape[1], real)
        still_global = min(self._memory.counts, default=0) < module.config.n_global
        q, new = module.project(x, places)
        exists: Mask = Everything()
        if packed is None:
            held, key_places = self._memory.extended(new, real)
            near_grid = Grid(query=places, key=key_places, device=x.device)
        else:
            held, exists, near_grid = remembered_packed(self._memory, new, packed)
        own = self._remember_global(x, places, new, real) if still_global else None
        ever = self._ever.held()
        near = module.scoring(mask & Window(*module.config.reach) & exists, near_grid, position=module.position)
        local = attended_by(q, held["key"], held["value"], near)
        grid = Grid(query=places, key=range(self._ever.longest), device=x.device)
        far_scoring = module.scoring(mask & Far(*module.config.reach), grid, position=module.position)
        attended = merge(local, attended_by(q, ever["key"], ever["value"], far_scoring))
        if own is not None:
            queries, is_global = own
            scoring = module.scoring(mask, grid, position=module.position)
            theirs = attended_by(queries, ever["global_key"], ever["global_value"], scoring)
            output = torch.where(is_global[:, None, :, None], theirs.output, attended.output)
            attended = Attended(output, torch.where(is_global[:, None], theirs.lse, attended.lse))
        output = module.output(attended.output.transpose(1, 2).flatten(2))
        alive = (attended.lse > -torch.inf).any(dim=1)[..., None]
        return torch.where(alive, output, 0.0) if module.config.output_bias else output

    def _remember_global(
        self, x: Tensor, places: Places, new: Mapping[str, Tensor], real: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Queries of the new tokens as global ones, and which of them are global."""
        queries, of_global = self._module.project_global(x, places)
        is_global = places_tensor(places, x.device).expand(x.shape[0], -1) < self._module.config.n_global
        fresh = is_global if real is None else is_global & real
        self._ever.extended({"key": new["key"], "value": new["value"], **of_global}, None if bool(fresh.all()) else fresh)
        return queries, is_global

    def crop(self, lengths: int | Int[Tensor, " batch"]) -> None:
        super().crop(lengths)
        kept = [min(old, count) for old, count in zip(self._ever.counts, self._memory.counts, strict=True)]
        self._ever.crop(kept)

    def select(self, samples: Int[Tensor, " kept"]) -> None:
        super().select(samples)
        self._ever.pick(samples)

    @property
    def nbytes_used(self) -> int:
        return super().nbytes_used + self._ever.nbytes_used

    @property
    def nbytes_allocated(self) -> int:
        return super().nbytes_allocated + self._ever.nbytes_allocated
