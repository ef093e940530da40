"""Clustered heads: heads whose attention maps look alike share one row of scores (CHAI, arXiv 2403.08058), found offline.

Exact where the heads of a cluster score alike. Keys and queries are given up, values never: at most half of an MHA cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attending.attention.clustered import ClusteredConfig
from attending.attention.clusters import find_clusters, group_heads
from attending.attention.conversion.conversion import (
    Conversion,
    ConversionError,
    Converted,
    Seen,
    need_calibration,
    refuse_extras,
)
from attending.attention.conversion.weights import filled
from attending.attention.grouped import GroupedAttention, GroupedConfig


@dataclass(frozen=True, kw_only=True)
class ClusteredConversion(Conversion):
    """To `n_clusters` clusters in every layer, or None: as many as each layer's maps show."""

    n_clusters: int | None = None

    def check(self, source: GroupedConfig, seen: Sequence[Seen] = ()) -> None:
        refuse_extras(source, "clustered", "gqa and mqa")
        if self.n_clusters is not None and not 1 <= self.n_clusters <= source.n_heads:
            raise ConversionError(
                f"clustered:{self.n_clusters}: found {source.n_heads} heads; possible are 1 to {source.n_heads}"
            )

    def convert(self, layer: GroupedAttention, seen: Sequence[Seen]) -> Converted:
        config = layer.config
        self.check(config)
        need_calibration(seen, "clustered")
        maps = _maps(layer, seen)
        found = find_clusters(maps) if self.n_clusters is None else group_heads(maps, self.n_clusters)
        new = ClusteredConfig(
            dim=config.dim,
            n_heads=config.n_heads,
            head_dim=config.head_dim,
            n_kv_heads=config.n_kv_heads,
            bias=config.bias,
            output_bias=config.output_bias,
            dropout=config.dropout,
            position=config.position,
            scale=config.scale,
            context_dim=config.context_dim,
            n_clusters=found.n_clusters,
            leaders=found.leaders,
        )
        told = f"{config.n_heads} heads in {found.n_clusters} clusters"
        made = filled(new, new.weights_from(layer.state_dict()), like=layer)
        return Converted(layer=made, heads=tuple(range(config.n_heads)), told=told)


@torch.no_grad()
def _maps(layer: GroupedAttention, seen: Sequence[Seen]) -> Iterator[Tensor]:
    """Weights of each call; rows of padding are 0."""
    for one in seen:
        yield one.weights_of(layer)
