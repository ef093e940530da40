"""The sizes of windows with global tokens, what they cost, and which way the rows of global tokens go.

Arithmetic only; the layer is `windowed.py`.
"""

from dataclasses import dataclass, replace

from attending.attention.blocks import band_pairs, seen_pairs
from attending.attention.costs import CacheCost, Cost, Phase, bytes_of, meeting, slots_cost
from attending.attention.errors import AttentionError
from attending.attention.heads import SharedHeadShape
from attending.attention.positions import RotaryConfig


@dataclass(frozen=True, kw_only=True)
class WindowedShape(SharedHeadShape):
    """The first `n_global` real tokens of each sample are global; 0 is a plain sliding window."""

    before: int
    after: int = 0
    n_global: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.before, self.after, self.n_global) < 0:
            raise AttentionError(
                f"window: found before={self.before}, after={self.after}, n_global={self.n_global}; all count tokens, 0 or more"
            )

    @property
    def reach(self) -> tuple[int, int]:
        return self.before, self.after

    @property
    def remembered_of_global(self) -> dict[str, tuple[int, int]]:
        """(heads, dim) of what a cache holds of each global token for ever."""
        return dict.fromkeys(("key", "value", "global_key", "global_value"), (self.kv_heads, self.width))

    @property
    def absorbed_dim(self) -> int:
        """Numbers of a token that absorbed rows meet: itself, and a 1 that carries the biases."""
        return self.dim + (1 if self.bias else 0)

    def why_not_absorbed(self, n_rows: int, n_key: int) -> str:
        """Why the rows of global tokens take keys and values of all tokens ("": they meet the tokens themselves).

        Expanded: n_key·d·2·h_kv·w to project and n_rows·n_key·2·h·w to attend. Absorbed: n_rows·2·h·w·d' to take queries to the
        tokens and means to values, and n_rows·n_key·2·h·d' to attend, d' being d and 1 for biases. With as many KV heads as
        heads that is fewer up to about as many rows as a head is wide.
        """
        if isinstance(self.position, RotaryConfig):
            return "keys are turned by their places, which differ from token to token"
        heads, kv = self.n_heads * self.width, self.kv_heads * self.width
        expanded = 2 * n_key * (self.dim * kv + n_rows * heads)
        absorbed = 2 * n_rows * self.n_heads * self.absorbed_dim * (self.width + n_key)
        return "" if absorbed < expanded else "for so many rows it takes more products"

    def cost(
        self,
        length: int,
        *,
        batch: int = 1,
        dtype: str = "float32",
        phase: Phase = "prefill",
        cache_dtype: str | None = None,
        context: int | None = None,
    ) -> Cost:
        if context is not None:
            raise AttentionError(
                f"windowed: found a context of {context} tokens, and a window counts places; leave context out"
            )
        met = meeting(length, phase=phase, context=None)
        size, heads, kv = bytes_of(dtype), self.n_heads * self.width, 2 * self.kv_heads * self.width
        linear = self.dim * (2 * heads + kv)
        own = self.dim * (heads + kv) if self.n_global else 0
        sets = 2 if self.n_global else 1
        extra = (sets * (heads + kv) if self.bias else 0) + (self.dim if self.output_bias else 0)
        extra += self.position_parameters
        passes, rows = 3 if phase == "train" else 1, min(self.n_global, length)
        per_pair = per_own_pair = 2 * heads
        if phase == "decode":
            rows_now = 1 if length <= self.n_global else 0
            of_global, again = rows_now * own, rows_now * (2 * heads + kv)
            near, own_pairs = min(length, self.before + 1), rows_now * rows
            pairs, seen, own_seen = near + rows, near + min(rows, length - near), own_pairs
        else:
            of_global, again = self.dim * heads * rows, 2 * heads * rows
            if rows and not self.why_not_absorbed(rows, length):
                per_own_pair = 2 * self.n_heads * self.absorbed_dim
                of_global += rows * self.width * per_own_pair
                again += rows * per_own_pair
            elif rows:
                of_global += self.dim * kv * length
                again += kv * length
            pairs, own_pairs = band_pairs(length, self.before, self.after) + length * rows, length * rows
            far = sum(max(length - self.before - 1 - place, 0) for place in range(rows))
            seen, own_seen = seen_pairs(length, self.before) + far, rows * (rows + 1) // 2
        products = met.rows * linear + of_global
        return Cost(
            phase=phase,
            dtype=dtype,
            parameters=linear + own + extra,
            parameter_bytes=(linear + own + extra) * size,
            flops=passes * 2 * batch * (products + pairs * per_pair + own_pairs * per_own_pair),
            causal_flops=passes * 2 * batch * (products + seen * per_pair + own_seen * per_own_pair),
            activation_bytes=batch * (met.rows * (2 * self.dim + 2 * heads + kv) + again) * size,
            cache=self._cache_cost(length, batch=batch, dtype=cache_dtype or dtype),
        )

    def _cache_cost(self, length: int, *, batch: int, dtype: str) -> CacheCost:
        slots = self.before + 1
        ring = slots_cost(self.remembered, used=min(length, slots), allocated=slots, batch=batch, dtype=dtype)
        if self.n_global == 0:
            return ring
        held = min(length, self.n_global)
        ever = slots_cost(self.remembered_of_global, used=held, allocated=self.n_global, batch=batch, dtype=dtype)
        return replace(
            ring,
            used=ring.used + ever.used,
            allocated=ring.allocated + ever.allocated,
            scales=ring.scales + ever.scales,
            scales_allocated=ring.scales_allocated + ever.scales_allocated,
        )
