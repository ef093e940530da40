"""The table of published layouts, by the `model_type` of their settings, and the two ways in: tensors, or a module."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from attending.attention.errors import AttentionError
from attending.attention.known.decoders import GEMMA2, LLAMA, MISTRAL, QWEN3
from attending.attention.known.deepseek import DEEPSEEK, DEEPSEEK_V32
from attending.attention.known.encoders import BERT, LONGFORMER, VIT
from attending.attention.known.fused import GPT_BIGCODE, TORCH
from attending.attention.known.layout import Known, Layout, Settings, Weights, loaded

LAYOUTS: Mapping[str, Layout] = {
    "bert": BERT,
    "deepseek_v2": DEEPSEEK,
    "deepseek_v3": DEEPSEEK,
    "deepseek_v32": DEEPSEEK_V32,
    "gemma2": GEMMA2,
    "gpt_bigcode": GPT_BIGCODE,
    "llama": LLAMA,
    "longformer": LONGFORMER,
    "mistral": MISTRAL,
    "qwen3": QWEN3,
    "torch": TORCH,
    "vit": VIT,
}
"""By the `model_type` of a config.json; "torch" is torch.nn.MultiheadAttention."""


def load_attention(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], *, layer: int = 0, prefix: str | None = None
) -> Known:
    """The attention of one layer from published tensors, and the settings of the model (its config.json).

    `prefix`: what stands before the names of this layer; None: where the family's checkpoints have it, with or without the
    model's own name before it. Tensors under other prefixes are passed over, a tensor under this one that is not understood
    is refused. `settings["model_type"]` names the layout.
    """
    name = str(settings.get("model_type"))
    layout = _layout(name)
    start = _found(name, layout, weights, layer) if prefix is None else prefix
    own = {key.removeprefix(start): tensor for key, tensor in weights.items() if key.startswith(start)}
    return loaded(layout, Settings(name, settings), Weights(name, own), layer)


def adopt_attention(module: nn.Module, *, layer: int | None = None) -> Known:
    """The attention of a module: one of `torch.nn.MultiheadAttention`, or an attention module of a Hugging Face model.

    Of BERT and Longformer the module with `self` and `output` within. `layer` None: the number that the module itself knows.
    The weights are copied; the module stays as it is.
    """
    if isinstance(module, nn.MultiheadAttention):
        settings = {
            "model_type": "torch",
            "embed_dim": module.embed_dim,
            "num_heads": module.num_heads,
            "kdim": module.kdim,
            "vdim": module.vdim,
            "dropout": module.dropout,
        }
        if module.add_zero_attn:
            raise AttentionError("torch: found add_zero_attn=True, a key of zeros that our layers do not add")
        return load_attention(module.state_dict(), settings, prefix="")
    config = _of_part(module, "config")
    if config is None:
        raise AttentionError(
            f"adopt: {type(module).__name__} has no `config`; give an attention module of a Hugging Face model, "
            "torch.nn.MultiheadAttention, or its tensors to load_attention"
        )
    number = _of_part(module, "layer_idx") if layer is None else layer
    number = _of_part(module, "layer_id") if number is None else number
    return load_attention(module.state_dict(), config.to_dict(), layer=number or 0, prefix="")


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise AttentionError(f"model_type: found {name!r}, known are {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[name]


def _found(name: str, layout: Layout, weights: Mapping[str, Tensor], layer: int) -> str:
    place = layout.place.format(layer=layer)
    starts = {key[: key.index(place) + len(place)] for key in weights if f".{place}" in f".{key}"}
    if len(starts) != 1:
        raise AttentionError(f"{name}: found {sorted(starts) or 'nothing'} under {place!r}; say which with prefix=")
    return starts.pop()


def _of_part(module: nn.Module, name: str) -> Any:
    """An attribute of the module, or of its first part that has one."""
    holders = (part for part in module.modules() if getattr(part, name, None) is not None)
    return getattr(next(holders, module), name, None)
