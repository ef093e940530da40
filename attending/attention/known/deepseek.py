"""DeepSeek-V2, V3 and V3.2: latent attention, where kv_b_proj holds key and value of each head one after the other.

Pairs are interleaved (V2's complex numbers are the same pairs), unless V3's rope_interleave is off; the indexer of V3.2 is
half-split. The norms of the latents use 1e-6 whatever rms_norm_eps says. Hadamard rotation and FP8 of the published indexer
change the precision, not the sum, and are left out.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attending.attention.errors import AttentionError
from attending.attention.indexed import IndexedConfig
from attending.attention.known.layout import Layout, Settings, Weights
from attending.attention.known.rotary import rotary_of
from attending.attention.latent import LatentConfig
from attending.attention.latents import LatentShape
from attending.attention.masks import causal
from attending.attention.mechanism import MechanismConfig
from attending.attention.rules import Mask

_LATENT_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class Latent(Layout):
    """DeepSeek-V2 and V3."""

    place: str = "layers.{layer}.self_attn."

    def config(self, settings: Settings, weights: Weights, layer: int) -> MechanismConfig:
        return LatentConfig(**self._shape(settings, weights))

    def mask(self, settings: Settings, layer: int) -> Mask:
        return causal()

    def tensors(self, weights: Weights, config: LatentShape) -> dict[str, Tensor]:
        names = {"latent_down": "kv_a_proj_with_mqa", "latent_norm": "kv_a_layernorm", "output": "o_proj"}
        if config.query_latent_dim is None:
            names |= {"query_up": "q_proj"}
        else:
            names |= {"query_down": "q_a_proj", "query_norm": "q_a_layernorm", "query_up": "q_b_proj"}
        made = weights.renamed(names)
        both = weights.take("kv_b_proj.weight").unflatten(0, (config.n_heads, -1))
        key, value = both.split([config.nope_dim, config.value_dim], dim=1)
        made |= {"key_up.weight": key.flatten(0, 1), "value_up.weight": value.flatten(0, 1)}
        return {f"projections.{name}": tensor for name, tensor in made.items()}

    def _shape(self, settings: Settings, weights: Weights) -> dict[str, Any]:
        if biased := [name for name in ("q_a_proj.bias", "kv_a_proj_with_mqa.bias") if name in weights]:
            raise AttentionError(
                f"{weights.layout}: found {', '.join(biased)} (attention_bias); our latents have no bias, and no published "
                "DeepSeek model has one"
            )
        rope_dim = int(settings["qk_rope_head_dim"])
        layout = "interleaved" if settings.get("rope_interleave", True) else "half"
        return {
            "dim": int(settings["hidden_size"]),
            "n_heads": int(settings["num_attention_heads"]),
            "latent_dim": int(settings["kv_lora_rank"]),
            "rope_dim": rope_dim,
            "nope_dim": int(settings["qk_nope_head_dim"]),
            "value_dim": int(settings["v_head_dim"]),
            "query_latent_dim": settings.get("q_lora_rank"),
            "rotary": rotary_of(settings, width=rope_dim, layout="interleaved" if layout == "interleaved" else "half"),
            "norm_eps": _LATENT_EPS,
            "output_bias": "o_proj.bias" in weights,
            "dropout": float(settings.get("attention_dropout", 0.0)),
        }


@dataclass(frozen=True, kw_only=True)
class Indexed(Latent):
    """DeepSeek-V3.2."""

    def config(self, settings: Settings, weights: Weights, layer: int) -> MechanismConfig:
        return IndexedConfig(
            **self._shape(settings, weights),
            top_k=int(settings["index_topk"]),
            index_heads=int(settings["index_n_heads"]),
            index_dim=int(settings["index_head_dim"]),
            index_rotary=rotary_of(settings, width=int(settings["qk_rope_head_dim"]), layout="half"),
        )

    def tensors(self, weights: Weights, config: LatentShape) -> dict[str, Tensor]:
        names = {"query": "wq_b", "key": "wk", "key_norm": "k_norm", "share": "weights_proj"}
        own = {f"indexer.{name}": f"indexer.{theirs}" for name, theirs in names.items()}
        return super().tensors(weights, config) | weights.renamed(own)


DEEPSEEK = Latent()
DEEPSEEK_V32 = Indexed()
