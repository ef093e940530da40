"""Published attention layers as random tensors under their published names, each with its formula written from those names.

In float64 and head by head; nothing here goes through our configurations, so that a wrong reading of a layout shows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.attention.examples import tokens

DIM, HEADS, LENGTH = 24, 4, 9

W = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Settings and tensor shapes of one layer (norms are drawn around 1), and what it gives for tokens [batch, seq, dim]."""

    settings: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    formula: Callable[[W, Tensor], Tensor]
    layer: int = 0
    causal: bool = True

    def weights(self) -> dict[str, Tensor]:
        return {
            name: tokens(*shape, seed=7 + i) * 0.3 + ("norm.weight" in name)
            for i, (name, shape) in enumerate(self.shapes.items())
        }


def mixed(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float, softcap: float | None = None) -> Tensor:
    """One head, [batch, seq, dim] each."""
    scores = q @ k.mT * scale
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v


def before(n: int, window: int | None = None) -> Tensor:
    distance = torch.arange(n)[:, None] - torch.arange(n)
    return (distance >= 0) & (distance < (n if window is None else window))


def halves(x: Tensor, base: float) -> Tensor:
    """Pairs (i, i + d/2), written with sines."""
    d = x.shape[-1]
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] / base ** (torch.arange(0, d, 2, dtype=x.dtype) / d)
    first, second = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def neighbours(x: Tensor, base: float) -> Tensor:
    """Pairs (2i, 2i + 1): the same, once the evens stand before the odds (a score does not mind the order)."""
    return halves(torch.cat([x[..., 0::2], x[..., 1::2]], -1), base)


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def linear(w: W, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros((), dtype=x.dtype))


