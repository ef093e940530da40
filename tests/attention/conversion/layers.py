"""Layers with structure, and what they were given: random weights alone are the worst case of every conversion."""

from typing import Any

import torch
from torch import Tensor

from attending.attention import GroupedAttention, GroupedConfig, RotaryConfig, causal, keep_keys
from attending.attention.conversion import Seen

DIM, HEADS, WIDTH = 24, 4, 6

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "biases": {"bias": True, "output_bias": True},
    "value bias, no output bias": {"bias": True},
    "rope": {"position": RotaryConfig()},
    "rope, interleaved and biases": {"position": RotaryConfig(layout="interleaved"), "bias": True, "output_bias": True},
    "partial rope": {"position": RotaryConfig(rotary_dim=4)},
    "grouped": {"n_kv_heads": 2},
    "grouped rope": {"n_kv_heads": 2, "position": RotaryConfig(), "bias": True},
    "scaled": {"scale": 0.2, "head_dim": 8},
}


def layer(seed: int = 0, dtype: torch.dtype = torch.float64, **settings: Any) -> GroupedAttention:
    """A layer whose every number is drawn, biases too, so widely that its weights are far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = GroupedConfig(dim=DIM, n_heads=HEADS, **settings).build().eval().to(dtype)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.normal_(0.0, 0.4)
    return made


def tokens(*shape: int, seed: int = 1) -> Tensor:
    """Tokens with directions of very different size, off centre, as trained networks have them."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    sizes = 0.7 ** torch.arange(DIM, dtype=torch.float64)
    return torch.randn(*shape, DIM, generator=generator, dtype=torch.float64) * sizes @ mixing + 0.5 * mixing[0]


def causal_inputs(seed: int = 1, n: int = 6) -> tuple[Seen, ...]:
    return tuple(Seen(x=tokens(4, 12, seed=seed * 100 + i), mask=causal()) for i in range(n))


def padded_inputs(seed: int = 1) -> tuple[Seen, ...]:
    there = torch.arange(12) < torch.tensor([12, 7, 3, 9])[:, None]
    return tuple(Seen(x=tokens(4, 12, seed=seed * 100 + i), mask=keep_keys(there)) for i in range(6))
