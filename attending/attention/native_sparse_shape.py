"""The sizes of native sparse attention, and what they cost: runs, blocks, a window, and one choice of blocks a KV group.

Arithmetic only; the layer is `native_sparse.py`.
"""

from dataclasses import dataclass

from attending.attention.block_choice import Runs
from attending.attention.blocks import band_pairs, seen_pairs
from attending.attention.costs import CacheCost, Cost, Phase, bytes_of, capacity_for, meeting, slots_cost
from attending.attention.errors import AttentionError
from attending.attention.heads import SharedHeadShape
from attending.attention.positions import LearnedConfig, RotaryConfig

FEW_QUERIES = 16
_COPYING = 20.0
"""Beyond a few queries, copying a key of a KV head takes about as long as one head's attention to so many keys, on a CPU.

Chosen by where reading the picked alone began to win over hiding the others, on a busy machine with one thread; never measured
on a quiet one. Bytes and products alone would say less: it also stands for the small products that each query's own keys make.
"""


@dataclass(frozen=True, kw_only=True)
class NativeSparseShape(SharedHeadShape):
    """The defaults are the paper's sizes: runs of 32 tokens every 16, 16 blocks of 64, a window of 512 with the token itself.

    Of the `n_selected` blocks the `n_first` first ones and the `n_local` last ones up to the query's own are always read.
    `pool_dim` is the width of the hidden layer that pools a run (None: that of a head).
    """

    run: int = 32
    stride: int = 16
    block: int = 64
    n_selected: int = 16
    n_first: int = 1
    n_local: int = 2
    before: int = 511
    after: int = 0
    pool_dim: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.stride <= self.run:
            raise AttentionError(
                f"native sparse: found runs of {self.run} tokens every {self.stride}; expected a stride of 1 to {self.run}, or "
                "tokens between two runs would be in neither"
            )
        if min(self.block, self.n_local, self.pooled_dim) < 1 or min(self.n_first, self.before, self.after) < 0:
            raise AttentionError(
                f"native sparse: found block={self.block}, n_local={self.n_local}, pool_dim={self.pool_dim}, which are 1 or "
                f"more, and n_first={self.n_first}, before={self.before}, after={self.after}, which are 0 or more"
            )
        if self.n_first + self.n_local > self.n_selected:
            raise AttentionError(
                f"n_selected: found {self.n_selected}, expected at least n_first + n_local = {self.n_first + self.n_local}, "
                "which are always among them"
            )
        if not isinstance(self.position, (RotaryConfig, LearnedConfig, type(None))):
            raise AttentionError(
                f"native sparse: found {type(self.position).__name__}, which adds to the scores of tokens, and a run has none; "
                "take RotaryConfig or LearnedConfig"
            )

    @property
    def runs(self) -> Runs:
        return Runs(size=self.run, stride=self.stride)

    @property
    def blocks(self) -> Runs:
        return Runs(size=self.block, stride=self.block)

    @property
    def reach(self) -> tuple[int, int]:
        return self.before, self.after

    @property
    def pooled_dim(self) -> int:
        return self.width if self.pool_dim is None else self.pool_dim

    def gathers(self, n_query: int, n_key: int) -> bool:
        """Whether reading only the picked blocks is less work than attending to all and hiding the others.

        A few queries read them where they lie; many would wait for memory, and need so much longer a sequence.
        """
        copying = _COPYING * self.kv_heads / self.n_heads if n_query > FEW_QUERIES else 0.0
        return self.n_selected * self.block * (1.0 + copying) < n_key

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
                f"native sparse: found a context of {context} tokens, and windows and blocks count places; leave context out"
            )
        met, size, hidden = meeting(length, phase=phase, context=None), bytes_of(dtype), self.pooled_dim
        heads, kv, gates = self.n_heads * self.width, 6 * self.kv_heads * self.width, 3 * self.n_heads
        linear = self.dim * (2 * heads + kv + gates)
        pooling = 2 * hidden * self.width * (self.run + 1)
        extra = 2 * (self.run * self.width + hidden + self.width) + gates + self.position_parameters
        extra += (heads + kv if self.bias else 0) + (self.dim if self.output_bias else 0)
        n_runs = made = self.runs.whole(length)
        gathers = phase != "train" and self.gathers(met.rows, met.keys)
        read = self.n_selected * self.block if gathers else met.keys
        if phase == "decode":
            made -= self.runs.whole(length - 1)
            near = min(length, self.before + 1)
            pairs = n_runs + read + near
            seen = n_runs + self._read_up_to(length) - self._read_up_to(length - 1) + near
        else:
            pairs = met.rows * (n_runs + read) + band_pairs(length, self.before, self.after)
            seen = self.runs.whole_up_to(length) + self._read_up_to(length) + seen_pairs(length, self.before)
        times = (6 if phase == "train" else 2) * batch
        products = met.rows * linear + made * self.kv_heads * pooling
        passed = met.rows * (2 * self.dim + 2 * heads + kv + gates) + made * 2 * self.kv_heads * (hidden + self.width)
        unread = slots_cost(self.remembered, used=met.keys - read, allocated=0, batch=batch, dtype=cache_dtype or dtype)
        return Cost(
            phase=phase,
            dtype=dtype,
            parameters=linear + pooling + extra,
            parameter_bytes=(linear + pooling + extra) * size,
            flops=times * (products + pairs * 2 * heads),
            causal_flops=times * (products + seen * 2 * heads),
            activation_bytes=batch * passed * size,
            cache=self._cache_cost(length, batch=batch, dtype=cache_dtype or dtype),
            unread_bytes=unread.used + unread.scales,
        )

    def _read_up_to(self, length: int) -> int:
        """Tokens that the first `length` tokens read in picked blocks, summed over them; the last block is their own."""
        few = min(max(length, 0), self.n_selected * self.block)
        full, rest = divmod(max(length - few, 0), self.block)
        of_own = full * (self.block * (self.block + 1) // 2) + rest * (rest + 1) // 2
        return few * (few + 1) // 2 + (full * self.block + rest) * (self.n_selected - 1) * self.block + of_own

    def _cache_cost(self, length: int, *, batch: int, dtype: str) -> CacheCost:
        """Tokens and runs for ever, rings of the window and of what waits to be pooled."""
        n_runs = self.runs.whole(length)
        slots = [(length, capacity_for(length)), (n_runs, capacity_for(n_runs))]
        slots += [(min(length, n), n) for n in (self.before + 1, self.run)]
        parts = [
            slots_cost(self.remembered, used=used, allocated=allocated, batch=batch, dtype=dtype) for used, allocated in slots
        ]
        return CacheCost(
            per_token=parts[0].per_token + round(parts[0].per_token / self.stride),
            used=sum(part.used for part in parts),
            allocated=sum(part.allocated for part in parts),
            scales=sum(part.scales for part in parts),
            scales_allocated=sum(part.scales_allocated for part in parts),
        )
