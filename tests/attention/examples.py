"""What the contract is swept over: examples of every mechanism in the catalog, and every kind of mask beside its plain meaning.

A new mechanism adds one `Example` (with its reference) here and one line to `attending/attention/catalog.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attending.attention import (
    AlibiConfig,
    ClusteredConfig,
    GroupedConfig,
    IndexedConfig,
    LatentConfig,
    LearnedConfig,
    LowRankConfig,
    Mask,
    MechanismConfig,
    NativeSparseConfig,
    RelativeBiasConfig,
    RotaryConfig,
    WindowedConfig,
    blocks,
    causal,
    documents,
    drop,
    everything,
    keep,
    keep_keys,
    padding,
    window,
)
from tests.attention import references

BATCH, LENGTH, CONTEXT = 3, 11, 7


@dataclass(frozen=True, kw_only=True)
class Example:
    """A configuration with its reference. `masks`: the kinds it supports (empty: all); `caches`, `cross`: whether it can.

    `causal`: whether it can go without, must be, or cannot be. `is_ring`: its cache forgets what it is past seeing.
    `crops_to`: the fewest tokens that its cache can go back to. `weights_sum`: rows of its weights sum to 1 or 0. `biases`:
    whether numbers can be added to the scores of its keys.
    """

    config: MechanismConfig
    reference: Callable[..., tuple[Tensor, Tensor]]
    masks: tuple[str, ...] = ()
    caches: bool = True
    cross: bool = True
    causal: Literal["may", "must", "cannot"] = "may"
    is_ring: bool = False
    crops_to: int = 0
    weights_sum: bool = True
    biases: bool = True

    @property
    def counts_positions(self) -> bool:
        """Whether tokens know their place, which holes in the sequence then move; the references count indices."""
        knows = ("rotary", "before")
        return getattr(self.config, "position", None) is not None or any(hasattr(self.config, name) for name in knows)

    @property
    def plain(self) -> Mask:
        """Causal, where it can be."""
        return everything() if self.causal == "cannot" else causal()

    def under(self, mask: Mask) -> Mask:
        """The mask, and causal where it must be."""
        return causal() & mask if self.causal == "must" else mask


@dataclass(frozen=True, kw_only=True)
class MaskKind:
    """A mask, what it says about one pair: seen(sample, query, key), and which tokens it says exist at all."""

    mask: Mask
    seen: Callable[[int, int, int], bool]
    exists: Tensor | None = None

    def dense(self, batch: int, n_query: int, n_key: int, n_heads: int) -> Tensor:
        pairs = [[[self.seen(b, i, j) for j in range(n_key)] for i in range(n_query)] for b in range(batch)]
        return torch.tensor(pairs)[:, None].expand(-1, n_heads, -1, -1)


LENGTHS = torch.tensor([LENGTH, 4, 0])
REAL = torch.arange(LENGTH) < LENGTHS[:, None]
HOLES = torch.rand(BATCH, LENGTH, generator=torch.Generator().manual_seed(5)) > 0.4
PAIRS = torch.rand(BATCH, LENGTH, LENGTH, generator=torch.Generator().manual_seed(6)) > 0.5
PAIRS[0, 3] = False
IDS = torch.tensor([[0] * 4 + [1] * 7, [0] * 11, [0, 1] * 5 + [2]])
LAYOUT = torch.tensor([[True, False, True], [True, True, False], [False, False, True]])

MASKS: dict[str, MaskKind] = {
    "everything": MaskKind(mask=everything(), seen=lambda b, i, j: True),
    "causal": MaskKind(mask=causal(), seen=lambda b, i, j: j <= i),
    "padding": MaskKind(mask=padding(LENGTHS), seen=lambda b, i, j: j < int(LENGTHS[b]), exists=REAL),
    "keep_keys": MaskKind(mask=keep_keys(HOLES), seen=lambda b, i, j: bool(HOLES[b, j]), exists=HOLES),
    "causal & padding": MaskKind(
        mask=causal() & padding(LENGTHS), seen=lambda b, i, j: j <= i and j < int(LENGTHS[b]), exists=REAL
    ),
    "window": MaskKind(mask=window(2, 1), seen=lambda b, i, j: i - 2 <= j <= i + 1),
    "causal & window": MaskKind(mask=causal() & window(3, 0), seen=lambda b, i, j: i - 3 <= j <= i),
    "documents": MaskKind(mask=documents(IDS), seen=lambda b, i, j: bool(IDS[b, i] == IDS[b, j])),
    "blocks": MaskKind(mask=blocks(LAYOUT, size=4), seen=lambda b, i, j: bool(LAYOUT[i // 4, j // 4])),
    "keep": MaskKind(mask=keep(PAIRS), seen=lambda b, i, j: bool(PAIRS[b, i, j])),
    "causal | drop": MaskKind(mask=causal() | drop(PAIRS), seen=lambda b, i, j: j <= i or not PAIRS[b, i, j]),
}

LATENT = {"latent_dim": 8, "rope_dim": 4, "nope_dim": 6, "value_dim": 5}

EXAMPLES: dict[str, Example] = {
    "mha": Example(config=GroupedConfig(dim=24, n_heads=4), reference=references.grouped),
    "gqa": Example(config=GroupedConfig(dim=24, n_heads=4, n_kv_heads=2, bias=True), reference=references.grouped),
    "mqa": Example(
        config=GroupedConfig(dim=24, n_heads=4, n_kv_heads=1, head_dim=8, output_bias=True), reference=references.grouped
    ),
    "rotary": Example(
        config=GroupedConfig(dim=32, n_heads=4, n_kv_heads=2, position=RotaryConfig(), qk_norm_eps=1e-6),
        reference=references.grouped,
    ),
    "interleaved": Example(
        config=GroupedConfig(dim=32, n_heads=4, position=RotaryConfig(layout="interleaved", rotary_dim=4)),
        reference=references.grouped,
    ),
    "gemma": Example(
        config=GroupedConfig(dim=24, n_heads=4, n_kv_heads=2, softcap=2.0, scale=0.7), reference=references.grouped
    ),
    "sinks": Example(config=GroupedConfig(dim=24, n_heads=4, n_kv_heads=2, sinks=True), reference=references.grouped),
    "alibi": Example(
        config=GroupedConfig(dim=24, n_heads=4, n_kv_heads=2, position=AlibiConfig()), reference=references.grouped
    ),
    "t5": Example(
        config=GroupedConfig(dim=24, n_heads=4, position=RelativeBiasConfig(n_buckets=8, max_distance=10)),
        reference=references.grouped,
    ),
    "mla": Example(config=LatentConfig(dim=24, n_heads=4, **LATENT), reference=references.latent),
    "mla with a query latent": Example(
        config=LatentConfig(dim=24, n_heads=4, query_latent_dim=10, output_bias=True, **LATENT), reference=references.latent
    ),
    "dsa": Example(
        config=IndexedConfig(dim=24, n_heads=4, top_k=4, index_heads=2, index_dim=6, **LATENT), reference=references.indexed
    ),
    "dsa over all": Example(
        config=IndexedConfig(
            dim=24, n_heads=4, top_k=40, index_heads=2, index_dim=6, query_latent_dim=10, output_bias=True, **LATENT
        ),
        reference=references.latent,
    ),
    "learned": Example(
        config=GroupedConfig(dim=24, n_heads=4, position=LearnedConfig(length=16)), reference=references.grouped
    ),
    "longformer": Example(
        config=WindowedConfig(dim=24, n_heads=4, before=3, after=1, n_global=2, bias=True, output_bias=True),
        reference=references.windowed,
        cross=False,
        is_ring=True,
    ),
    "longformer with turned keys": Example(
        config=WindowedConfig(dim=32, n_heads=4, n_kv_heads=2, before=3, n_global=1, position=RotaryConfig(), bias=True),
        reference=references.windowed,
        cross=False,
        is_ring=True,
    ),
    "sliding window": Example(
        config=WindowedConfig(dim=32, n_heads=4, n_kv_heads=2, before=4, position=RotaryConfig()),
        reference=references.windowed,
        cross=False,
        is_ring=True,
    ),
    "linformer": Example(
        config=LowRankConfig(dim=24, n_heads=4, length=14, rank=3, bias=True, output_bias=True),
        reference=references.low_rank,
        masks=("everything", "padding", "keep_keys"),
        caches=False,
        causal="cannot",
        weights_sum=False,
    ),
    "linformer by head": Example(
        config=LowRankConfig(dim=24, n_heads=4, length=14, rank=10, sharing="none", bias=True),
        reference=references.low_rank,
        masks=("everything", "padding", "keep_keys"),
        caches=False,
        causal="cannot",
        weights_sum=False,
    ),
    "chai": Example(
        config=ClusteredConfig(dim=24, n_heads=4, n_clusters=2, leaders=(1, 1, 3, 3), bias=True, output_bias=True),
        reference=references.clustered,
    ),
    "chai over gqa": Example(
        config=ClusteredConfig(dim=32, n_heads=4, n_clusters=3, leaders=(0, 1, 2, 1), n_kv_heads=2, position=RotaryConfig()),
        reference=references.clustered,
    ),
    "chai by sample": Example(
        config=ClusteredConfig(dim=24, n_heads=4, n_clusters=2, observe=3, position=RotaryConfig(rotary_dim=4)),
        reference=references.clustered,
        masks=("causal", "causal & padding", "causal & window"),
        cross=False,
        causal="must",
        crops_to=3,
    ),
    "nsa": Example(
        config=NativeSparseConfig(
            dim=24,
            n_heads=4,
            n_kv_heads=2,
            run=3,
            stride=2,
            block=2,
            n_selected=3,
            n_local=1,
            before=1,
            bias=True,
            output_bias=True,
        ),
        reference=references.native_sparse,
        cross=False,
        is_ring=True,
        biases=False,
    ),
    "nsa both ways": Example(
        config=NativeSparseConfig(
            dim=32,
            n_heads=4,
            n_kv_heads=1,
            run=2,
            stride=1,
            block=4,
            n_selected=2,
            n_first=0,
            n_local=1,
            before=2,
            after=1,
            position=RotaryConfig(rotary_dim=4),
            pool_dim=5,
        ),
        reference=references.native_sparse,
        cross=False,
        is_ring=True,
        biases=False,
    ),
}


def tokens(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
