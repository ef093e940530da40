"""Vision transformer (Dosovitskiy et al. 2021) as an encoder of square pictures, on the attention of this library.

Pre-norm blocks over patches and one class token, learned positions. Reads the weights that `transformers` writes for
`model_type: vit`; the pooler is left out, because the patches themselves are wanted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention import GroupedConfig, everything
from attending.model.pretrained import EncoderError, PretrainedNetwork

_OF_LAYER = {
    "attention.attention.query": "attention.query",
    "attention.attention.key": "attention.key",
    "attention.attention.value": "attention.value",
    "attention.output.dense": "attention.output",
    "layernorm_before": "attention_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "layernorm_after": "network_norm",
}


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """Sizes of one vision transformer. `side` and `patch` are in pixels."""

    side: int
    patch: int
    n_channels: int
    dim: int
    n_heads: int
    n_layers: int
    hidden: int
    eps: float

    @property
    def n_cells(self) -> int:
        """Patches along one side."""
        return self.side // self.patch

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> "VitConfig":
        """The sizes in a hub `config.json`. Raises `EncoderError` for what is not a plain vision transformer."""
        for key, value in {"model_type": "vit", "hidden_act": "gelu"}.items():
            if architecture.get(key) != value:
                raise EncoderError(
                    f'image encoder: config.json says {key} = {architecture.get(key)!r}; only "{value}" is read here'
                )
        try:
            return cls(
                side=int(architecture["image_size"]),
                patch=int(architecture["patch_size"]),
                n_channels=int(architecture["num_channels"]),
                dim=int(architecture["hidden_size"]),
                n_heads=int(architecture["num_attention_heads"]),
                n_layers=int(architecture["num_hidden_layers"]),
                hidden=int(architecture["intermediate_size"]),
                eps=float(architecture["layer_norm_eps"]),
            )
        except KeyError as error:
            raise EncoderError(
                f"image encoder: config.json lacks {error.args[0]}, which a vision transformer states"
            ) from error


class Vit(PretrainedNetwork):
    """Pictures → states of their patches, row by row."""

    hub_prefix = "vit."

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(config.n_channels, config.dim, config.patch, stride=config.patch)
        self.whole = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.position = nn.Parameter(torch.zeros(1, 1 + config.n_cells**2, config.dim))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.dim, eps=config.eps)

    def forward(self, pictures: Float[Tensor, "picture channel side side"]) -> Float[Tensor, "picture patch dim"]:
        """States of the patches after the last norm; that of the whole picture is left out."""
        patches = self.patches(pictures).flatten(2).transpose(1, 2)
        x = torch.cat([self.whole.expand(len(patches), -1, -1), patches], dim=1) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)[:, 1:]

    def hub_name(self, own: str) -> str:
        """`layers.0.attention.query.weight` is `encoder.layer.0.attention.attention.query.weight` there."""
        parts = own.split(".")
        if parts[0] == "layers":
            inner = ".".join(parts[2:-1])
            return f"encoder.layer.{parts[1]}.{next(hub for hub, name in _OF_LAYER.items() if name == inner)}.{parts[-1]}"
        outside = {
            "whole": "embeddings.cls_token",
            "position": "embeddings.position_embeddings",
            "patches": f"embeddings.patch_embeddings.projection.{parts[-1]}",
            "norm": f"layernorm.{parts[-1]}",
        }
        return outside[parts[0]]


class _Layer(nn.Module):
    """x + attention(norm x), then x + network(norm x)."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.attention = GroupedConfig(dim=config.dim, n_heads=config.n_heads, bias=True, output_bias=True).build()
        self.network_norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.widen = nn.Linear(config.dim, config.hidden)
        self.narrow = nn.Linear(config.hidden, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), mask=everything())
        return x + self.narrow(nn.functional.gelu(self.widen(self.network_norm(x))))
