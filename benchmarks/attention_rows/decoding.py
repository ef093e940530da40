"""Decoding, one token against a cache: the whole layer against Hugging Face's, and grouped heads folded over shared keys.

Weights are the peer's own (`adopt_attention`); angles and masks of the peer are made outside the clock, once for all steps, as
a model makes them once for all layers. Each step appends: caches hold T tokens and have room for 64 more.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from attending.attention import GroupedConfig, Mask, Mechanism, attend, causal
from attending.attention.known import adopt_attention
from attending.attention.projection import Projection
from benchmarks.attention_rows.hub import hub, unmeasured
from benchmarks.attention_rows.measuring import Contest, Peer, Row, Run, Steps, Work, drawn, name_of, token_of

DIM, HEADS, WIDTH = 1024, 16, 64
ROOM = 64


def decode_layer(run: Run) -> Iterator[Row]:
    """A step of a Llama layer with its projections and rotation."""
    for dtype, kv_heads, batch, tokens, must in (
        (torch.float32, 16, 1, 2048, None),
        (torch.float32, 16, 1, 8192, 5.0),
        (torch.float32, 16, 8, 2048, 5.0),
        (torch.float32, 4, 1, 8192, None),
        (torch.bfloat16, 16, 1, 8192, None),
        (torch.bfloat16, 4, 1, 2048, 2.5),
        (torch.bfloat16, 4, 1, 8192, 2.5),
    ):
        length = run.length(tokens)
        kind = "MHA" if kv_heads == HEADS else "GQA"
        shape = f"{kind} {HEADS}/{kv_heads} heads of {WIDTH}, batch {batch}, T {length}"
        musts = {"Hugging Face, StaticCache": 1.05, "Hugging Face, DynamicCache": must}
        transformers = hub()
        if transformers is None:
            yield from unmeasured("decode layer", musts, shape, dtype)
            continue
        config = transformers.LlamaConfig(
            hidden_size=DIM, num_attention_heads=HEADS, num_key_value_heads=kv_heads, head_dim=WIDTH,
            num_hidden_layers=1, vocab_size=8, intermediate_size=8, max_position_embeddings=length + ROOM,
        )  # fmt: skip
        config._attn_implementation = "sdpa"
        torch.manual_seed(0)
        modeling = transformers.models.llama.modeling_llama
        layer = modeling.LlamaAttention(config, 0).eval().to(dtype)
        x = drawn(batch, length + ROOM, DIM, dtype=dtype)
        angles = modeling.LlamaRotaryEmbedding(config)(x, torch.arange(length + ROOM)[None])
        ours = our_steps(layer, x, length)
        static = transformers.StaticCache(config=config, max_cache_len=length + ROOM)
        growing = transformers.DynamicCache(config=config)
        peers = (
            Peer(
                name="Hugging Face, StaticCache", call=their_steps(layer, static, x, angles, length, is_fixed=True), must=1.05
            ),
            Peer(name="Hugging Face, DynamicCache", call=their_steps(layer, growing, x, angles, length), must=must),
        )
        size = x.element_size()
        read = (2 * batch * kv_heads * WIDTH * length + sum(p.numel() for p in layer.parameters())) * size
        contest = Contest(
            job="decode layer", shape=shape, dtype=dtype, ours=ours, peers=peers,
            work=Work(bytes=read, flops=4 * batch * HEADS * WIDTH * length),
        )  # fmt: skip
        yield from contest.rows(run)


def one_token(run: Run) -> Iterator[Row]:
    """Products of a few tokens with weights that come from memory: so many layers in turn that no cache keeps them."""
    for dtype in (torch.float32, torch.bfloat16):
        for tokens in (1, 2, 3, 4):
            layers = [Projection(DIM, DIM, bias=False).to(dtype) for _ in range(2 if run.is_quick else 32)]
            x = drawn(1, tokens, DIM, dtype=dtype)

            def through(product: Callable[[Projection], Tensor], layers: list[Projection] = layers) -> Callable[[], Tensor]:
                return lambda: torch.stack([product(layer)[0, -1] for layer in layers])

            contest = Contest(
                job="one token",
                shape=f"{tokens} × {DIM} through {len(layers)} layers of {DIM} × {DIM}",
                dtype=dtype,
                ours=through(lambda layer, x=x: layer(x)),
                peers=(Peer(name="nn.Linear", call=through(lambda layer, x=x: torch.nn.functional.linear(x, layer.weight))),),
                work=Work(bytes=len(layers) * DIM * DIM * x.element_size()),
            )
            yield from contest.rows(run)


def our_steps(layer: torch.nn.Module, x: Tensor, length: int) -> Steps:
    """Steps of ours with the weights of a peer, behind `length` tokens."""
    known = adopt_attention(layer, layer=0)
    return steps_of(known.layer, known.mask, x, length)


def steps_of(layer: Mechanism, mask: Mask, x: Tensor, length: int, stored: torch.dtype | None = None) -> Steps:
    """Steps of one of our layers, behind `length` tokens."""
    cache = layer.new_cache(x.shape[0], mask=mask, capacity=length + ROOM, dtype=stored)
    cache.extend(x[:, :length])
    return Steps(length, lambda at: cache.extend(token_of(x, at)), lambda: cache.crop(length))


def their_steps(
    layer: Any, cache: Any, x: Tensor, angles: tuple[Tensor, Tensor], length: int, *, is_fixed: bool = False
) -> Steps:
    """Steps of the peer; a fixed cache is read whole and needs a mask for what is not written yet."""
    cosine, sine = angles
    given = {"attention_mask": None, "past_key_values": cache}
    layer(x[:, :length], position_embeddings=(cosine[:, :length], sine[:, :length]), **given)
    room = x.shape[1]
    masks = [torch.arange(room)[None, None, None] <= at if is_fixed else None for at in range(length, room)]

    def step(at: int) -> Tensor:
        place = slice(at, at + 1)
        here = given | {"attention_mask": masks[at - length]}
        output: Tensor = layer(token_of(x, at), position_embeddings=(cosine[:, place], sine[:, place]), **here)[0]
        return output

    def back() -> None:
        if is_fixed:
            cache.layers[0].cumulative_length.fill_(length)
        else:
            cache.crop(length - cache.get_seq_length())

    return Steps(length, step, back)


def decode_folded(run: Run) -> Iterator[Row]:
    """Query heads folded over their KV head, against the same request to PyTorch's own attention."""
    for dtype, kv_heads, must in (
        (torch.bfloat16, 4, 4.0),
        (torch.bfloat16, 1, 8.0),
        (torch.float32, 4, None),
        (torch.float32, 1, None),
    ):
        for tokens in (2048, 8192):
            length = run.length(tokens)
            q = drawn(1, HEADS, 1, WIDTH, dtype=dtype)
            k, v = (drawn(1, kv_heads, length, WIDTH, dtype=dtype, seed=seed) for seed in (1, 2))
            contest = Contest(
                job="decode folded",
                shape=f"G {HEADS // kv_heads}, {HEADS}/{kv_heads} heads of {WIDTH}, T {length}",
                dtype=dtype,
                ours=lambda q=q, k=k, v=v: attend(q, k, v).output,
                peers=(
                    Peer(
                        name="SDPA with enable_gqa",
                        call=lambda q=q, k=k, v=v: torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True),
                        must=must,
                    ),
                ),
                work=Work(bytes=2 * k.numel() * k.element_size(), flops=4 * HEADS * WIDTH * length),
            )
            yield from contest.rows(run)


def decode_int8(run: Run) -> Iterator[Row]:
    """A cache that stores int8, against the same cache at full width."""
    for dtype in (torch.float32, torch.bfloat16):
        length = run.length(8192)
        torch.manual_seed(0)
        layer = GroupedConfig(dim=DIM, n_heads=HEADS).build().eval().to(dtype)
        x = drawn(1, length + ROOM, DIM, dtype=dtype)
        contest = Contest(
            job="decode int8",
            shape=f"MHA {HEADS} heads of {WIDTH}, T {length}, stored as int8",
            dtype=dtype,
            ours=steps_of(layer, causal(), x, length, torch.int8),
            peers=(Peer(name=f"ours, stored as {name_of(dtype)}", call=steps_of(layer, causal(), x, length)),),
            bound=0.1,
            work=Work(bytes=2 * length * DIM),
        )
        yield from contest.rows(run)
