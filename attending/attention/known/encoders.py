"""Encoders: BERT, ViT and Longformer, with biases everywhere and positions outside the attention."""

from dataclasses import dataclass

from torch import Tensor

from attending.attention.grouped import GroupedConfig
from attending.attention.known.layout import Layout, Settings, Weights
from attending.attention.masks import causal, everything
from attending.attention.mechanism import MechanismConfig
from attending.attention.rules import Mask
from attending.attention.windowed import WindowedConfig

_BLOCK_NORM = ("output.LayerNorm.weight", "output.LayerNorm.bias")


@dataclass(frozen=True, kw_only=True)
class Encoder(Layout):
    """`names`: query, key, value and output as published, one set for each generation of the family's files."""

    names: tuple[tuple[str, str, str, str], ...]
    place: str = ""
    beside: tuple[str, ...] = ()

    def config(self, settings: Settings, weights: Weights, layer: int) -> MechanismConfig:
        names = self._names(weights)
        return GroupedConfig(
            dim=int(settings["hidden_size"]),
            n_heads=int(settings["num_attention_heads"]),
            bias=f"{names[0]}.bias" in weights,
            output_bias=f"{names[3]}.bias" in weights,
            dropout=float(settings.get("attention_probs_dropout_prob", 0.0)),
        )

    def mask(self, settings: Settings, layer: int) -> Mask:
        return causal() if settings.get("is_decoder", False) else everything()

    def tensors(self, weights: Weights, config: MechanismConfig) -> dict[str, Tensor]:
        return weights.renamed(dict(zip(("query", "key", "value", "output"), self._names(weights), strict=True)))

    def _names(self, weights: Weights) -> tuple[str, str, str, str]:
        present = (names for names in self.names if f"{names[0]}.weight" in weights)
        return next(present, self.names[0])


@dataclass(frozen=True, kw_only=True)
class Longformer(Encoder):
    """A window of w is w // 2 to each side, itself besides; global tokens have projections of their own.

    `forward(..., global_tokens=...)` says which tokens are global; without, the first real one is, as in classification.
    """

    def config(self, settings: Settings, weights: Weights, layer: int) -> WindowedConfig:
        widths = settings["attention_window"]
        side = int(widths if isinstance(widths, int) else widths[layer]) // 2
        return WindowedConfig(
            dim=int(settings["hidden_size"]),
            n_heads=int(settings["num_attention_heads"]),
            before=side,
            after=side,
            n_global=1,
            bias=True,
            output_bias=True,
            dropout=float(settings.get("attention_probs_dropout_prob", 0.0)),
        )

    def tensors(self, weights: Weights, config: MechanismConfig) -> dict[str, Tensor]:
        own = {f"global_{name}": f"self.{name}_global" for name in ("query", "key", "value")}
        return super().tensors(weights, config) | weights.renamed(own)


_SELF = ("self.query", "self.key", "self.value", "output.dense")
BERT = Encoder(names=(_SELF,), place="encoder.layer.{layer}.attention.", beside=_BLOCK_NORM)
VIT = Encoder(
    names=(
        ("attention.query", "attention.key", "attention.value", "output.dense"),  # in files
        ("q_proj", "k_proj", "v_proj", "o_proj"),  # in modules of transformers 5
    ),
    place="encoder.layer.{layer}.attention.",
)
LONGFORMER = Longformer(names=(_SELF,), place="encoder.layer.{layer}.attention.", beside=_BLOCK_NORM)
