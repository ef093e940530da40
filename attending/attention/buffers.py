"""What caches hold: named tensors that share one axis of token slots, written in place.

`Memory` grows by doubling or stays within a fixed capacity; `Ring` keeps the last tokens only and overwrites the oldest,
without moving the others. Both keep every sample's own length, so ragged batches need no padding, and both can store int8.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.costs import capacity_for
from attending.attention.errors import AttentionError
from attending.attention.grid import Places, places_tensor

_NOWHERE = -(1 << 40)
"""The place of a slot that holds nothing: out of reach of every window."""


def places_after(counts: list[int], n_new: int, real: Bool[Tensor, "batch new"] | None, device: torch.device) -> Places:
    """Where new tokens stand behind `counts` old ones of each sample; one that is not real stands with the last real one."""
    if real is None and len(set(counts)) <= 1:
        start = max(counts, default=0)
        return range(start, start + n_new)
    steps = torch.arange(n_new, device=device)[None] if real is None else real.cumsum(dim=1) - 1
    return (torch.tensor(counts, device=device)[:, None] + steps).clamp_(min=0)


def counts_after(counts: list[int], n_new: int, real: Bool[Tensor, "batch new"] | None) -> list[int]:
    """Tokens of each sample once the new ones are there."""
    added = [n_new] * len(counts) if real is None else real.sum(dim=1).tolist()
    return [count + more for count, more in zip(counts, added, strict=True)]


class Buffer:
    """One tensor [batch, head, slot, dim]; as int8 with one float32 scale for each vector.

    Stored as int8 each number is off by at most 1/254 of the largest of its vector.
    """

    def __init__(
        self, batch: int, heads: int, dim: int, *, dtype: torch.dtype, reads_as: torch.dtype, device: torch.device
    ) -> None:
        self.reads_as = reads_as
        kinds = [(dim, dtype)] if dtype != torch.int8 else [(dim, torch.int8), (1, torch.float32)]
        self.tensors = [torch.zeros(batch, heads, 0, width, dtype=kind, device=device) for width, kind in kinds]

    @property
    def n_slots(self) -> int:
        return self.tensors[0].shape[2]

    @property
    def bytes_per_slot(self) -> int:
        """Bytes of one token of one sample."""
        return sum(tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in self.tensors)

    @property
    def nbytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)

    def resize(self, n_slots: int) -> None:
        """Room for more slots; the old ones keep their place, the new ones hold 0."""
        for i, old in enumerate(self.tensors):
            new = torch.zeros(*old.shape[:2], n_slots, old.shape[3], dtype=old.dtype, device=old.device)
            new[:, :, : old.shape[2]] = old
            self.tensors[i] = new

    def write(self, place: tuple[slice | Tensor, ...], values: Tensor) -> None:
        """Store values at [batch, head, slot] (all slices), or as [token, head, dim] at paired samples and slots."""
        for tensor, part in zip(self.tensors, self._stored(values), strict=True):
            tensor[place] = part

    def read(self, slots: slice | Tensor) -> Float[Tensor, "batch head slot dim"]:
        """What stands in the slots."""
        return as_numbers([tensor[:, :, slots] for tensor in self.tensors], self.reads_as)

    def apply(self, change: Callable[[Tensor], Tensor]) -> None:
        """Replace each tensor, as when samples are reordered."""
        self.tensors = [change(tensor) for tensor in self.tensors]

    def _stored(self, values: Tensor) -> list[Tensor]:
        if len(self.tensors) == 1:
            return [values.to(self.tensors[0].dtype)]
        precise = values.float()
        scale = precise.abs().amax(dim=-1, keepdim=True) / 127.0
        codes = (precise / torch.where(scale > 0.0, scale, 1.0)).round().to(torch.int8)
        return [codes, scale]


def as_numbers(parts: Sequence[Tensor], reads_as: torch.dtype) -> Tensor:
    """Numbers as they are stored, or whole numbers times the scale of each vector."""
    numbers = parts[0].to(reads_as)
    # Whole numbers are of another type, so that theirs is a copy.
    return numbers if len(parts) == 1 else numbers.mul_(parts[1].to(reads_as))


class Memory:
    """Named buffers over the same tokens: slot i holds token i of its sample."""

    def __init__(
        self,
        widths: Mapping[str, tuple[int, int]],
        *,
        batch: int,
        dtype: torch.dtype,
        reads_as: torch.dtype,
        device: torch.device,
        capacity: int | None = None,
    ) -> None:
        """`widths`: (heads, dim) of each name. `dtype`: how numbers are stored; `reads_as`: how they come back from int8."""
        if capacity is not None and capacity < 1:
            raise AttentionError(f"capacity: found {capacity}, expected 1 or more tokens, or None to grow")
        self.device, self.capacity = device, capacity
        self.counts = [0] * batch
        self.buffers = {
            name: Buffer(batch, heads, dim, dtype=dtype, reads_as=reads_as, device=device)
            for name, (heads, dim) in widths.items()
        }
        if capacity is not None:
            self._resize(capacity)

    @property
    def batch(self) -> int:
        return len(self.counts)

    @property
    def longest(self) -> int:
        return max(self.counts, default=0)

    @property
    def is_even(self) -> bool:
        """Whether all samples have the same length."""
        return len(set(self.counts)) <= 1

    @property
    def n_slots(self) -> int:
        return next(iter(self.buffers.values())).n_slots

    @property
    def nbytes_used(self) -> int:
        return sum(self._held(count) for count in self.counts) * sum(b.bytes_per_slot for b in self.buffers.values())

    @property
    def nbytes_allocated(self) -> int:
        return sum(buffer.nbytes for buffer in self.buffers.values())

    def next_places(self, n_new: int, real: Bool[Tensor, "batch new"] | None) -> Places:
        """Where the new tokens will stand in their samples."""
        return places_after(self.counts, n_new, real, self.device)

    def extended(
        self, new: Mapping[str, Float[Tensor, "batch head new dim"]], real: Bool[Tensor, "batch new"] | None, *, step: int = 1
    ) -> tuple[dict[str, Float[Tensor, "batch head slot dim"]], Places]:
        """Remember new tokens, all or the real ones; gives what they may attend to, themselves included, and where it stands.

        Refused when a fixed capacity would be exceeded; then nothing changes. `step`: see `held`.
        """
        self._append(new, real)
        return self.held(step), range(self.readable(step))

    def remember(self, new: Mapping[str, Float[Tensor, "batch head new dim"]], real: Bool[Tensor, "batch new"] | None) -> None:
        """The same without reading anything."""
        self._append(new, real)

    def held(self, step: int = 1) -> dict[str, Float[Tensor, "batch head slot dim"]]:
        """All that is remembered, with 0 behind the end of shorter samples; empty slots fill up to a multiple of `step`."""
        slots = slice(0, self.readable(step))
        return {name: buffer.read(slots) for name, buffer in self.buffers.items()}

    def readable(self, step: int) -> int:
        """How many slots `held` gives."""
        return max(self.longest, min(-(-self.longest // step) * step, self.n_slots))

    def _append(self, new: Mapping[str, Tensor], real: Bool[Tensor, "batch new"] | None) -> None:
        n_new = next(iter(new.values())).shape[2]
        counts = counts_after(self.counts, n_new, real)
        self.reserve(max(counts, default=0))
        if real is None and self.is_even:
            for name, values in new.items():
                self._write_even(self.buffers[name], self.longest, values)
        else:
            real = torch.ones(self.batch, n_new, dtype=torch.bool, device=self.device) if real is None else real
            places = places_tensor(self.next_places(n_new, real), self.device)
            samples, tokens, slots = self._destinations(real, places, counts)
            for name, values in new.items():
                self.buffers[name].write((samples, slice(None), slots), values[samples, :, tokens])
        self.counts = counts

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in the longest sample."""
        if self.capacity is not None:
            if length > self.capacity:
                raise AttentionError(
                    f"cache: {length} tokens do not fit its fixed capacity of {self.capacity}; make it with a larger "
                    "capacity=, or capacity=None to grow"
                )
        elif length > self.n_slots:
            self._resize(capacity_for(length))

    def check_crop(self, lengths: list[int]) -> None:
        """Raise where what is needed behind so few tokens was overwritten."""
        return

    def crop(self, lengths: list[int]) -> None:
        """Forget the tokens from `lengths` on; their slots hold 0 again."""
        for sample, (old, new) in enumerate(zip(self.counts, lengths, strict=True)):
            for buffer in self.buffers.values():
                for tensor in buffer.tensors:
                    tensor[sample, :, new:old] = 0
        self.counts = lengths

    def pick(self, samples: Int[Tensor, " kept"]) -> None:
        """Let the samples be those given, in that order."""
        index = samples.to(self.device)
        self.counts = [self.counts[sample] for sample in samples.tolist()]
        for buffer in self.buffers.values():
            buffer.apply(lambda tensor: tensor.index_select(0, index))

    def _write_even(self, buffer: Buffer, start: int, values: Tensor) -> None:
        buffer.write((slice(None), slice(None), slice(start, start + values.shape[2])), values)

    def _destinations(self, real: Tensor, places: Tensor, counts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Sample, new token and slot of every token that is written."""
        samples, tokens = real.nonzero(as_tuple=True)
        return samples, tokens, places[samples, tokens]

    def _held(self, count: int) -> int:
        return count

    def _resize(self, n_slots: int) -> None:
        for buffer in self.buffers.values():
            buffer.resize(n_slots)


class Ring(Memory):
    """The last `capacity` tokens of each sample: token i stands in slot i mod capacity, over the one it replaces.

    Serves rules that look back at most `lookback` < capacity tokens, without end. `crop` goes back while the window is held.
    """

    def __init__(
        self,
        widths: Mapping[str, tuple[int, int]],
        *,
        batch: int,
        dtype: torch.dtype,
        reads_as: torch.dtype,
        device: torch.device,
        capacity: int,
        lookback: int,
    ) -> None:
        super().__init__(widths, batch=batch, dtype=dtype, reads_as=reads_as, device=device, capacity=capacity)
        self.lookback = lookback
        self.oldest = [0] * batch

    def reserve(self, length: int) -> None:
        return

    def extended(
        self, new: Mapping[str, Float[Tensor, "batch head new dim"]], real: Bool[Tensor, "batch new"] | None, *, step: int = 1
    ) -> tuple[dict[str, Float[Tensor, "batch head slot dim"]], Places]:
        n_new = next(iter(new.values())).shape[2]
        if n_new + self.lookback <= self.n_slots:
            self._append(new, real)
            start = max(self.longest - n_new - self.lookback, 0)
            first = start % self.n_slots
            if self.is_even and first + self.longest - start <= self.n_slots:
                # Nothing but the window is read, however much larger the ring is, where it lies in one piece.
                near = slice(first, first + self.longest - start)
                return {name: buffer.read(near) for name, buffer in self.buffers.items()}, range(start, self.longest)
            return {name: buffer.read(slice(0, self._n_held)) for name, buffer in self.buffers.items()}, self._slot_places()
        # More at once than there is room beside the window: attend to the window and the new tokens, then keep the last.
        if real is None and self.is_even:
            start = max(self.longest - self.lookback, 0)
            slots = torch.arange(start, self.longest, device=self.device) % self.n_slots
            held = self._before(new, slots)
            places: Places = range(start, self.longest + n_new)
        else:
            ahead = places_tensor(self.next_places(n_new, real), self.device)
            ahead = ahead if real is None else torch.where(real, ahead, _NOWHERE)
            now = self._slot_places()
            held = self._before(new, slice(0, self._n_held))
            places = torch.cat([now.expand(self.batch, -1), ahead.expand(self.batch, -1)], dim=1)
        self._append(new, real)
        return held, places

    def check_crop(self, lengths: list[int]) -> None:
        for sample, (oldest, length) in enumerate(zip(self.oldest, lengths, strict=True)):
            if oldest > max(length - self.lookback, 0):
                raise AttentionError(
                    f"crop: sample {sample} to {length} tokens needs tokens from {max(length - self.lookback, 0)} on, and the "
                    f"ring holds those from {oldest} on; make the cache with a larger capacity= to go back further"
                )

    def crop(self, lengths: list[int]) -> None:
        self.check_crop(lengths)
        for sample, (old, new) in enumerate(zip(self.counts, lengths, strict=True)):
            slots = torch.arange(new, old, device=self.device) % self.n_slots
            for buffer in self.buffers.values():
                for tensor in buffer.tensors:
                    tensor[sample, :, slots] = 0
        self.counts = lengths

    def pick(self, samples: Int[Tensor, " kept"]) -> None:
        self.oldest = [self.oldest[sample] for sample in samples.tolist()]
        super().pick(samples)

    @property
    def _n_held(self) -> int:
        return min(self.longest, self.n_slots)

    def _before(self, new: Mapping[str, Tensor], slots: slice | Tensor) -> dict[str, Tensor]:
        return {name: torch.cat([self.buffers[name].read(slots), values], dim=2) for name, values in new.items()}

    def _slot_places(self) -> Int[Tensor, "batch_or_one slot"]:
        """Where the token of each slot stands; beyond every window where the slot holds none."""
        counts = self.counts[:1] if self.is_even else self.counts
        last = torch.tensor(counts, device=self.device)[:, None] - 1
        place = last - (last - torch.arange(self._n_held, device=self.device)[None]) % self.n_slots
        return torch.where(place >= 0, place, _NOWHERE)

    def _append(self, new: Mapping[str, Tensor], real: Bool[Tensor, "batch new"] | None) -> None:
        super()._append(new, real)
        self.oldest = [max(oldest, count - self.n_slots) for oldest, count in zip(self.oldest, self.counts, strict=True)]

    def _write_even(self, buffer: Buffer, start: int, values: Tensor) -> None:
        n_new, n_slots = values.shape[2], self.n_slots
        stop = start + n_new
        start = max(start, stop - n_slots)
        head = min(stop - start, n_slots - start % n_slots)
        values = values[:, :, n_new - (stop - start) :]
        every = slice(None)
        buffer.write((every, every, slice(start % n_slots, start % n_slots + head)), values[:, :, :head])
        if head < stop - start:
            buffer.write((every, every, slice(0, stop - start - head)), values[:, :, head:])

    def _destinations(self, real: Tensor, places: Tensor, counts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        kept = real & (places >= torch.tensor(counts, device=self.device)[:, None] - self.n_slots)
        samples, tokens = kept.nonzero(as_tuple=True)
        return samples, tokens, places[samples, tokens] % self.n_slots

    def _held(self, count: int) -> int:
        return min(count, self.n_slots)
