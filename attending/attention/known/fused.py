"""Layouts that keep queries, keys and values in one matrix: GPT-BigCode's c_attn and torch.nn.MultiheadAttention."""

from dataclasses import dataclass

from torch import Tensor

from attending.attention.errors import AttentionError
from attending.attention.grouped import GroupedConfig
from attending.attention.known.layout import Layout, Settings, Weights
from attending.attention.masks import causal, everything
from attending.attention.rules import Mask


@dataclass(frozen=True, kw_only=True)
class BigCode(Layout):
    """GPT-BigCode (StarCoder): with multi_query the rows of c_attn are all queries, one key, one value; without, head by head
    its query, key and value. Positions are learned outside the attention; causal.
    """

    place: str = "h.{layer}.attn."

    def config(self, settings: Settings, weights: Weights, layer: int) -> GroupedConfig:
        n_heads = int(settings.get("n_head", settings.get("num_attention_heads")))
        return GroupedConfig(
            dim=int(settings.get("n_embd", settings.get("hidden_size"))),
            n_heads=n_heads,
            n_kv_heads=1 if settings.get("multi_query", True) else n_heads,
            scale=None if settings.get("scale_attn_weights", True) else 1.0,
            bias=True,
            output_bias=True,
            dropout=float(settings.get("attn_pdrop", 0.0)),
        )

    def mask(self, settings: Settings, layer: int) -> Mask:
        return causal()

    def tensors(self, weights: Weights, config: GroupedConfig) -> dict[str, Tensor]:
        made = weights.renamed({"output": "c_proj"})
        for kind in ("weight", "bias"):
            fused = weights.take(f"c_attn.{kind}")
            parts = (
                fused.split([config.dim, config.width, config.width])
                if config.kv_heads == 1 < config.n_heads
                else (part.flatten(0, 1) for part in fused.unflatten(0, (config.n_heads, 3, config.width)).unbind(1))
            )
            made |= {f"{name}.{kind}": part for name, part in zip(("query", "key", "value"), parts, strict=True)}
        return made


@dataclass(frozen=True, kw_only=True)
class Torch(Layout):
    """torch.nn.MultiheadAttention: in_proj_weight is queries, keys, values; apart where a context has another width (kdim =
    vdim). Needs the settings embed_dim and num_heads. Its mask is its caller's, so that none comes with it.
    """

    def config(self, settings: Settings, weights: Weights, layer: int) -> GroupedConfig:
        dim = int(settings["embed_dim"])
        source = {name: int(settings.get(name, dim)) for name in ("kdim", "vdim")}
        if source["kdim"] != source["vdim"]:
            raise AttentionError(
                f"{weights.layout}: found kdim={source['kdim']} and vdim={source['vdim']}; keys and values come from the same "
                "tokens here, so that they have one width"
            )
        return GroupedConfig(
            dim=dim,
            n_heads=int(settings["num_heads"]),
            context_dim=None if source["kdim"] == dim else source["kdim"],
            bias="in_proj_bias" in weights,
            output_bias="out_proj.bias" in weights,
            dropout=float(settings.get("dropout", 0.0)),
        )

    def mask(self, settings: Settings, layer: int) -> Mask:
        return everything()

    def tensors(self, weights: Weights, config: GroupedConfig) -> dict[str, Tensor]:
        made = weights.renamed({"output": "out_proj"})
        if "in_proj_weight" in weights:
            parts = weights.take("in_proj_weight").chunk(3)
        else:
            parts = tuple(weights.take(f"{name}_proj_weight") for name in "qkv")
        made |= {f"{name}.weight": part for name, part in zip(("query", "key", "value"), parts, strict=True)}
        if config.bias:
            biases = weights.take("in_proj_bias").chunk(3)
            made |= {f"{name}.bias": part for name, part in zip(("query", "key", "value"), biases, strict=True)}
        return made


GPT_BIGCODE = BigCode()
TORCH = Torch()
