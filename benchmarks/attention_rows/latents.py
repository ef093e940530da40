"""Decoding over latents (MLA) and over picked latents (DSA), against Hugging Face's modules with the same weights.

The peers make keys and values of the whole prefix again at each step. Their caches and ours are filled alike: MLA by a prefill,
DSA from the projections alone, because 16,000 index scores a row for 64 heads at once do not fit into memory.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from attending.attention.known import adopt_attention
from benchmarks.attention_rows.decoding import ROOM, our_steps, their_steps
from benchmarks.attention_rows.hub import hub, unmeasured
from benchmarks.attention_rows.measuring import Contest, Peer, Row, Run, Steps, Work, drawn, token_of

DIM, HEADS, LATENT, ROPE, NOPE, VALUE = 1024, 16, 512, 64, 128, 128
QUERY_LATENT, TOP_K, INDEX_HEADS, INDEX_DIM = 512, 2048, 64, 128
_SHAPE = {
    "hidden_size": DIM, "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "kv_lora_rank": LATENT,
    "qk_rope_head_dim": ROPE, "qk_nope_head_dim": NOPE, "v_head_dim": VALUE, "num_hidden_layers": 1, "vocab_size": 8,
    "intermediate_size": 8, "moe_intermediate_size": 8, "first_k_dense_replace": 1,
}  # fmt: skip


def decode_latent(run: Run) -> Iterator[Row]:
    """A step of DeepSeek-V3's attention."""
    for dtype, must in ((torch.float32, 18.0), (torch.bfloat16, 15.0)):
        for tokens in (2048, 8192):
            length = run.length(tokens)
            shape = f"d {DIM}, {HEADS} heads, latent {LATENT}, rope {ROPE}, T {length}"
            peer = "Hugging Face DeepseekV3Attention"
            transformers = hub()
            if transformers is None:
                yield from unmeasured("decode latent", {peer: must}, shape, dtype)
                continue
            config = transformers.DeepseekV3Config(**_SHAPE, q_lora_rank=None, max_position_embeddings=length + ROOM)
            config._attn_implementation = "sdpa"
            modeling = transformers.models.deepseek_v3.modeling_deepseek_v3
            torch.manual_seed(0)
            layer = modeling.DeepseekV3Attention(config, 0).eval().to(dtype)
            x = drawn(1, length + ROOM, DIM, dtype=dtype)
            angles = modeling.DeepseekV3RotaryEmbedding(config)(x, torch.arange(length + ROOM)[None])
            theirs = their_steps(layer, transformers.DynamicCache(config=config), x, angles, length)
            contest = Contest(
                job="decode latent",
                shape=shape,
                dtype=dtype,
                ours=our_steps(layer, x, length),
                peers=(Peer(name=peer, call=theirs, must=must),),
                work=Work(
                    bytes=((LATENT + ROPE) * length + sum(p.numel() for p in layer.parameters())) * x.element_size(),
                    flops=2 * HEADS * (2 * LATENT + ROPE) * length,
                ),
            )
            yield from contest.rows(run)


def decode_indexed(run: Run) -> Iterator[Row]:
    """A step of DeepSeek-V3.2's attention, 2048 keys picked of 16,000."""
    length, top_k, dtype = run.length(16384), run.length(TOP_K), torch.float32
    shape, peer = f"d {DIM}, {HEADS} heads, latent {LATENT}, k {top_k}, T {length}", "Hugging Face DeepseekV32Attention"
    transformers = hub()
    if transformers is None:
        yield from unmeasured("decode indexed", {peer: 50.0}, shape, dtype)
        return
    config = transformers.DeepseekV32Config(
        **_SHAPE, q_lora_rank=QUERY_LATENT, index_topk=top_k, index_n_heads=INDEX_HEADS, index_head_dim=INDEX_DIM,
        max_position_embeddings=length + ROOM,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    modeling = transformers.models.deepseek_v32.modeling_deepseek_v32
    torch.manual_seed(0)
    layer = modeling.DeepseekV32Attention(config, 0).eval()
    x = drawn(1, length + ROOM, DIM)
    angles = modeling.DeepseekV32RotaryEmbedding(config)(x, torch.arange(length + ROOM)[None])
    contest = Contest(
        job="decode indexed",
        shape=shape,
        dtype=dtype,
        ours=_our_picked(layer, x, length),
        peers=(Peer(name=peer, call=_their_picked(layer, modeling, config, x, angles, length), must=50.0),),
        # One key more or less at the edge of the choice is rounding, too.
        bound=1e-3,
        work=Work(
            bytes=4 * (INDEX_DIM * length + (LATENT + ROPE) * top_k + sum(p.numel() for p in layer.parameters())),
            flops=2 * (INDEX_HEADS * INDEX_DIM * length + HEADS * (2 * LATENT + ROPE) * top_k),
        ),
    )
    yield from contest.rows(run)


def _our_picked(layer: torch.nn.Module, x: Tensor, length: int) -> Steps:
    known = adopt_attention(layer, layer=0)
    cache: Any = known.layer.new_cache(1, mask=known.mask, capacity=length + ROOM)
    # Filled without attending: only the steps are of interest.
    cache._memory.extended(known.layer._held(x[:, :length], range(length)), None)
    return Steps(length, lambda at: cache.extend(token_of(x, at)), lambda: cache.crop(length))


def _their_picked(layer: Any, modeling: Any, config: Any, x: Tensor, angles: tuple[Tensor, Tensor], length: int) -> Steps:
    cosine, sine = angles
    before, first = x[:, :length], (cosine[:, :length], sine[:, :length])
    cache = hub().DynamicCache(config=config)
    latent, rope = layer.kv_a_proj_with_mqa(before)[:, None].split([LATENT, ROPE], dim=-1)
    rope = modeling.apply_rotary_pos_emb_interleave(rope, rope, *first)[1]
    cache.update(layer.kv_a_layernorm(latent), rope, 0)
    index = layer.indexer.k_norm(layer.indexer.wk(before))[:, :, None]
    turned, rest = index.split([ROPE, INDEX_DIM - ROPE], dim=-1)
    turned = modeling.apply_rotary_pos_emb(turned, turned, *first, unsqueeze_dim=2)[1]
    cache.update_indexer(torch.cat([turned, rest], dim=-1).squeeze(2), 0)

    def step(at: int) -> Tensor:
        here = (cosine[:, at : at + 1], sine[:, at : at + 1])
        mask = torch.ones(1, 1, 1, at + 1, dtype=torch.bool)
        output: Tensor = layer(
            token_of(x, at), position_embeddings=here, attention_mask=mask, past_key_values=cache,
            position_ids=torch.tensor([[at]]),
        )[0]  # fmt: skip
        return output

    return Steps(length, step, lambda: cache.crop(length - cache.get_seq_length()))
