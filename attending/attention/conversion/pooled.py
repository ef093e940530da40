"""Mean pooling: KV heads that lie side by side are averaged into one (Ainslie et al. 2023, arXiv 2305.13245, section 2.1).

The plain beginning for grouped-query and multi-query attention. Exact where the heads of a group are equal, or where no head is
given up. It looks at no data; `aligned.py` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from attending.attention.conversion.conversion import Conversion, Converted, Seen, check_group_size
from attending.attention.conversion.weights import beside_projections, filled, grouped_state, read_weights
from attending.attention.grouped import GroupedAttention, GroupedConfig


@dataclass(frozen=True, kw_only=True)
class PooledConversion(Conversion):
    """To `n_kv_heads` KV heads, each the mean of neighbours. Needs no calibration."""

    n_kv_heads: int

    def check(self, source: GroupedConfig, seen: Sequence[Seen] = ()) -> None:
        check_group_size(source, self.n_kv_heads)

    def convert(self, layer: GroupedAttention, seen: Sequence[Seen]) -> Converted:
        config = layer.config
        self.check(config)
        weights = read_weights(layer)
        of_group = {
            name: getattr(weights, name).unflatten(0, (self.n_kv_heads, -1)).mean(dim=1)
            for name in ("key", "key_bias", "value", "value_bias")
        }
        state = grouped_state(replace(weights, **of_group)) | beside_projections(layer)
        made = filled(replace(config, n_kv_heads=self.n_kv_heads), state, like=layer)
        told = f"{config.kv_heads} KV heads averaged into {self.n_kv_heads}"
        return Converted(layer=made, heads=tuple(range(config.n_heads)), told=told)
