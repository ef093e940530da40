"""Llama and its kin: q_proj, k_proj, v_proj, o_proj, half-split RoPE, causal; some with a window, QK-norm or a soft-cap.

Half-split is how Hugging Face publishes these weights. Meta's own Llama files pair neighbours (interleaved) and have the rows
of q and k in another order; they go by other names (wq, wk) and are refused by them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from attending.attention.grouped import GroupedConfig
from attending.attention.known.layout import Layout, Settings, Weights, WindowOf
from attending.attention.known.rotary import rotary_of
from attending.attention.masks import causal, window
from attending.attention.rules import Mask

_NAMES = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}


def _where_listed(unlisted: Callable[[Settings, int], bool]) -> WindowOf:
    """In the layers that `layer_types` calls sliding; settings from before that list follow the rule `unlisted`."""

    def window_of(settings: Settings, layer: int) -> int | None:
        kinds = settings.get("layer_types")
        slides = unlisted(settings, layer) if kinds is None else kinds[layer] == "sliding_attention"
        return int(settings["sliding_window"]) if slides else None

    return window_of


@dataclass(frozen=True, kw_only=True)
class Decoder(Layout):
    """`window_of`: which layers have a window. `qk_norm`: RMS norms of queries and keys by head, before they are turned.

    `scale_from`: the setting whose inverse root scales the scores, instead of the head's width. `softcap`: the setting that
    bounds them.
    """

    window_of: WindowOf = lambda settings, layer: None
    qk_norm: bool = False
    scale_from: str | None = None
    softcap: str | None = None
    place: str = "layers.{layer}.self_attn."

    def config(self, settings: Settings, weights: Weights, layer: int) -> GroupedConfig:
        dim, n_heads = int(settings["hidden_size"]), int(settings["num_attention_heads"])
        width = int(settings.get("head_dim", dim // n_heads))
        return GroupedConfig(
            dim=dim,
            n_heads=n_heads,
            n_kv_heads=int(settings.get("num_key_value_heads", n_heads)),
            head_dim=width,
            position=rotary_of(settings, width=width, layout="half"),
            scale=None if self.scale_from is None else float(settings[self.scale_from]) ** -0.5,
            softcap=None if self.softcap is None else settings.get(self.softcap),
            qk_norm_eps=float(settings["rms_norm_eps"]) if self.qk_norm else None,
            bias="q_proj.bias" in weights,
            output_bias="o_proj.bias" in weights,
            dropout=float(settings.get("attention_dropout", 0.0)),
        )

    def mask(self, settings: Settings, layer: int) -> Mask:
        width = self.window_of(settings, layer)
        return causal() if width is None else causal() & window(width - 1, 0)

    def tensors(self, weights: Weights, config: GroupedConfig) -> dict[str, Tensor]:
        norms = {"query_norm": "q_norm", "key_norm": "k_norm"} if self.qk_norm else {}
        return weights.renamed(_NAMES | norms)


def _after_the_first(settings: Settings, layer: int) -> bool:
    return bool(settings.get("use_sliding_window", False)) and layer >= int(settings.get("max_window_layers", 28))


LLAMA = Decoder()
MISTRAL = Decoder(window_of=lambda settings, layer: settings.get("sliding_window"))
QWEN3 = Decoder(window_of=_where_listed(_after_the_first), qk_norm=True)
GEMMA2 = Decoder(
    window_of=_where_listed(lambda settings, layer: layer % 2 == 0),
    scale_from="query_pre_attn_scalar",
    softcap="attn_logit_softcapping",
)