def decoder(
    *,
    width: int,
    kv: int,
    base: float,
    window: int | None = None,
    eps: float | None = None,
    scale: float,
    softcap: float | None,
) -> Callable[[W, Tensor], Tensor]:
    def formula(w: W, x: Tensor) -> Tensor:
        q, k, v = (linear(w, f"{name}_proj", x).split(width, -1) for name in "qkv")
        heads = []
        for h in range(HEADS):
            asked, key = q[h], k[h * kv // HEADS]
            if eps is not None:
                asked, key = rms(asked, w["q_norm.weight"], eps), rms(key, w["k_norm.weight"], eps)
            seen = before(x.shape[1], window)
            heads.append(mixed(halves(asked, base), halves(key, base), v[h * kv // HEADS], seen, scale, softcap))
        return linear(w, "o_proj", torch.cat(heads, -1))

    return formula


def big_code(multi_query: bool) -> Callable[[W, Tensor], Tensor]:
    def formula(w: W, x: Tensor) -> Tensor:
        width, fused = DIM // HEADS, linear(w, "c_attn", x)
        heads = []
        for h in range(HEADS):
            if multi_query:
                own = (fused[..., h * width : (h + 1) * width], fused[..., DIM : DIM + width], fused[..., DIM + width :])
            else:
                own = fused[..., 3 * h * width : 3 * (h + 1) * width].split(width, -1)
            heads.append(mixed(*own, before(x.shape[1]), width**-0.5))
        return linear(w, "c_proj", torch.cat(heads, -1))

    return formula


def encoder(query: str, key: str, value: str, output: str) -> Callable[[W, Tensor], Tensor]:
    def formula(w: W, x: Tensor) -> Tensor:
        parts = zip(*(linear(w, name, x).split(DIM // HEADS, -1) for name in (query, key, value)), strict=True)
        every = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
        return linear(w, output, torch.cat([mixed(*own, every, (DIM // HEADS) ** -0.5) for own in parts], -1))

    return formula


def longformer(w: W, x: Tensor) -> Tensor:
    """Two to each side; the first token is global, and its row has projections of its own."""
    n = x.shape[1]
    distance = (torch.arange(n)[:, None] - torch.arange(n)).abs()
    near = (distance <= 2) | (torch.arange(n) == 0)
    local = zip(*(linear(w, f"self.{name}", x).split(DIM // HEADS, -1) for name in ("query", "key", "value")), strict=True)
    own = [linear(w, f"self.{name}_global", x).split(DIM // HEADS, -1) for name in ("query", "key", "value")]
    heads = []
    for (q, k, v), (gq, gk, gv) in zip(local, zip(*own, strict=True), strict=True):
        rows = mixed(q, k, v, near, (DIM // HEADS) ** -0.5)
        first = mixed(gq[:, :1], gk, gv, torch.ones(1, n, dtype=torch.bool), (DIM // HEADS) ** -0.5)
        heads.append(torch.cat([first, rows[:, 1:]], 1))
    return linear(w, "output.dense", torch.cat(heads, -1))


LATENT, ROPE, NOPE, VALUE, QUERY = 8, 4, 6, 5, 10


def deepseek(*, query_latent: bool, scale: float, top_k: int | None = None) -> Callable[[W, Tensor], Tensor]:
    def formula(w: W, x: Tensor) -> Tensor:
        asked, name = x, "q_proj"
        if query_latent:
            asked, name = rms(linear(w, "q_a_proj", x), w["q_a_layernorm.weight"], 1e-6), "q_b_proj"
        queries = linear(w, name, asked).split(NOPE + ROPE, -1)
        down = linear(w, "kv_a_proj_with_mqa", x)
        up = linear(w, "kv_b_proj", rms(down[..., :LATENT], w["kv_a_layernorm.weight"], 1e-6)).split(NOPE + VALUE, -1)
        shared, seen = neighbours(down[..., LATENT:], 10_000.0), before(x.shape[1])
        if top_k is not None:
            index = picked(w, x, asked).masked_fill(~seen, -torch.inf)
            best = index.argsort(dim=-1, descending=True, stable=True)[..., :top_k]  # ReLU gives ties: the earlier key wins
            seen = seen & torch.zeros_like(index, dtype=torch.bool).scatter(-1, best, True)
        heads = []
        for q, both in zip(queries, up, strict=True):
            turned = torch.cat([q[..., :NOPE], neighbours(q[..., NOPE:], 10_000.0)], -1)
            heads.append(mixed(turned, torch.cat([both[..., :NOPE], shared], -1), both[..., NOPE:], seen, scale))
        return linear(w, "o_proj", torch.cat(heads, -1))

    return formula


def picked(w: W, x: Tensor, asked: Tensor) -> Tensor:
    """Index scores of DeepSeek-V3.2, two heads of six, the first four numbers turned half-split."""
    key = torch.nn.functional.layer_norm(
        linear(w, "indexer.wk", x), (6,), w["indexer.k_norm.weight"], w["indexer.k_norm.bias"], 1e-6
    )
    key = torch.cat([halves(key[..., :4], 10_000.0), key[..., 4:]], -1)
    shares, total = linear(w, "indexer.weights_proj", x) * 2**-0.5, x.new_zeros(())
    for h, q in enumerate(linear(w, "indexer.wq_b", asked).split(6, -1)):
        turned = torch.cat([halves(q[..., :4], 10_000.0), q[..., 4:]], -1)
        total = total + shares[..., h : h + 1] * torch.relu(turned @ key.mT * 6**-0.5)
    return total


def _decoder_shapes(width: int, kv: int, *biased: str) -> dict[str, tuple[int, ...]]:
    rows = {"q_proj": HEADS * width, "k_proj": kv * width, "v_proj": kv * width}
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (n, DIM) for name, n in rows.items()}
    shapes["o_proj.weight"] = (DIM, HEADS * width)
    return shapes | {f"{name}.bias": (rows.get(name, DIM),) for name in biased}


def _encoder_shapes(*names: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{kind}": shape for name in names for kind, shape in (("weight", (DIM, DIM)), ("bias", (DIM,)))}


_LATENT_SHAPES: dict[str, tuple[int, ...]] = {
    "kv_a_proj_with_mqa.weight": (LATENT + ROPE, DIM),
    "kv_a_layernorm.weight": (LATENT,),
    "kv_b_proj.weight": (HEADS * (NOPE + VALUE), LATENT),
    "o_proj.weight": (DIM, HEADS * VALUE),
}
_QUERY_SHAPES: dict[str, tuple[int, ...]] = {
    "q_a_proj.weight": (QUERY, DIM),
    "q_a_layernorm.weight": (QUERY,),
    "q_b_proj.weight": (HEADS * (NOPE + ROPE), QUERY),
}
_INDEX_SHAPES: dict[str, tuple[int, ...]] = {
    "indexer.wq_b.weight": (12, QUERY),
    "indexer.wk.weight": (6, DIM),
    "indexer.k_norm.weight": (6,),
    "indexer.k_norm.bias": (6,),
    "indexer.weights_proj.weight": (2, DIM),
}

_SIZES = {"hidden_size": DIM, "num_attention_heads": HEADS, "rms_norm_eps": 0.01}
_LATENT_SIZES = {
    "kv_lora_rank": LATENT,
    "qk_rope_head_dim": ROPE,
    "qk_nope_head_dim": NOPE,
    "v_head_dim": VALUE,
    "rope_theta": 10_000.0,
}
_SELF = ("self.query", "self.key", "self.value", "output.dense")
_PLAIN = (NOPE + ROPE) ** -0.5

PUBLISHED: dict[str, Published] = {
    "llama": Published(
        settings={"model_type": "llama", "num_key_value_heads": 2, "rope_theta": 500.0, "rope_scaling": None} | _SIZES,
        shapes=_decoder_shapes(6, 2),
        formula=decoder(width=6, kv=2, base=500.0, scale=6**-0.5, softcap=None),
    ),
    "llama with biases": Published(
        settings={"model_type": "llama", "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}} | _SIZES,
        shapes=_decoder_shapes(6, 4, "q_proj", "k_proj", "v_proj", "o_proj"),
        formula=decoder(width=6, kv=4, base=100.0, scale=6**-0.5, softcap=None),
    ),
    "mistral": Published(
        settings={"model_type": "mistral", "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 3} | _SIZES,
        shapes=_decoder_shapes(8, 1),
        formula=decoder(width=8, kv=1, base=10_000.0, window=3, scale=8**-0.5, softcap=None),
    ),
    "qwen3": Published(
        settings={"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8, "use_sliding_window": False} | _SIZES,
        shapes=_decoder_shapes(8, 2) | {"q_norm.weight": (8,), "k_norm.weight": (8,)},
        formula=decoder(width=8, kv=2, base=10_000.0, eps=0.01, scale=8**-0.5, softcap=None),
        layer=40,
    ),
    "gemma2, sliding": Published(
        settings={
            "model_type": "gemma2",
            "num_key_value_heads": 2,
            "head_dim": 8,
            "query_pre_attn_scalar": 30,
            "attn_logit_softcapping": 0.7,
            "sliding_window": 4,
        }
        | _SIZES,
        shapes=_decoder_shapes(8, 2),
        formula=decoder(width=8, kv=2, base=10_000.0, window=4, scale=30**-0.5, softcap=0.7),
        layer=2,
    ),
    "gemma2, full": Published(
        settings={
            "model_type": "gemma2",
            "num_key_value_heads": 2,
            "head_dim": 8,
            "query_pre_attn_scalar": 30,
            "attn_logit_softcapping": 0.7,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention"],
        }
        | _SIZES,
        shapes=_decoder_shapes(8, 2),
        formula=decoder(width=8, kv=2, base=10_000.0, scale=30**-0.5, softcap=0.7),
        layer=1,
    ),
    "gpt_bigcode": Published(
        settings={"model_type": "gpt_bigcode", "n_embd": DIM, "n_head": HEADS, "multi_query": True},
        shapes={"c_attn.weight": (36, DIM), "c_attn.bias": (36,), "c_proj.weight": (DIM, DIM), "c_proj.bias": (DIM,)},
        formula=big_code(True),
    ),
    "gpt_bigcode, a key for each head": Published(
        settings={"model_type": "gpt_bigcode", "n_embd": DIM, "n_head": HEADS, "multi_query": False},
        shapes={"c_attn.weight": (72, DIM), "c_attn.bias": (72,), "c_proj.weight": (DIM, DIM), "c_proj.bias": (DIM,)},
        formula=big_code(False),
    ),
    "bert": Published(
        settings={"model_type": "bert"} | _SIZES,
        shapes=_encoder_shapes(*_SELF) | {"output.LayerNorm.weight": (DIM,), "output.LayerNorm.bias": (DIM,)},
        formula=encoder(*_SELF),
        causal=False,
    ),
    "vit, in files": Published(
        settings={"model_type": "vit"} | _SIZES,
        shapes=_encoder_shapes("attention.query", "attention.key", "attention.value", "output.dense"),
        formula=encoder("attention.query", "attention.key", "attention.value", "output.dense"),
        causal=False,
    ),
    "vit, in modules": Published(
        settings={"model_type": "vit"} | _SIZES,
        shapes=_encoder_shapes("q_proj", "k_proj", "v_proj", "o_proj"),
        formula=encoder("q_proj", "k_proj", "v_proj", "o_proj"),
        causal=False,
    ),
    "longformer": Published(
        settings={"model_type": "longformer", "attention_window": [8, 4]} | _SIZES,
        shapes=_encoder_shapes(*_SELF, "self.query_global", "self.key_global", "self.value_global"),
        formula=longformer,
        layer=1,
        causal=False,
    ),
    "deepseek_v2": Published(
        settings={"model_type": "deepseek_v2", "q_lora_rank": None} | _SIZES | _LATENT_SIZES,
        shapes={"q_proj.weight": (HEADS * (NOPE + ROPE), DIM)} | _LATENT_SHAPES,
        formula=deepseek(query_latent=False, scale=_PLAIN),
    ),
    "deepseek_v3": Published(
        settings={"model_type": "deepseek_v3", "q_lora_rank": QUERY} | _SIZES | _LATENT_SIZES,
        shapes=_QUERY_SHAPES | _LATENT_SHAPES,
        formula=deepseek(query_latent=True, scale=_PLAIN),
    ),
    "deepseek_v32": Published(
        settings={"model_type": "deepseek_v32", "q_lora_rank": QUERY, "index_topk": 3, "index_n_heads": 2, "index_head_dim": 6}
        | _SIZES
        | _LATENT_SIZES,
        shapes=_QUERY_SHAPES | _LATENT_SHAPES | _INDEX_SHAPES,
        formula=deepseek(query_latent=True, scale=_PLAIN, top_k=3),
    ),
}
