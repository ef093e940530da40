"""The cache of native sparse attention: tokens and pooled runs for ever, rings of the window and of the tokens not yet pooled.

Each run is pooled once, when its last token comes. Three memories grow or turn at their own pace; all count the same tokens.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from attending.attention.buffers import Memory, counts_after
from attending.attention.caching import TokenCache, memory_over_tokens, shorter
from attending.attention.grid import Grid, Places
from attending.attention.packing import goes_packed, packing_of_new, remembered_packed
from attending.attention.rules import Mask, Window
from attending.attention.stored import Stored, Tokens

if TYPE_CHECKING:
    from attending.attention.native_sparse import NativeSparseAttention

_TOKEN, _WINDOW, _RUN = (("key", "value"), ("window_key", "window_value"), ("run_key", "run_value"))


class NativeSparseCache(TokenCache):
    """Reads the picked blocks of the tokens, all pooled runs, and the window."""

    def __init__(
        self,
        module: "NativeSparseAttention",
        mask: Mask,
        *,
        batch: int,
        dtype: torch.dtype | None,
        device: torch.device | None,
        capacity: int | None,
    ) -> None:
        config, weight = module.config, module.key.weight
        stored, where = weight.dtype if dtype is None else dtype, weight.device if device is None else device
        width = (config.kv_heads, config.width)
        tokens, runs = (
            Memory(dict.fromkeys(names, width), batch=batch, dtype=stored, reads_as=weight.dtype, device=where, capacity=slots)
            for names, slots in ((_TOKEN, capacity), (_RUN, None if capacity is None else max(config.runs.whole(capacity), 1)))
        )
        super().__init__(tokens, mask, dim=config.dim, project=module.project, answer=_never)
        self._module, self._runs = module, runs
        self._window, self._waiting = (
            memory_over_tokens(
                dict.fromkeys(names, width),
                reach,
                batch=batch,
                weight=weight,
                dtype=stored,
                device=where,
                capacity=capacity,
            )
            for names, reach in ((_WINDOW, mask & Window(*config.reach)), (_RUN, Window(config.run - 1, 0)))
        )

    def _step(self, x: Tensor, real: Tensor | None) -> Tensor:
        if not goes_packed(self._window, self._mask, x.shape[1], real):
            return self._answered(x, real, packed=None)
        packing = packing_of_new(x, real)
        return packing.back(self._answered(packing.of(x), packing.there, packed=packing.there))

    def _answered(self, x: Tensor, real: Tensor | None, *, packed: Tensor | None) -> Tensor:
        """The output of new tokens. `packed`: which are there, where those stand in front."""
        module, memory = self._module, self._memory
        places, before = memory.next_places(x.shape[1], real), memory.counts
        memory.reserve(max(counts_after(before, x.shape[1], real), default=0))
        asked, new = module.project_branches(x, places)
        memory.remember({name: new[name] for name in _TOKEN}, real)
        tokens = Tokens(*(Stored.of(memory.buffers[name], memory.longest) for name in _TOKEN))
        scoring = module.scoring(
            self._mask, Grid(query=places, key=range(memory.longest), device=x.device), position=module.position
        )
        of_window = {name: new[name] for name in _WINDOW}
        if packed is None:
            held, near_places = self._window.extended(of_window, real)
            near = replace(scoring, grid=replace(scoring.grid, key=near_places))
        else:
            held, exists, near_grid = remembered_packed(self._window, of_window, packed)
            near = replace(scoring, mask=self._mask & exists, grid=near_grid)
        waiting, waiting_places = self._waiting.extended({name: new[name] for name in _RUN}, real)
        self._pool(waiting, waiting_places, before)
        return module.answer(asked, held | self._runs.held(), tokens, scoring, near=near)

    def _pool(self, waiting: Mapping[str, Tensor], places: Places, before: list[int]) -> None:
        """Pool and remember the runs whose last token is among the new ones."""
        runs, device = self._module.config.runs, self._memory.device
        done = [runs.whole(count) for count in before]
        n_new = [runs.whole(count) - old for count, old in zip(self._memory.counts, done, strict=True)]
        most = max(n_new, default=0)
        if most == 0:
            return
        first = (torch.tensor(done, device=device)[:, None] + torch.arange(most, device=device)) * runs.stride
        index = self._among((first[..., None] + torch.arange(runs.size, device=device)).flatten(1), places)
        pooled = {}
        for name, pooling in zip(_RUN, (self._module.key_pooling, self._module.value_pooling), strict=True):
            heads = waiting[name]
            of_runs = heads.gather(2, index[:, None, :, None].expand(-1, heads.shape[1], -1, heads.shape[3]))
            pooled[name] = pooling.pooled(of_runs.unflatten(2, (most, runs.size)))
        is_new = torch.arange(most, device=device) < torch.tensor(n_new, device=device)[:, None]
        self._runs.extended(pooled, None if min(n_new) == most else is_new)

    def _among(self, wanted: Int[Tensor, "batch token"], places: Places) -> Int[Tensor, "batch token"]:
        """Where the tokens of these places stand; that of a place which a shorter sample lacks means nothing."""
        if isinstance(places, range):
            return (wanted - places.start).clamp(0, len(places) - 1)
        # Those of a sample follow each other up to its last; slots that hold nothing come before them all.
        n_held, counts = places.shape[1], torch.tensor(self._memory.counts, device=places.device)[:, None]
        order = places.expand(len(wanted), -1).argsort(dim=1)
        return order.gather(1, (n_held - counts + wanted).clamp(0, n_held - 1))

    def crop(self, lengths: int | Int[Tensor, " batch"]) -> None:
        kept = shorter(self._memory.counts, lengths)
        for ring in (self._window, self._waiting):
            ring.check_crop(kept)
        for memory in (self._memory, self._window, self._waiting):
            memory.crop(kept)
        self._runs.crop([self._module.config.runs.whole(count) for count in kept])

    def select(self, samples: Int[Tensor, " kept"]) -> None:
        super().select(samples)
        for memory in (self._window, self._waiting, self._runs):
            memory.pick(samples)

    @property
    def nbytes_used(self) -> int:
        return super().nbytes_used + sum(memory.nbytes_used for memory in (self._window, self._waiting, self._runs))

    @property
    def nbytes_allocated(self) -> int:
        return super().nbytes_allocated + sum(memory.nbytes_allocated for memory in (self._window, self._waiting, self._runs))


def _never(*_: object) -> Tensor:
    raise AssertionError("this cache answers for itself")
