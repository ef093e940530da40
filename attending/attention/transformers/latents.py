"""DeepSeek's attention of transformers with its queries taken to the latents, on the model's own weights.

The cache of transformers keeps the latents, too, and copies them at each step; `LatentLayer` stands in for its layers and
grows in place, latent and rotary key side by side as one key.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

from attending.attention.core import mixed_by
from attending.attention.costs import capacity_for
from attending.attention.grid import aligned
from attending.attention.latent import LatentConfig
from attending.attention.latents import each_head_by_its_own
from attending.attention.scoring import Scoring
from attending.attention.transformers.seen import rules_of


def is_latent(module: nn.Module) -> bool:
    """Whether this is attention over latents, remembered as such, whose keys are not picked by an indexer."""
    return type(module).__name__ in ("DeepseekV2Attention", "DeepseekV3Attention") and hasattr(module, "expand_kv")


def mixed_latents(module: Any) -> Callable[..., tuple[Tensor, None]]:
    """What the module's forward does, in the form that costs less."""
    shape = LatentConfig(
        dim=module.hidden_size,
        n_heads=module.num_heads,
        latent_dim=module.kv_lora_rank,
        rope_dim=module.qk_rope_head_dim,
        nope_dim=module.qk_nope_head_dim,
        value_dim=module.v_head_dim,
        query_latent_dim=module.q_lora_rank,
    )

    def forward(
        hidden_states: Float[Tensor, "batch query dim"],
        position_embeddings: Any = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        q_nope, q_rope = _queries(module, hidden_states).split([shape.nope_dim, shape.rope_dim], dim=-1)
        latent, rope = module.kv_a_proj_with_mqa(hidden_states)[:, None].split([shape.latent_dim, shape.rope_dim], dim=-1)
        latent = module.kv_a_layernorm(latent)
        q_rope, rope = _turned(module, q_rope, position_embeddings), _turned(module, rope, position_embeddings)
        if past_key_values is None:
            held = torch.cat([latent, rope], dim=-1)
        else:
            held = _remembered(past_key_values, module.layer_idx, latent, rope)
        n_query, n_key = q_nope.shape[2], held.shape[2]
        mask, biases = rules_of(attention_mask, n_query=n_query, is_causal=True, dtype=q_nope.dtype)
        dropout = module.attention_dropout if module.training else 0.0
        grid = aligned(n_query, n_key, held.device)
        scoring = Scoring(mask=mask, grid=grid, scale=module.scaling, biases=biases, dropout=dropout)
        up = module.kv_b_proj.weight.unflatten(0, (shape.n_heads, -1))
        key_up, value_up = up.split([shape.nope_dim, shape.value_dim], dim=1)
        if not torch.is_grad_enabled() and shape.prefers_absorbed(n_query, n_key):
            q = torch.cat([each_head_by_its_own(q_nope, key_up), q_rope], dim=-1)
            heads = each_head_by_its_own(mixed_by(q, held, held[..., : shape.latent_dim], scoring), value_up.mT)
        else:
            keys, values = module.expand_kv(held[..., : shape.latent_dim], held[..., shape.latent_dim :])
            heads = mixed_by(torch.cat([q_nope, q_rope], dim=-1), keys, values, scoring)
        return module.o_proj(heads.transpose(1, 2).flatten(2)), None

    return forward


def _queries(module: Any, x: Tensor) -> Float[Tensor, "batch head query dim"]:
    if module.q_lora_rank is None:
        q = module.q_proj(x)
    else:
        q = module.q_b_proj(module.q_a_layernorm(module.q_a_proj(x)))
    return q.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)


def _turned(module: Any, x: Tensor, angles: Any) -> Tensor:
    """Rotated as the module does, in the order in which its cache keeps the numbers.

    V2 hands in complex numbers and leaves neighbours neighbours; V3 hands in cosines and sines, and puts the evens before the
    odds where its pairs are interleaved.
    """
    if isinstance(angles, Tensor):
        turns = angles[:, None].to(x.device)
        cosine, sine = turns.real.to(x.dtype), turns.imag.to(x.dtype)
        first, second = x[..., 0::2], x[..., 1::2]
        return torch.stack([first * cosine - second * sine, second * cosine + first * sine], dim=-1).flatten(-2)
    cosine, sine = (angle[:, None, :, : x.shape[-1] // 2] for angle in angles)
    first, second = (x[..., 0::2], x[..., 1::2]) if module.config.rope_interleave else x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def _remembered(cache: Any, layer: int, latent: Tensor, rope: Tensor) -> Float[Tensor, "batch 1 key latent_and_rope"]:
    """The new tokens behind the old ones, as one tensor."""
    if cache.layer_class_to_replicate is DynamicLayer:
        while len(cache.layers) <= layer:
            cache.layers.append(DynamicLayer())
    if layer < len(cache.layers) and type(cache.layers[layer]) is DynamicLayer:
        cache.layers[layer] = LatentLayer.of(cache.layers[layer])
    latents, ropes = cache.update(latent, rope, layer)
    own = cache.layers[layer]
    joined = own.joined if isinstance(own, LatentLayer) else None
    return torch.cat([latents, ropes], dim=-1) if joined is None else joined


class LatentLayer(DynamicLayer):
    """A layer of transformers' cache whose keys (latents) and values (rotary keys) lie in one buffer with room to grow."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer: Tensor | None = None
        self._views: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, layer: DynamicLayer) -> "LatentLayer":
        """One that holds what another layer holds."""
        made = cls()
        if layer.is_initialized:
            made.lazy_initialization(layer.keys, layer.values)
            made.keys, made.values = layer.keys, layer.values
        return made

    @property
    def joined(self) -> Float[Tensor, "batch 1 key latent_and_rope"] | None:
        """All that is remembered, without a copy; None where it does not lie in one buffer."""
        if self._buffer is None or not self._holds_all():
            return None
        return self._buffer[:, :, : self.keys.shape[-2]]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() and (key_states.requires_grad or value_states.requires_grad):
            grown: tuple[Tensor, Tensor] = super().update(key_states, value_states, *args, **kwargs)
            return grown
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        self._make_room(held, held + key_states.shape[-2], key_states, value_states)
        assert self._buffer is not None
        width = key_states.shape[-1]
        self._buffer[:, :, held : held + key_states.shape[-2], :width] = key_states
        self._buffer[:, :, held : held + key_states.shape[-2], width:] = value_states
        filled = self._buffer[:, :, : held + key_states.shape[-2]]
        self.keys, self.values = self._views = filled[..., :width], filled[..., width:]
        return self.keys, self.values

    def _holds_all(self) -> bool:
        """Whether keys and values are still what was put there, and nobody cropped, chose or copied samples since."""
        return self._views is not None and self.keys is self._views[0] and self.values is self._views[1]

    def _make_room(self, held: int, length: int, latent: Tensor, rope: Tensor) -> None:
        if self._buffer is not None and self._holds_all() and self._buffer.shape[2] >= length:
            return
        width = latent.shape[-1] + rope.shape[-1]
        room = latent.new_empty(latent.shape[0], 1, capacity_for(length), width)
        if held:
            room[:, :, :held, : latent.shape[-1]] = self.keys
            room[:, :, :held, latent.shape[-1] :] = self.values
        self._buffer = room
