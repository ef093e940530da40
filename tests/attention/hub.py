"""Tiny random models of Hugging Face transformers, without a download; tests that use them need the extra "hub"."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

REASON = 'needs the extra "hub": pip install "attending[hub]"'
LENGTH = 13

_SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
_GROUPED = _SMALL | {"num_key_value_heads": 2, "head_dim": 8}
_YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 0.7, "mscale_all_dim": 0.9}
_LATENT = _SMALL | {
    "num_key_value_heads": 4,
    "kv_lora_rank": 8,
    "q_lora_rank": 12,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 6,
    "v_head_dim": 5,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 64,
}
_PATCHES = {"image_size": 16, "patch_size": 4, "num_channels": 1}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _GROUPED),
    "llama3 scaling": (
        "Llama",
        _GROUPED
        | {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ),
    "llama, linear scaling and biases": (
        "Llama",
        _GROUPED | {"attention_bias": True, "rope_scaling": {"type": "linear", "factor": 3.0}},
    ),
    "mistral": ("Mistral", _GROUPED | {"sliding_window": 5}),
    "qwen3": ("Qwen3", _GROUPED | {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
    "gemma2": (
        "Gemma2",
        _GROUPED | {"sliding_window": 4, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 0.5},
    ),
    "gpt_bigcode": ("GPTBigCode", {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "gpt_bigcode, a key for each head": (
        "GPTBigCode",
        {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "multi_query": False},
    ),
    "bert": ("Bert", _SMALL),
    "vit": ("ViT", _SMALL | _PATCHES),
    "longformer": ("Longformer", _SMALL | {"attention_window": [4, 8]}),
    "deepseek_v2": ("DeepseekV2", _LATENT | {"q_lora_rank": None, "topk_method": "greedy"}),
    "deepseek_v3": ("DeepseekV3", _LATENT | {"rope_scaling": _YARN}),
    "deepseek_v3, half-split": ("DeepseekV3", _LATENT | {"rope_interleave": False}),
    "deepseek_v32": ("DeepseekV32", _LATENT | {"index_topk": 4, "index_head_dim": 8, "index_n_heads": 12}),
}


def hub() -> ModuleType:
    """The library, or a skip that says what installs it."""
    return pytest.importorskip("transformers", reason=REASON)


def model(name: str, head: str = "Model", **changed: Any) -> nn.Module:
    """A model with weights drawn so wide that its attention is far from uniform; eager, float32, eval."""
    transformers = hub()
    family, settings = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**settings | changed)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    made: nn.Module = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for label, parameter in made.named_parameters():
            if "norm" in label.lower():
                parameter.normal_(0.0 if family == "Gemma2" else 1.0, 0.2)
            else:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5 * 1.5 if parameter.dim() > 1 else 0.3)
    return made


def attention_of(made: nn.Module, layer: int) -> nn.Module:
    """The attention module of a layer, as `adopt_attention` takes it."""
    for path in ("layers.{}.self_attn", "h.{}.attn", "encoder.layer.{}.attention", "layers.{}.attention"):
        try:
            return made.get_submodule(path.format(layer))
        except AttributeError:
            continue
    raise LookupError(type(made).__name__)


def tokens(batch: int = 2, length: int = LENGTH, dim: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(batch, length, dim, generator=torch.Generator().manual_seed(seed))


def watched(made: nn.Module, layer: int, **inputs: Any) -> tuple[Tensor, Tensor, Any]:
    """What the attention of a layer was given, what it gave (projected, before the block adds to it), and the answer."""
    attention, seen = attention_of(made, layer), {}
    projection = next(module for name, module in attention.named_modules() if name in ("o_proj", "c_proj", "output.dense"))
    hooks = [
        attention.register_forward_pre_hook(
            lambda _, args, kwargs: seen.update(x=args[0] if args else kwargs["hidden_states"]), with_kwargs=True
        ),
        projection.register_forward_hook(lambda _, args, output: seen.update(output=output)),
    ]
    try:
        with torch.no_grad():
            returned = made(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen["x"], seen["output"], returned
