"""A sliding window: the same weights, and only near tokens are seen (Longformer, arXiv 2004.05150; Mistral).

Exact where no weight lies further away than the window reaches; the cache then stops growing. Global tokens keep the far view
for the first tokens of a sequence, at the price of a second set of projections, copies of the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from attending.attention.conversion.conversion import Conversion, ConversionError, Converted, Seen, refuse_extras
from attending.attention.conversion.weights import filled
from attending.attention.grouped import GroupedAttention, GroupedConfig
from attending.attention.windowed import WindowedConfig

_GLOBAL = ("query", "key", "value")


@dataclass(frozen=True, kw_only=True)
class WindowedConversion(Conversion):
    """To a window of `before` tokens before and `after` tokens after each, and `n_global` first tokens that see all."""

    before: int
    after: int
    n_global: int = 0

    def check(self, source: GroupedConfig, seen: Sequence[Seen] = ()) -> None:
        refuse_extras(source, "window", "gqa and mqa")
        if min(self.before, self.after, self.n_global) < 0:
            raise ConversionError(
                f"window: found before={self.before}, after={self.after}, global={self.n_global}; possible are 0 and more"
            )
        if source.context_dim is not None or any(one.context is not None for one in seen):
            raise ConversionError(
                "window: this layer looks at a context, and a window counts places, which a context does not share; possible "
                "are gqa, mqa, mla and clustered"
            )

    def convert(self, layer: GroupedAttention, seen: Sequence[Seen]) -> Converted:
        config = layer.config
        self.check(config, seen)
        new = WindowedConfig(
            dim=config.dim,
            n_heads=config.n_heads,
            head_dim=config.head_dim,
            n_kv_heads=config.n_kv_heads,
            bias=config.bias,
            output_bias=config.output_bias,
            dropout=config.dropout,
            position=config.position,
            scale=config.scale,
            before=self.before,
            after=self.after,
            n_global=self.n_global,
        )
        state = dict(layer.state_dict())
        if self.n_global:
            state |= {f"global_{name}": tensor for name, tensor in state.items() if name.startswith(_GLOBAL)}
        told = f"{self.before} tokens before and {self.after} after are seen"
        return Converted(layer=filled(new, state, like=layer), heads=tuple(range(config.n_heads)), told=told)
