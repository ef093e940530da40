"""The contract: how attention weights published under other names become one of our layers.

A layout says what the settings of a model mean for one layer, under which mask that layer was trained, and which published
tensor becomes which of ours. Whatever is left over is refused: a weight that nobody reads is a different model. No download,
and no library of the models' own is needed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attending.attention.errors import AttentionError
from attending.attention.mechanism import Mechanism, MechanismConfig
from attending.attention.rules import Mask


@dataclass(frozen=True, kw_only=True)
class Known:
    """A layer in eval mode with published weights, and the mask it was trained under.

    Padding comes on top: `known.mask & keep_keys(real)`; a cache takes `known.mask` alone.
    """

    layer: Mechanism
    mask: Mask


class Settings:
    """A model's published settings (its config.json), read by name."""

    def __init__(self, layout: str, values: Mapping[str, Any]) -> None:
        self.layout, self._values = layout, values

    def __getitem__(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise AttentionError(
                f"{self.layout}: the settings do not say {name!r}; give the whole config.json, or module.config.to_dict()"
            )
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """The setting; `default` where it is absent or null."""
        value = self._values.get(name)
        return default if value is None else value

    def part(self, name: str) -> "Settings":
        """Settings that stand within a setting; empty where it is absent or null."""
        return Settings(f"{self.layout}: {name}", self.get(name, {}))

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self._values if self.get(name) is not None)


class Weights:
    """Published tensors of one attention layer, each taken once."""

    def __init__(self, layout: str, tensors: Mapping[str, Tensor]) -> None:
        self.layout, self._left = layout, dict(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    @property
    def left(self) -> tuple[str, ...]:
        """Names that nobody took."""
        return tuple(sorted(self._left))

    def take(self, name: str) -> Tensor:
        """The tensor, which is gone from here then."""
        if name not in self._left:
            raise AttentionError(f"{self.layout}: no weight {name!r}; found {', '.join(self.left) or 'none'}")
        return self._left.pop(name).detach()

    def leave(self, names: tuple[str, ...]) -> None:
        """Pass over what belongs to the block around the attention."""
        for name in names:
            self._left.pop(name, None)

    def renamed(self, ours: Mapping[str, str]) -> dict[str, Tensor]:
        """Weight, and bias where there is one, of each of our layers from the published layer beside it."""
        taken = {}
        for name, theirs in ours.items():
            taken[f"{name}.weight"] = self.take(f"{theirs}.weight")
            if f"{theirs}.bias" in self:
                taken[f"{name}.bias"] = self.take(f"{theirs}.bias")
        return taken


class Layout(ABC):
    """How one family publishes its attention. `place`: where a layer's weights stand in a checkpoint of the family.

    `beside`: names under `place` that belong to the block around the attention, and are passed over.
    """

    place: str = ""
    beside: tuple[str, ...] = ()

    @abstractmethod
    def config(self, settings: Settings, weights: Weights, layer: int) -> MechanismConfig:
        """What the layer of ours is made from."""

    @abstractmethod
    def mask(self, settings: Settings, layer: int) -> Mask:
        """What the layer lets its tokens see, padding apart."""

    @abstractmethod
    def tensors(self, weights: Weights, config: Any) -> dict[str, Tensor]:
        """The tensors of our layer by name, from those published."""


def loaded(layout: Layout, settings: Settings, weights: Weights, layer: int) -> Known:
    """The layer with copies of the weights, in their dtype and on their device."""
    weights.leave(layout.beside)
    config = layout.config(settings, weights, layer)
    tensors = layout.tensors(weights, config)
    if weights.left:
        raise AttentionError(
            f"{weights.layout}: left over are {', '.join(weights.left)}; this layout has no use for them, so the result would "
            "not be the model that was published"
        )
    with torch.random.fork_rng(devices=[]):  # fresh weights are made only to be replaced; the caller's dice stay as they are
        built = config.build().eval()
    some = next(iter(tensors.values()))
    built.to(device=some.device, dtype=some.dtype)
    _fill(built, tensors, weights.layout)
    return Known(layer=built, mask=layout.mask(settings, layer))


def _fill(module: Mechanism, tensors: Mapping[str, Tensor], layout: str) -> None:
    own = module.state_dict()
    if set(own) != set(tensors):
        missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
        raise AttentionError(f"{layout}: some layers have a bias and some have none (missing {missing}, beyond {extra})")
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            raise AttentionError(
                f"{layout}: {name} comes out as {tuple(tensor.shape)}, and the settings make it {tuple(own[name].shape)}"
            )
        if own[name].dtype != tensor.dtype:
            raise AttentionError(f"{layout}: found weights of {own[name].dtype} and {tensor.dtype}; convert them to one type")
    module.load_state_dict(dict(tensors))


WindowOf = Callable[[Settings, int], int | None]
"""How many tokens a layer sees, itself included, by its number; None: all before it."""
