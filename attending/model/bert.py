"""BERT (Devlin et al. 2019) as an encoder of word pieces, on the attention of this library.

Post-norm blocks, learned positions, GELU. Reads the weights that `transformers` writes for `model_type: bert`; the pooler is
left out, because the tokens themselves are wanted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attending.attention import GroupedConfig, keep_keys
from attending.model.pretrained import EncoderError, PretrainedNetwork

_OF_LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "network_norm",
}
_OF_EMBEDDINGS = {
    "word_embeddings": "piece",
    "position_embeddings": "position",
    "token_type_embeddings": "segment",
    "LayerNorm": "norm",
}


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Sizes of one BERT."""

    n_pieces: int
    n_positions: int
    n_segments: int
    dim: int
    n_heads: int
    n_layers: int
    hidden: int
    eps: float
    dropout: float

    @classmethod
    def from_architecture(cls, architecture: Mapping[str, Any]) -> "BertConfig":
        """The sizes in a hub `config.json`. Raises `EncoderError` for what is not a plain BERT."""
        expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
        for key, value in expected.items():
            found = architecture.get(key, value if key == "position_embedding_type" else None)
            if found != value:
                raise EncoderError(f'text encoder: config.json says {key} = {found!r}; only "{value}" is read here')
        try:
            return cls(
                n_pieces=int(architecture["vocab_size"]),
                n_positions=int(architecture["max_position_embeddings"]),
                n_segments=int(architecture["type_vocab_size"]),
                dim=int(architecture["hidden_size"]),
                n_heads=int(architecture["num_attention_heads"]),
                n_layers=int(architecture["num_hidden_layers"]),
                hidden=int(architecture["intermediate_size"]),
                eps=float(architecture["layer_norm_eps"]),
                dropout=float(architecture.get("hidden_dropout_prob", 0.0)),
            )
        except KeyError as error:
            raise EncoderError(f"text encoder: config.json lacks {error.args[0]}, which a BERT states") from error


class Bert(PretrainedNetwork):
    """Word pieces → states in context."""

    hub_prefix = "bert."

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.piece = nn.Embedding(config.n_pieces, config.dim)
        self.position = nn.Embedding(config.n_positions, config.dim)
        self.segment = nn.Embedding(config.n_segments, config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.n_layers))

    def forward(
        self, pieces: Int[Tensor, "chunk piece"], *, there: Bool[Tensor, "chunk piece"]
    ) -> Float[Tensor, "chunk piece dim"]:
        """States of the last layer; those of pieces that are not there mean nothing."""
        places = torch.arange(pieces.shape[1], device=pieces.device)
        x = self.piece(pieces) + self.position(places) + self.segment.weight[0]
        x = self.dropout(self.norm(x))
        mask = keep_keys(there)
        for layer in self.layers:
            x = layer(x, mask=mask)
        return x

    def hub_name(self, own: str) -> str:
        """`layers.0.attention.query.weight` is `encoder.layer.0.attention.self.query.weight` there."""
        parts = own.split(".")
        if parts[0] != "layers":
            return f"embeddings.{next(hub for hub, name in _OF_EMBEDDINGS.items() if name == parts[0])}.{parts[-1]}"
        inner = ".".join(parts[2:-1])
        return f"encoder.layer.{parts[1]}.{next(hub for hub, name in _OF_LAYER.items() if name == inner)}.{parts[-1]}"


class _Layer(nn.Module):
    """norm(x + attention x), then norm(x + network x)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        attention = GroupedConfig(dim=config.dim, n_heads=config.n_heads, bias=True, output_bias=True, dropout=config.dropout)
        self.attention = attention.build()
        self.attention_norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.widen = nn.Linear(config.dim, config.hidden)
        self.narrow = nn.Linear(config.hidden, config.dim)
        self.network_norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, *, mask: Any) -> Tensor:
        x = self.attention_norm(x + self.dropout(self.attention(x, mask=mask)))
        return self.network_norm(x + self.dropout(self.narrow(nn.functional.gelu(self.widen(x)))))
