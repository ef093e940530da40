"""What a mechanism costs, as arithmetic: no tensor is made and nothing is timed.

FLOPs are those of the matrix products, as `torch.utils.flop_counter` counts them on the reference path: full square scores, no
skipping. `causal_flops` counts only the pairs that a causal mask lets be seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from attending.attention.errors import AttentionError

Phase = Literal["prefill", "decode", "train"]
PHASES: tuple[str, ...] = get_args(Phase)
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Bytes of one number."""
SMALLEST = 16
"""Slots of a growing memory once it holds anything."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a machine can do: matrix products in FLOP/s by number type, and memory in bytes/s.

    `bytes_per_s_by_size`: rates of reading so many bytes over and over, which a processor's caches make higher than the
    memory's where they are few. `machine` and `threads` say for what this holds; `attending.attention.limits` measures it.
    """

    flops_per_s: Mapping[str, float]
    bytes_per_s: float
    machine: str = "unnamed"
    threads: int | None = None
    bytes_per_s_by_size: Mapping[int, float] = field(default_factory=dict)

    def bandwidth(self, n_bytes: float) -> float:
        """Bytes/s at which a set of this size can be read again: the best rate of any set as large or larger."""
        rates = [rate for size, rate in self.bytes_per_s_by_size.items() if size >= n_bytes]
        return max(rates, default=self.bytes_per_s)


@dataclass(frozen=True, kw_only=True)
class CacheCost:
    """Bytes of a cache that holds all tokens. `scales` are those of int8, `tables` what says who is in which cluster."""

    per_token: int
    used: int
    allocated: int
    scales: int = 0
    scales_allocated: int = 0
    tables: int = 0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One attention layer over `length` tokens of `batch` samples. In decode: one more token, `length` keys with it.

    With a `context` the keys are its tokens, projected once: in decode they lie in the cache already.

    `flops`: matrix products as `torch.utils.flop_counter` counts them on the reference path. `causal_flops`: of these, the
    pairs that a causal mask lets be seen. `activation_bytes`: what passes between the layer's projections, each once: tokens
    in, what is projected of them, the heads' answers, tokens out; scores are not among it, because no core holds them whole.
    `unread_bytes`: the part of the cache that a decode step can leave alone.
    """

    phase: Phase
    dtype: str
    parameters: int
    flops: int
    causal_flops: int
    parameter_bytes: int
    activation_bytes: int
    cache: "CacheCost"
    unread_bytes: int = 0

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise AttentionError(f"cost: found the phase {self.phase!r}, expected one of {', '.join(PHASES)}")
        if self.dtype == "int8":
            raise AttentionError(
                'cost: int8 is how caches store, not how layers compute; write dtype="float32", cache_dtype="int8"'
            )

    @property
    def bytes_moved(self) -> int:
        """Least traffic: parameters once, activations once, and in decode what is read of the cache once."""
        cache = self.cache.used + self.cache.scales - self.unread_bytes if self.phase == "decode" else 0
        return self.parameter_bytes + self.activation_bytes + cache

    @property
    def intensity(self) -> float:
        """FLOP per byte moved."""
        return self.causal_flops / self.bytes_moved

    def floor(self, limits: Limits) -> float:
        """Seconds below which no implementation can come on such a machine."""
        if self.dtype not in limits.flops_per_s:
            known = ", ".join(sorted(limits.flops_per_s))
            raise AttentionError(f"limits: no rate for {self.dtype}; measured are {known}")
        moved = self.bytes_moved
        return max(self.causal_flops / limits.flops_per_s[self.dtype], moved / limits.bandwidth(moved))


class Costed(Protocol):
    """What can say what it costs: every `MechanismConfig`."""

    def cost(self, length: int, *, batch: int = 1, dtype: str = "float32", phase: Phase = "prefill") -> Cost:
        """Cost of one layer."""


@dataclass(frozen=True, kw_only=True)
class RaggedCost:
    """A padded batch with what its padding costs told apart. `padded`: every sample as long as the longest.

    `flops` and `causal_flops` are those of the real tokens alone, as if each sample were run by itself.
    """

    padded: Cost
    flops: int
    causal_flops: int

    @property
    def padding_flops(self) -> int:
        """FLOPs that go into tokens which are not there."""
        return self.padded.flops - self.flops


def ragged_cost(config: Costed, lengths: Sequence[int], *, dtype: str = "float32", phase: Phase = "prefill") -> RaggedCost:
    """Cost of samples of these lengths in one batch, padded to the longest, and of their real tokens alone."""
    if not lengths:
        raise AttentionError("cost: found no lengths, expected one for each sample")
    alone = [config.cost(length, dtype=dtype, phase=phase) for length in lengths]
    return RaggedCost(
        padded=config.cost(max(lengths), batch=len(lengths), dtype=dtype, phase=phase),
        flops=sum(one.flops for one in alone),
        causal_flops=sum(one.causal_flops for one in alone),
    )


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Which tokens meet in a phase: `rows` ask, `projected` become keys now, and there are `keys` in all.

    `pairs` are rows × keys; `seen` those of them that a causal mask lets be seen, all of them over a context. `beside`: tokens
    of a context that are read now.
    """

    rows: int
    projected: int
    keys: int
    pairs: int
    seen: int
    beside: int = 0


