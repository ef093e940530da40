"""The two caches of mechanisms: one remembers the tokens it is fed, one looks at a context projected once.

A mechanism brings two functions: `project` makes of new tokens their queries and what is to be remembered of them, `answer`
attends. How it is stored is the business of `buffers.py`, where it stands that of the grid.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.buffers import Memory, Ring, counts_after, places_after
from attending.attention.errors import AttentionError
from attending.attention.grid import Grid, Places, aligned
from attending.attention.masks import check_mask, there
from attending.attention.mechanism import Cache
from attending.attention.rules import Causal, Mask, Window
from attending.attention.tables import Blocks, Documents, Keep, KeyRule

Project = Callable[[Tensor, Places], tuple[Any, dict[str, Tensor]]]
"""(new tokens, their places) → (queries in the mechanism's own form, what to remember as [batch, head, new, dim] by name)."""
Answer = Callable[[Any, Mapping[str, Tensor], Mask, Grid], Tensor]
"""(queries, what is remembered, mask, grid) → output [batch, new, dim]."""


_FEW_NEW, _SAME_SHAPE = 16, 64
"""New tokens that count as a step, and the multiple of slots that a step reads."""
_NEW_KERNEL_A_SHAPE = (torch.bfloat16, torch.float16)
"""Types whose products on a CPU pay for each new shape."""


class MemoryCache(Cache):
    """A cache over one memory: what both kinds share."""

    def __init__(self, memory: Memory, mask: Mask, *, dim: int, project: Project, answer: Answer) -> None:
        self._memory, self._mask, self._dim = memory, mask, dim
        self._project, self._answer = project, answer

    @property
    @abstractmethod
    def _counts(self) -> list[int]:
        """How many tokens of each sample went through."""

    @abstractmethod
    def _step(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Output of new tokens that are clean, remembered or counted on the way."""

    @torch.no_grad()
    def extend(
        self, x: Float[Tensor, "batch new dim"], *, real: Bool[Tensor, "batch new"] | None = None
    ) -> Float[Tensor, "batch new dim"]:
        real = _checked(x, real, self._memory.batch, self._dim)
        # A token cut out of a longer sequence keeps that sequence's strides, and PyTorch then multiplies it as a batch, on a
        # path that is up to 20 times slower in bfloat16.
        x = x.reshape(-1, self._dim).view(x.shape)
        if real is None:
            return self._step(x, None)
        return torch.where(real[..., None], self._step(torch.where(real[..., None], x, 0.0), real), 0.0)

    def reorder(self, samples: Int[Tensor, " batch"]) -> None:
        if samples.shape != (self._memory.batch,):
            raise AttentionError(
                f"reorder: found shape {tuple(samples.shape)} for a batch of {self._memory.batch}; to drop samples, select"
            )
        self.select(samples)

    def select(self, samples: Int[Tensor, " kept"]) -> None:
        _check_samples(samples, self._memory.batch)
        self._memory.pick(samples)
        self._mask = self._mask.samples(samples)

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        return torch.tensor(self._counts, device=self._memory.device)

    @property
    def nbytes_used(self) -> int:
        return self._memory.nbytes_used

    @property
    def nbytes_allocated(self) -> int:
        return self._memory.nbytes_allocated


class TokenCache(MemoryCache):
    """Remembers its own tokens: self-attention."""

    def __init__(self, memory: Memory, mask: Mask, *, dim: int, project: Project, answer: Answer) -> None:
        check_over_tokens(mask)
        super().__init__(memory, mask, dim=dim, project=project, answer=answer)
        # Empty slots stand after all tokens, where no query sees; rules over tables have no entries for them.
        self._hides_empty = all(isinstance(leaf, (Causal, Window)) for leaf in mask.leaves)

    @property
    def _counts(self) -> list[int]:
        return self._memory.counts

    def _step(self, x: Tensor, real: Tensor | None) -> Tensor:
        places = self._memory.next_places(x.shape[1], real)
        queries, new = self._project(x, places)
        held, key_places = self._memory.extended(new, real, step=self._slots_a_step(x))
        return self._answer(queries, held, self._mask, Grid(query=places, key=key_places, device=x.device))

    def _slots_a_step(self, x: Tensor) -> int:
        """Empty slots are read along where that keeps shapes the same from step to step, and the mask hides them.

        In 16 bits on a CPU each new shape costs oneDNN a new kernel, some milliseconds, and a part of a buffer a copy.
        """
        is_slow = x.device.type == "cpu" and x.dtype in _NEW_KERNEL_A_SHAPE and x.shape[1] <= _FEW_NEW
        return _SAME_SHAPE if is_slow and self._hides_empty else 1

    def crop(self, lengths: int | Int[Tensor, " batch"]) -> None:
        self._memory.crop(shorter(self._memory.counts, lengths))


class ContextCache(MemoryCache):
    """Holds a context projected once: cross-attention. Its lengths count the queries answered so far."""

    def __init__(self, memory: Memory, mask: Mask, *, dim: int, project: Project, answer: Answer) -> None:
        super().__init__(memory, mask, dim=dim, project=project, answer=answer)
        self._n_key = memory.longest
        self._answered = [0] * memory.batch

    @property
    def _counts(self) -> list[int]:
        return self._answered

    def _step(self, x: Tensor, real: Tensor | None) -> Tensor:
        places = places_after(self._answered, x.shape[1], real, x.device)
        queries, _ = self._project(x, places)
        grid = Grid(query=places, key=range(self._n_key), device=x.device)
        output = self._answer(queries, self._memory.held(), self._mask, grid)
        self._answered = counts_after(self._answered, x.shape[1], real)
        return output

    def crop(self, lengths: int | Int[Tensor, " batch"]) -> None:
        self._answered = shorter(self._answered, lengths)

    def select(self, samples: Int[Tensor, " kept"]) -> None:
        super().select(samples)
        self._answered = [self._answered[sample] for sample in samples.tolist()]


def memory_over_tokens(
    widths: Mapping[str, tuple[int, int]],
    mask: Mask,
    *,
    batch: int,
    weight: Tensor,
    dtype: torch.dtype | None,
    device: torch.device | None,
    capacity: int | None,
) -> Memory:
    """A ring where the mask looks back a limited way and the capacity allows it; otherwise a growing or fixed memory.

    A window of w tokens before needs a ring of w + 1; a larger `capacity` makes the ring larger, so that `crop` can go back.
    It reads in the dtype of the `weight`; `dtype` and `device` None are the weight's.
    """
    reach, reads_as = check_mask(mask).lookback, weight.dtype
    dtype, device = reads_as if dtype is None else dtype, weight.device if device is None else device
    if reach is not None and (capacity is None or capacity > reach):
        slots = reach + 1 if capacity is None else capacity
        return Ring(widths, batch=batch, dtype=dtype, reads_as=reads_as, device=device, capacity=slots, lookback=reach)
    return Memory(widths, batch=batch, dtype=dtype, reads_as=reads_as, device=device, capacity=capacity)


def memory_over_context(
    held: Mapping[str, Tensor], *, weight: Tensor, dtype: torch.dtype | None, capacity: int | None
) -> Memory:
    """A memory that holds just what was projected of a context, read in the dtype of the `weight`."""
    first, reads_as = next(iter(held.values())), weight.dtype
    dtype = reads_as if dtype is None else dtype
    n_key = first.shape[2]
    if capacity is not None and n_key > capacity:
        raise AttentionError(
            f"cache: a context of {n_key} tokens does not fit its fixed capacity of {capacity}; give capacity=None"
        )
    widths = {name: (tensor.shape[1], tensor.shape[3]) for name, tensor in held.items()}
    memory = Memory(widths, batch=first.shape[0], dtype=dtype, reads_as=reads_as, device=first.device, capacity=max(n_key, 1))
    memory.extended(held, None)
    return memory


def clean_context(context: Tensor, mask: Mask, batch: int) -> Tensor:
    """The context with 0 where no query will ever see it; refuses masks that cannot be followed over a context."""
    check_over_context(mask)
    if context.dim() != 3 or context.shape[0] != batch:
        raise AttentionError(f"context: found shape {tuple(context.shape)}, expected [{batch}, key, dim]")
    n_rows = 1
    for leaf in mask.leaves:
        if isinstance(leaf, Keep):
            n_rows = max(n_rows, leaf.pairs.shape[2])
        elif isinstance(leaf, Documents):
            n_rows = max(n_rows, leaf.query_ids.shape[1])
    n_key = context.shape[1]
    mask.check(batch=batch, n_query=n_rows, n_key=n_key)
    kept = there(mask, aligned(n_rows, n_key, context.device))
    return context if kept is None else torch.where(kept[..., None], context, 0.0)


def check_over_tokens(mask: Mask) -> None:
    """Raise where a mask cannot be followed token by token."""
    if any(isinstance(leaf, KeyRule) for leaf in check_mask(mask).leaves):
        raise AttentionError(
            "cache: padding(…) and keep_keys(…) name keys that are not there yet; give the rule alone, as in mask=causal(), "
            "and say at each step which tokens are real: cache.extend(x, real=…)"
        )
    if mask.sees_future:
        raise AttentionError("cache: this mask lets tokens see later ones, which a cache cannot know; write causal() & …")


def check_over_context(mask: Mask) -> None:
    """Raise where a mask measures distances between queries and the tokens of a context."""
    for leaf in check_mask(mask).leaves:
        if isinstance(leaf, (Causal, Window, Blocks)) or (isinstance(leaf, Documents) and leaf.sees_itself):
            raise AttentionError(
                f"cache: {type(leaf).__name__.lower()} compares places, and a context's tokens stand elsewhere than queries; "
                "write everything(), keep_keys(…), keep(…) or documents(…, of_keys=…)"
            )


def _checked(x: Tensor, real: Tensor | None, batch: int, dim: int) -> Tensor | None:
    if x.dim() != 3 or x.shape[0] != batch or x.shape[2] != dim:
        raise AttentionError(f"extend: found shape {tuple(x.shape)}, expected [{batch}, new, {dim}] as the cache was made for")
    if real is None:
        return None
    if real.dtype != torch.bool or real.shape != x.shape[:2]:
        found = f"{real.dtype} of shape {tuple(real.shape)}"
        raise AttentionError(f"real: found {found}, expected boolean {tuple(x.shape[:2])}, true for tokens that are there")
    return None if bool(real.all()) else real


def shorter(counts: list[int], lengths: int | Int[Tensor, " batch"]) -> list[int]:
    """The counts after `crop` to `lengths`."""
    asked = [lengths] * len(counts) if isinstance(lengths, int) else lengths.tolist()
    if len(asked) != len(counts) or any(new < 0 for new in asked):
        raise AttentionError(f"crop: found lengths {asked}, expected one of 0 or more for each of {len(counts)} samples")
    return [min(old, new) for old, new in zip(counts, asked, strict=True)]


def _check_samples(samples: Tensor, batch: int) -> None:
    if samples.dim() != 1 or samples.is_floating_point() or samples.dtype == torch.bool:
        raise AttentionError(f"select: found {samples.dtype} of shape {tuple(samples.shape)}, expected indices of samples")
    if samples.numel() and not 0 <= int(samples.min()) <= int(samples.max()) < batch:
        raise AttentionError(f"select: found samples {samples.tolist()}, expected indices below {batch}")
