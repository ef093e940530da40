"""The attention function that Hugging Face models call with queries, keys and values, their caches' tokens among them."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attending.attention.core import mixed_by
from attending.attention.errors import AttentionError
from attending.attention.grid import aligned
from attending.attention.inspection import weights_by
from attending.attention.masks import keep
from attending.attention.scoring import Scoring
from attending.attention.transformers.seen import rules_of

_REFUSED = {"cache": "paged caches", "head_mask": "head masks", "layer_head_mask": "head masks"}


def attend_for(
    module: nn.Module,
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch kv_head key dim"],
    value: Float[Tensor, "batch kv_head key value"],
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    softcap: float | None = None,
    s_aux: Float[Tensor, " head"] | None = None,
    position_bias: Tensor | None = None,
    indices: Int[Tensor, "batch query picked"] | None = None,
    output_attentions: bool | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "batch query head value"], Tensor | None]:
    """As `AttentionInterface` of transformers has it; `s_aux` is a sink, `indices` the keys that an indexer picked.

    Windows come with the mask. Arguments that say nothing about the scores (positions, flags) are passed over.
    """
    if found := [what for name, what in _REFUSED.items() if others.get(name) is not None]:
        raise AttentionError(f'attn_implementation="attending": {found[0]} are not served; take "sdpa" or "eager" for them')
    n_query = query.shape[2]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if attention_mask is None and causal and 1 < n_query < key.shape[2]:
        # Into an empty fixed cache: what lies behind the queries is not written yet.
        key, value = key[:, :, :n_query], value[:, :, :n_query]
        position_bias = None if position_bias is None else position_bias[..., :n_query]
    mask, biases = rules_of(attention_mask, n_query=n_query, is_causal=causal, dtype=query.dtype)
    if indices is not None:
        picked = torch.zeros(*indices.shape[:2], key.shape[2], dtype=torch.bool, device=key.device)
        mask = mask & keep(picked.scatter_(-1, indices.long(), True))
    scoring = Scoring(
        mask=mask,
        grid=aligned(n_query, key.shape[2], key.device),
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        biases=biases if position_bias is None else (*biases, position_bias),
        softcap=softcap,
        dropout=dropout,
    )
    output = mixed_by(query, key, value, scoring, sink=s_aux).transpose(1, 2).contiguous()
    return output, weights_by(query, key, scoring, sink=s_aux) if output_attentions else None