def meeting(length: int, *, phase: Phase, context: int | None) -> Meeting:
    """`length` tokens that look at each other, or at `context` others; in decode one token, behind those before it."""
    if phase not in PHASES:
        raise AttentionError(f"cost: found the phase {phase!r}, expected one of {', '.join(PHASES)}")
    if length < 0 or (context is not None and context < 0):
        raise AttentionError(f"cost: found a length of {length} and a context of {context} tokens; expected 0 or more")
    is_step = phase == "decode"
    rows = 1 if is_step else length
    if context is not None:
        pairs = rows * context
        projected = 0 if is_step else context
        return Meeting(rows=rows, projected=projected, keys=context, pairs=pairs, seen=pairs, beside=projected)
    seen = length if is_step else length * (length + 1) // 2
    return Meeting(rows=rows, projected=rows, keys=length, pairs=rows * length, seen=seen)


def bytes_of(dtype: str) -> int:
    """Bytes of one number of the named type."""
    if dtype not in BYTES:
        raise AttentionError(f"cost: unknown number type {dtype!r}; known are {', '.join(BYTES)}")
    return BYTES[dtype]


def cache_cost(
    widths: Mapping[str, tuple[int, int]], *, length: int, batch: int, dtype: str, context: int | None = None
) -> CacheCost:
    """Bytes of a growing memory with these (heads, dim) by name, after `length` tokens; over a context, of one that fits it."""
    if context is not None:
        return slots_cost(widths, used=context, allocated=max(context, 1), batch=batch, dtype=dtype)
    return slots_cost(widths, used=length, allocated=capacity_for(length), batch=batch, dtype=dtype)


def slots_cost(
    widths: Mapping[str, tuple[int, int]], *, used: int, allocated: int, batch: int, dtype: str, per_token: int | None = None
) -> CacheCost:
    """Bytes of a memory of `allocated` slots, `used` of them full. `per_token` None: each token fills one slot more."""
    if used < 0 or batch < 1:
        raise AttentionError(
            f"cost: found a length of {used} and a batch of {batch}; expected 0 tokens or more of 1 sample or more"
        )
    per_slot = sum(heads * dim for heads, dim in widths.values()) * bytes_of(dtype)
    scale = sum(heads for heads, _ in widths.values()) * BYTES["float32"] if dtype == "int8" else 0
    return CacheCost(
        per_token=per_slot if per_token is None else per_token,
        used=batch * used * per_slot,
        allocated=batch * allocated * per_slot,
        scales=batch * used * scale,
        scales_allocated=batch * allocated * scale,
    )


def capacity_for(length: int) -> int:
    """Slots of a growing memory after `length` tokens, however they came."""
    return 0 if length == 0 else max(SMALLEST, 1 << (length - 1).bit_length())
