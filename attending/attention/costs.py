"""What a mechanism costs, as arithmetic: no tensor is made and nothing is timed.

FLOPs are those of the matrix products, as `torch.utils.flop_counter` counts them on the reference path: full square scores, no
skipping. What a core leaves out for causality is in `executed_flops`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from attending.attention.errors import AttentionError

Phase = Literal["prefill", "decode", "train"]
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
"""Bytes of one number."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a machine can do: matrix products in FLOP/s by number type, and memory in bytes/s."""

    flops_per_s: Mapping[str, float]
    bytes_per_s: float
    machine: str = "unnamed"
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One attention layer over `length` tokens of `batch` samples. In decode: one more token, `length` keys with it."""

    phase: Phase
    dtype: str
    parameters: int
    flops: int
    executed_flops: int
    parameter_bytes: int
    activation_bytes: int
    cache_bytes_per_token: int
    cache_bytes: int
    cache_bytes_allocated: int
    cache_extra_bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def bytes_moved(self) -> int:
        """Least traffic: parameters once, activations once, and in decode the cache once."""
        cache = self.cache_bytes if self.phase == "decode" else 0
        return self.parameter_bytes + self.activation_bytes + cache

    @property
    def intensity(self) -> float:
        """FLOP per byte moved."""
        return self.executed_flops / self.bytes_moved

    def floor(self, limits: Limits) -> float:
        """Seconds below which no implementation can come on such a machine."""
        if self.dtype not in limits.flops_per_s:
            known = ", ".join(sorted(limits.flops_per_s))
            raise AttentionError(f"limits: no rate for {self.dtype}; measured are {known}")
        return max(self.executed_flops / limits.flops_per_s[self.dtype], self.bytes_moved / limits.bytes_per_s)


def bytes_of(dtype: str) -> int:
    """Bytes of one number of the named type."""
    if dtype not in BYTES:
        raise AttentionError(f"cost: unknown number type {dtype!r}; known are {', '.join(BYTES)}")
    return BYTES[dtype]
