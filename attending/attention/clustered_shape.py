"""Which heads share scores, what a layer of them keeps of each token, and what it costs: arithmetic, no tensors.

Static clusters are named by their leaders, and the layer is as small as they allow. Where each sample finds its own, any head
may come to lead: all are projected, and a cache holds full keys until clusters are known. `clustered.py` is the mechanism.
"""

from dataclasses import dataclass, replace

from attending.attention.costs import CacheCost, Cost, Phase, bytes_of, cache_cost, meeting, slots_cost
from attending.attention.errors import AttentionError
from attending.attention.heads import SharedHeadShape
from attending.attention.membership import Membership


@dataclass(frozen=True, kw_only=True)
class ClusteredShape(SharedHeadShape):
    """`n_clusters` of the heads' scores are computed. `leaders[h]` is the head whose scores head h uses, for every sample.

    `leaders` None: each sample finds its own clusters from the maps of its first `observe` tokens, whose rows use all heads;
    that serves causal self-attention only. With fewer KV heads than heads a key is dropped only if no representative reads it.
    """

    n_clusters: int
    leaders: tuple[int, ...] | None = None
    observe: int = 5
    context_dim: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n_clusters <= self.n_heads:
            raise AttentionError(f"n_clusters: found {self.n_clusters} for {self.n_heads} heads, expected 1 to {self.n_heads}")
        if self.observe < 1:
            raise AttentionError(f"observe: found {self.observe}, expected 1 or more tokens to find clusters from")
        if self.leaders is not None:
            object.__setattr__(self, "leaders", tuple(self.leaders))
            self._check_leaders(self.leaders)

    def _check_leaders(self, leaders: tuple[int, ...]) -> None:
        if len(leaders) != self.n_heads or any(not 0 <= leader < self.n_heads for leader in leaders):
            raise AttentionError(f"leaders: found {leaders}, expected one head, 0 to {self.n_heads - 1}, for each of them")
        strays = [leader for leader in leaders if leaders[leader] != leader]
        if strays:
            raise AttentionError(f"leaders: found {leaders}; head {strays[0]} leads others and must lead itself")
        if len(set(leaders)) != self.n_clusters:
            raise AttentionError(f"leaders: found {len(set(leaders))} clusters in {leaders}, and n_clusters={self.n_clusters}")

    @property
    def source_dim(self) -> int:
        """Width of the tokens that become keys."""
        return self.dim if self.context_dim is None else self.context_dim

    @property
    def representatives(self) -> tuple[int, ...]:
        """Static representatives in order; none where each sample finds its own."""
        return () if self.leaders is None else tuple(sorted(set(self.leaders)))

    @property
    def key_heads(self) -> tuple[int, ...]:
        """KV heads whose keys a static representative reads, in order."""
        share = self.n_heads // self.kv_heads
        return tuple(sorted({head // share for head in self.representatives}))

    @property
    def n_kept_keys(self) -> int:
        """Key heads that a cache keeps."""
        return min(self.n_clusters, self.kv_heads) if self.leaders is None else len(self.key_heads)

    @property
    def remembered(self) -> dict[str, tuple[int, int]]:
        """(heads, dim) of what a cache holds of each token, by name, once membership is fixed."""
        return {"key": (self.n_kept_keys, self.width), "value": (self.kv_heads, self.width)}

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
        """As for every mechanism. Where samples find their own clusters, all heads are projected and then picked from."""
        if context is not None and self.leaders is None:
            raise AttentionError(
                f"clustered: found a context of {context} tokens, and clusters found from the first tokens serve "
                "causal self-attention only; give leaders=…"
            )
        met = meeting(length, phase=phase, context=context)
        size, width, is_static = bytes_of(dtype), self.width, self.leaders is not None
        queries = (self.n_clusters if is_static else self.n_heads) * width
        keys = (self.n_kept_keys if is_static else self.kv_heads) * width
        values, heads = self.kv_heads * width, self.n_heads * width
        weights = self.dim * queries + self.source_dim * (keys + values) + heads * self.dim
        extra = (queries + keys + values if self.bias else 0) + (self.dim if self.output_bias else 0)
        extra += self.position_parameters
        linear = met.rows * self.dim * (queries + heads) + met.projected * self.source_dim * (keys + values)
        times = (6 if phase == "train" else 2) * batch
        scored, early = self.n_clusters * width + heads, 0
        if not is_static:
            early = (1 if phase == "decode" else min(length, self.observe)) * min(length, self.observe) * 2 * heads
            if length <= self.observe:
                scored = 0
            elif phase == "decode":
                early = 0
        passed_on = met.rows * (2 * self.dim + queries + heads) + met.projected * (keys + values) + met.beside * self.source_dim
        return Cost(
            phase=phase,
            dtype=dtype,
            parameters=weights + extra,
            parameter_bytes=(weights + extra) * size,
            flops=times * (linear + met.pairs * scored + early),
            causal_flops=times * (linear + met.seen * scored + early),
            activation_bytes=batch * passed_on * size,
            cache=self._cache_cost(length, batch=batch, dtype=dtype, cache_dtype=cache_dtype or dtype, context=context),
        )

    def _cache_cost(self, length: int, *, batch: int, dtype: str, cache_dtype: str, context: int | None) -> CacheCost:
        """Before membership is fixed a sample holds the full keys and the maps of its first tokens, and no others."""
        whole = cache_cost(self.remembered, length=length, batch=batch, dtype=cache_dtype, context=context)
        if self.leaders is not None:
            return whole
        if length >= self.observe:
            sizes = {"n_heads": self.n_heads, "n_clusters": self.n_clusters, "n_kept": self.n_kept_keys}
            return replace(whole, tables=Membership.nbytes_for(batch=batch, **sizes))
        values = {"value": self.remembered["value"]}
        held = cache_cost(values, length=length, batch=batch, dtype=cache_dtype)
        full = slots_cost(
            {"key": (self.kv_heads, self.width)}, used=length, allocated=self.observe, batch=batch, dtype=cache_dtype
        )
        return replace(
            whole,
            used=held.used + full.used,
            scales=held.scales + full.scales,
            allocated=whole.allocated + full.allocated,
            scales_allocated=whole.scales_allocated + full.scales_allocated,
            tables=batch * self.n_heads * self.observe**2 * bytes_of(dtype),
        )
