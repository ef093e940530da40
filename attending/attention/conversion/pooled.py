"""Mean pooling: KV heads that lie side by side are averaged into one (Ainslie et al. 2023, arXiv 2305.13245, section 2.1).

The plain beginning for grouped-query and multi-query attention. Exact where the heads of a group are equal, or where no head is
given up. It looks at no data; `aligned.py` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from attending.attention.conversion.conversion import Conversion, ConversionError, Converted, Seen
from attending.attention.conversion.weights import filled, grouped_state, read_weights
from attending.attention.grouped import GroupedAttention, GroupedConfig


@dataclass(frozen=True, kw_only=True)
class PooledConversion(Conversion):
    """To `n_kv_heads` KV heads, each the mean of neighbours. Needs no calibration."""

    n_kv_heads: int

    def check(self, source: GroupedConfig) -> None:
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


def check_group_size(source: GroupedConfig, n_kv_heads: int) -> None:
    """Raise where KV heads cannot be shared out so."""
    possible = [n for n in range(1, source.kv_heads + 1) if source.kv_heads % n == 0]
    if n_kv_heads not in possible:
        raise ConversionError(
            f"gqa:{n_kv_heads}: found {source.kv_heads} KV heads, which do not divide into {n_kv_heads} groups of one size; "
            f"possible are {', '.join(map(str, possible))}"
        )


def beside_projections(layer: GroupedAttention) -> dict[str, Tensor]:
    """State that belongs to no projection: norms, sinks, position tables."""
    own = ("query.", "key.", "value.", "output.")
    return {name: tensor.double() for name, tensor in layer.state_dict().items() if not name.startswith(own)}
