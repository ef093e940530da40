"""The contract: what it means to turn a trained attention layer into a cheaper one, and what a layer was given when watched.

A conversion is a configuration: it says of a layer whether it can be converted and makes the new layer, from the weights alone
or with the help of inputs that the layer has seen. It never trains.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attending.attention.errors import AttentionError
from attending.attention.grid import aligned
from attending.attention.grouped import GroupedAttention, GroupedConfig
from attending.attention.masks import present
from attending.attention.mechanism import Mechanism, MechanismConfig
from attending.attention.rules import Mask
from attending.attention.scoring import ScoreBias
from attending.attention.tracing import title_of


class ConversionError(AttentionError):
    """A layer was asked to become what it cannot become; the message says what is possible."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One call of a layer: what `Mechanism.forward` was given."""

    x: Float[Tensor, "batch query dim"]
    mask: Mask
    context: Float[Tensor, "batch key context"] | None = None
    positions: Int[Tensor, "batch query"] | None = None
    bias: ScoreBias | None = None

    def answered_by(self, layer: Mechanism) -> Float[Tensor, "batch query dim"]:
        """What the layer makes of it."""
        return layer(self.x, mask=self.mask, context=self.context, positions=self.positions, bias=self.bias)

    def weights_of(self, layer: Mechanism) -> Float[Tensor, "batch head query key"]:
        """Its weights; rows of padding are 0."""
        weights = layer.weights(self.x, mask=self.mask, context=self.context, positions=self.positions, bias=self.bias)
        return weights * self.rows[:, None, :, None]

    @property
    def rows(self) -> Bool[Tensor, "batch query"]:
        """Queries that exist: padding asks nothing."""
        everywhere = torch.ones(self.x.shape[:2], dtype=torch.bool, device=self.x.device)
        if self.context is not None:
            return everywhere
        kept = present(self.mask, aligned(self.x.shape[1], self.x.shape[1], self.x.device))
        return everywhere if kept is None else everywhere & kept

    def parted(self) -> tuple["Seen", "Seen"]:
        """The two halves of its samples; the second is empty where there is only one."""
        n = len(self.x)
        half = (n + 1) // 2

        def of(tensor: Tensor, chosen: slice) -> Tensor:
            return tensor[chosen] if len(tensor) == n else tensor

        def part(chosen: slice) -> "Seen":
            return Seen(
                x=self.x[chosen],
                mask=self.mask.samples(chosen),
                context=None if self.context is None else self.context[chosen],
                positions=None if self.positions is None else of(self.positions, chosen),
                bias=of(self.bias, chosen) if isinstance(self.bias, Tensor) else self.bias,
            )

        return part(slice(0, half)), part(slice(half, n))

    @property
    def bias_differs_by_head(self) -> bool:
        """Whether a bias from outside names the heads, which then cannot change places."""
        return self.bias is not None and not (isinstance(self.bias, Tensor) and self.bias.shape[1] == 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Converted:
    """A new layer in the dtype and on the device of the old one.

    `heads[h]` is the head of the old layer that head h of the new one stands for. `told` says what is exact and what is not.
    """

    layer: Mechanism
    heads: tuple[int, ...]
    told: str


@dataclass(frozen=True, kw_only=True)
class Conversion(ABC):
    """What trained multi-head or grouped-query attention is to become."""

    @abstractmethod
    def check(self, source: GroupedConfig, seen: Sequence[Seen] = ()) -> None:
        """Raise `ConversionError` where such a layer, used like this, cannot become it; one sentence, with what is possible."""

    @abstractmethod
    def convert(self, layer: GroupedAttention, seen: Sequence[Seen]) -> Converted:
        """The new layer. `seen` are calibration inputs; which conversions do without, their docstrings say."""

    def planned(self, layers: Sequence[tuple[GroupedAttention, Sequence[Seen]]]) -> tuple["Conversion", ...]:
        """The conversion of each of several layers of one model; a common budget is shared out here."""
        return tuple(self for _ in layers)


def grouped_config(config: MechanismConfig) -> GroupedConfig:
    """The configuration, if it is one that can be converted: multi-head or grouped-query attention."""
    if not isinstance(config, GroupedConfig):
        raise ConversionError(
            f"convert: found {title_of(config).partition(':')[0]} attention, which has no keys and values by "
            "head to convert; possible sources are multi-head and grouped-query attention"
        )
    return config


def refuse_extras(source: GroupedConfig, name: str, possible: str) -> None:
    """Raise where heads do something that only grouped attention does."""
    extras = {"sinks": source.sinks, "a soft-cap": source.softcap is not None, "QK norms": source.qk_norm_eps is not None}
    if found := [extra for extra, holds in extras.items() if holds]:
        raise ConversionError(f"{name}: found {' and '.join(found)}, which it does not have; possible are {possible}")


def need_calibration(seen: Sequence[Seen], what: str) -> None:
    """Raise where there is nothing to calibrate on."""
    if not seen:
        raise ConversionError(f"{what}: found no calibration inputs; give some, or convert from the weights alone")


def check_group_size(source: GroupedConfig, n_kv_heads: int) -> None:
    """Raise where KV heads do not divide into groups of one size."""
    possible = [n for n in range(1, source.kv_heads + 1) if source.kv_heads % n == 0]
    if n_kv_heads not in possible:
        raise ConversionError(
            f"gqa:{n_kv_heads}: found {source.kv_heads} KV heads, which do not divide into {n_kv_heads} groups of one size; "
            f"possible are {', '.join(map(str, possible))}"
        )
