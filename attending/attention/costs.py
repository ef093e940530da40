"""What a mechanism costs, as arithmetic: no tensor is made and nothing is timed.

FLOPs are those of the matrix products, as `torch.utils.flop_counter` counts them on the reference path: full square scores, no
skipping. `causal_flops` counts only the pairs that a causal mask lets be seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from attending.attention.errors import AttentionError

Phase = Literal["prefill", "decode", "train"]
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Bytes of one number."""
SMALLEST = 16
"""Slots of a growing memory once it holds anything."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a machine can do: matrix products in FLOP/s by number type, and memory in bytes/s."""

    flops_per_s: Mapping[str, float]
    bytes_per_s: float
    machine: str = "unnamed"
    threads: int | None = None


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
    """One attention layer over `length` tokens of `batch` samples. In decode: one more token, `length` keys with it."""

    phase: Phase
    dtype: str
    parameters: int
    flops: int
    causal_flops: int
    parameter_bytes: int
    activation_bytes: int
    cache: "CacheCost"

    @property
    def bytes_moved(self) -> int:
        """Least traffic: parameters once, activations once, and in decode the cache once."""
        cache = self.cache.used + self.cache.scales if self.phase == "decode" else 0
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
        return max(self.causal_flops / limits.flops_per_s[self.dtype], self.bytes_moved / limits.bytes_per_s)


def bytes_of(dtype: str) -> int:
    """Bytes of one number of the named type."""
    if dtype not in BYTES:
        raise AttentionError(f"cost: unknown number type {dtype!r}; known are {', '.join(BYTES)}")
    return BYTES[dtype]


def cache_cost(widths: Mapping[str, tuple[int, int]], *, length: int, batch: int, dtype: str) -> CacheCost:
    """Bytes of a growing memory with these (heads, dim) by name, after `length` tokens."""
    return slots_cost(widths, used=length, allocated=capacity_for(length), batch=batch, dtype=dtype)


def slots_cost(
    widths: Mapping[str, tuple[int, int]], *, used: int, allocated: int, batch: int, dtype: str, per_token: int | None = None
) -> CacheCost:
    """Bytes of a memory of `allocated` slots, `used` of them full. `per_token` None: each token fills one slot more."""
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
