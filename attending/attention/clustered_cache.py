"""The cache of clustered heads whose clusters each sample finds for itself, while it is being fed.

Until a sample's first `observe` tokens are there, it holds their full keys and maps; then its clusters are fixed, the keys that
no representative reads are dropped, and no others of them are ever stored.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.buffers import Memory, counts_after
from attending.attention.caching import TokenCache
from attending.attention.core import joined
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places, places_tensor
from attending.attention.membership import Membership, at_places, put_at_places
from attending.attention.rules import Mask
from attending.attention.shared import by_head, mixed_by_head, shared_output, shared_weights

if TYPE_CHECKING:
    from attending.attention.clustered import ClusteredAttention


class OwnClustersCache(TokenCache):
    """Keeps all tokens, also under a window. `crop` cannot go back to before membership was fixed, save to 0."""

    def __init__(
        self,
        module: "ClusteredAttention",
        mask: Mask,
        *,
        batch: int,
        dtype: torch.dtype,
        device: torch.device,
        capacity: int | None,
    ) -> None:
        config, reads_as = module.config, module.key.weight.dtype
        memory = Memory(config.remembered, batch=batch, dtype=dtype, reads_as=reads_as, device=device, capacity=capacity)
        super().__init__(memory, mask, dim=config.dim, project=module.project, answer=_never)
        self._module, self._dtype, self._reads_as = module, dtype, reads_as
        self._fixed = [False] * batch
        self._members: Membership | None = None
        self._heads: tuple[Membership, tuple[list[int], list[int]]] | None = None
        self._watch: _Watch | None = self._new_watch()

    def _new_watch(self) -> "_Watch":
        config, batch, device = self._module.config, self._memory.batch, self._memory.device
        keys = Memory(
            {"key": (config.kv_heads, config.width)},
            batch=batch,
            dtype=self._dtype,
            reads_as=self._reads_as,
            device=device,
            capacity=config.observe,
        )
        shape = (batch, config.n_heads, config.observe, config.observe)
        return _Watch(keys=keys, maps=torch.zeros(shape, dtype=self._reads_as, device=device))

    def _step(self, x: Tensor, real: Tensor | None) -> Tensor:
        module, memory = self._module, self._memory
        places = memory.next_places(x.shape[1], real)
        after = counts_after(memory.counts, x.shape[1], real)
        longest = max(after, default=0)
        memory.reserve(longest)
        if self._watch is None and self._members is not None and memory.batch == 1:
            return self._step_of_one(self._members, x, places, real)
        q, new = module.project(x, places)
        early = None if self._watch is None else self._look(self._watch, q, new["key"], places, real)
        newly = [b for b, count in enumerate(after) if count >= module.config.observe and not self._fixed[b]]
        if self._watch is not None and newly:
            self._fix(newly, module.members_of(self._watch.maps))
        # Before any sample is fixed there is nothing to pick by: what is written is written over later.
        kept = new["key"][:, : module.config.n_kept_keys] if self._members is None else by_head(new["key"], self._members.kept)
        memory.extended({"key": kept, "value": new["value"]}, real)
        if self._watch is not None and newly:
            self._keep_first(self._watch, newly)
        step = self._slots_a_step(x)
        held, slots = memory.held(step), range(memory.readable(step))
        scoring = module.scoring(self._mask, Grid(query=places, key=slots, device=x.device), position=module.position)
        heads = q.new_zeros(*q.shape[:3], module.config.width)
        if self._members is not None and longest > module.config.observe:
            read = by_head(held["key"], self._members.slot) if module.config.kv_heads < q.shape[1] else held["key"]
            asked = by_head(q, self._members.representatives)
            late = module.of_representatives(scoring, self._members.representatives)
            heads = shared_output(asked, read, held["value"], self._members.of_head, late)
        if early is not None:
            mixed = mixed_by_head(early.weights, held["value"][:, :, : early.weights.shape[3]])
            heads = put_at_places(heads, torch.where(early.is_new, early.index, x.shape[1]), mixed)
        if all(self._fixed):
            self._watch = None
        return joined(heads, module.output, scoring)

    def _step_of_one(self, members: Membership, x: Tensor, places: Places, real: Tensor | None) -> Tensor:
        """The same for a single sample whose clusters are known: queries and keys that nobody reads are not made."""
        module, step = self._module, self._slots_a_step(x)
        q, new = module.project_some(x, places, *self._read_heads(members))
        self._memory.extended(new, real)
        held, slots = self._memory.held(step), range(self._memory.readable(step))
        scoring = module.scoring(self._mask, Grid(query=places, key=slots, device=x.device), position=module.position)
        read = by_head(held["key"], members.slot) if module.config.kv_heads < module.config.n_heads else held["key"]
        late = module.of_representatives(scoring, members.representatives)
        return joined(shared_output(q, read, held["value"], members.of_head, late), module.output, scoring)

    def _read_heads(self, members: Membership) -> tuple[list[int], list[int]]:
        """Representatives and kept keys as numbers, read back from the tables once."""
        if self._heads is None or self._heads[0] is not members:
            self._heads = members, (members.representatives[0].tolist(), members.kept[0].tolist())
        return self._heads[1]

    def _look(self, watch: "_Watch", q: Tensor, key: Tensor, places: Places, real: Tensor | None) -> "_Early":
        """Remember the first tokens among the new ones, and their maps."""
        module, observe = self._module, self._module.config.observe
        here = places_tensor(places, q.device).expand(q.shape[0], -1)
        fresh = here < observe if real is None else (here < observe) & real
        watch.keys.extended({"key": key}, fresh)
        stands = (here[:, :, None] == torch.arange(observe, device=q.device)) & fresh[:, :, None]
        is_new, index = stands.any(dim=1), stands.to(torch.int8).argmax(dim=1)
        keys = watch.keys.held()["key"]
        grid = Grid(query=range(observe), key=range(keys.shape[2]), device=q.device)
        every = torch.arange(module.config.n_heads, device=q.device)
        scoring = module.scoring(self._mask, grid, position=module.position)
        weights = shared_weights(at_places(q, index, 2), keys, every, scoring)
        maps = watch.maps[..., : keys.shape[2]]
        maps.copy_(torch.where(is_new[:, None, :, None], weights, maps))
        return _Early(weights=weights, is_new=is_new, index=index)

    def _fix(self, newly: list[int], found: Membership) -> None:
        if self._members is not None:
            rows = torch.tensor(newly, device=self._memory.device)
            pairs = zip(self._members, found, strict=True)
            found = Membership(*(old.index_copy(0, rows, new[rows]) for old, new in pairs))
        self._members = found
        for sample in newly:
            self._fixed[sample] = True

    def _keep_first(self, watch: "_Watch", newly: list[int]) -> None:
        """Store the first tokens' keys of the representatives, and drop the full ones."""
        assert self._members is not None
        observe, device = self._module.config.observe, self._memory.device
        rows = torch.tensor(newly, device=device)
        keys = by_head(watch.keys.held()["key"], self._members.kept)[rows].transpose(1, 2).flatten(0, 1)
        slots = torch.arange(observe, device=device).repeat(len(newly))
        self._memory.buffers["key"].write((rows.repeat_interleave(observe), slice(None), slots), keys)
        watch.keys.crop([0 if fixed else count for fixed, count in zip(self._fixed, watch.keys.counts, strict=True)])

    def crop(self, lengths: int | Int[Tensor, " batch"]) -> None:
        observe = self._module.config.observe
        asked = [lengths] * self._memory.batch if isinstance(lengths, int) else lengths.tolist()
        for sample, (length, fixed) in enumerate(zip(asked, self._fixed, strict=False)):
            if fixed and 0 < length < observe:
                raise AttentionError(
                    f"crop: sample {sample} to {length} tokens needs the full keys of its first {observe}, which were dropped "
                    f"when its clusters were found; crop to {observe} or more, or to 0"
                )
        super().crop(lengths)
        counts = self._memory.counts
        self._fixed = [fixed and count > 0 for fixed, count in zip(self._fixed, counts, strict=True)]
        if self._watch is not None:
            held = self._watch.keys
            held.crop([min(old, count) for old, count in zip(held.counts, counts, strict=True)])
        elif not all(self._fixed):
            self._watch = self._new_watch()

    def select(self, samples: Int[Tensor, " kept"]) -> None:
        super().select(samples)
        index = samples.to(self._memory.device)
        self._fixed = [self._fixed[sample] for sample in samples.tolist()]
        if self._members is not None:
            self._members = Membership(*(table.index_select(0, index) for table in self._members))
        if self._watch is not None:
            self._watch.keys.pick(samples)
            self._watch = _Watch(keys=self._watch.keys, maps=self._watch.maps.index_select(0, index))

    @property
    def nbytes_used(self) -> int:
        waiting = sum(count for count, fixed in zip(self._memory.counts, self._fixed, strict=True) if not fixed)
        empty = waiting * self._memory.buffers["key"].bytes_per_slot
        return super().nbytes_used - empty + self._nbytes_of_tables + (self._watch.keys.nbytes_used if self._watch else 0)

    @property
    def nbytes_allocated(self) -> int:
        return super().nbytes_allocated + self._nbytes_of_tables + (self._watch.keys.nbytes_allocated if self._watch else 0)

    @property
    def _nbytes_of_tables(self) -> int:
        maps = self._watch.maps.numel() * self._watch.maps.element_size() if self._watch else 0
        return maps + (self._members.nbytes if self._members else 0)


@dataclass(frozen=True, kw_only=True)
class _Watch:
    """What is held of samples that have no clusters yet: full keys, and maps [batch, head, first, first]."""

    keys: Memory
    maps: Float[Tensor, "batch head first first"]


@dataclass(frozen=True, kw_only=True)
class _Early:
    """First tokens among new ones: their weights, which of them are new, and where these stand among the new."""

    weights: Float[Tensor, "batch head first key"]
    is_new: Bool[Tensor, "batch first"]
    index: Int[Tensor, "batch first"]


def _never(*_: object) -> Tensor:
    raise AssertionError("this cache answers for itself")
