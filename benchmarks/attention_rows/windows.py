"""Sliding windows: the core against PyTorch's with a band mask, the layer against Longformer's, and growth with the length."""

import statistics
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attending.attention import attend, causal, window
from attending.attention.known import adopt_attention
from benchmarks.attention_rows.hub import hub, unmeasured
from benchmarks.attention_rows.measuring import Contest, Peer, Row, Run, Work, drawn, figures, name_of, timed

HEADS, WIDTH = 8, 64
GROWTH = {torch.float32: 1.15, torch.bfloat16: 1.3}
"""Largest exponent of time against length, from 4096 to 16,384 tokens."""


def window_core(run: Run) -> Iterator[Row]:
    """A causal window of `width` tokens, the query itself among them."""
    for dtype in (torch.float32, torch.bfloat16):
        for tokens, span in ((4096, 256), (4096, 512), (8192, 256), (8192, 512)):
            length, width = run.length(tokens), run.length(span)
            q, k, v = (drawn(1, HEADS, length, WIDTH, dtype=dtype, seed=seed) for seed in range(3))
            distance = torch.arange(length)[:, None] - torch.arange(length)
            band, rule = (distance >= 0) & (distance < width), causal() & window(width - 1, 0)
            contest = Contest(
                job="window core",
                shape=f"{HEADS} heads of {WIDTH}, {length} tokens, causal window {width}",
                dtype=dtype,
                ours=lambda q=q, k=k, v=v, rule=rule: attend(q, k, v, mask=rule).output,
                peers=(
                    Peer(
                        name="SDPA with a band mask",
                        call=lambda q=q, k=k, v=v, band=band: scaled_dot_product_attention(q, k, v, attn_mask=band),
                        must=6.0,
                    ),
                ),
                work=Work(flops=4 * q.numel() * width, bytes=4 * q.numel() * q.element_size()),
            )
            yield from contest.rows(run)


def window_layer(run: Run) -> Iterator[Row]:
    """The layer with the weights of Longformer's, projections included, without and with a global token."""
    length, width = run.length(2048), run.length(512)
    peer = "Hugging Face LongformerSelfAttention"
    for dtype, must in ((torch.float32, 2.5), (torch.bfloat16, None)):
        for n_global in (0, 1):
            shape = f"d 768, 12 heads, {length} tokens, window {width}, {n_global} global"
            transformers = hub()
            if transformers is None:
                yield from unmeasured("window layer", {peer: must}, shape, dtype)
                continue
            config = transformers.LongformerConfig(
                attention_window=[width], num_hidden_layers=1, vocab_size=8, max_position_embeddings=length + 2
            )
            torch.manual_seed(0)
            layer = transformers.models.longformer.modeling_longformer.LongformerAttention(config, 0).eval().to(dtype)
            known = adopt_attention(layer, layer=0)
            x = drawn(1, length, 768, dtype=dtype)
            is_global = torch.arange(length)[None] < n_global

            def theirs(layer: torch.nn.Module = layer, x: Tensor = x, is_global: Tensor = is_global) -> Tensor:
                mask = is_global.to(x.dtype) * 10000.0
                own = layer.self(
                    x,
                    attention_mask=mask,
                    is_index_masked=mask < 0,
                    is_index_global_attn=mask > 0,
                    is_global_attn=bool(is_global.any()),
                )
                output: Tensor = layer.output.dense(own[0])
                return output

            contest = Contest(
                job="window layer",
                shape=shape,
                dtype=dtype,
                ours=lambda known=known, x=x, is_global=is_global: known.layer(x, mask=known.mask, global_tokens=is_global),
                peers=(Peer(name=peer, call=theirs, must=must),),
                work=Work(flops=8 * length * 768 * 768 + 4 * length * (width + 1) * 768),
            )
            yield from contest.rows(run)


def window_growth(run: Run) -> Iterator[Row]:
    """Time at 16,384 tokens against that at 4096, grown by the exponent allowed: 1 or more is within it."""
    short, long, width = run.length(4096), run.length(16384), run.length(512)
    heads = f"{HEADS} heads of {WIDTH}"
    for dtype, most in GROWTH.items():
        tensors = {n: [drawn(1, HEADS, n, WIDTH, dtype=dtype, seed=seed) for seed in range(3)] for n in (short, long)}
        rule = causal() & window(width - 1, 0)
        seconds = timed(
            {str(n): lambda given=given, rule=rule: attend(*given, mask=rule).output for n, given in tensors.items()},
            repeats=run.repeats,
        )
        ours, allowed = seconds[str(long)], [took * (long / short) ** most for took in seconds[str(short)]]
        exponents = [_exponent(many / few, long / short) for few, many in zip(seconds[str(short)], ours, strict=True)]
        yield Row(
            job="window growth",
            peer=f"own time at {short} grown to the power {most}",
            shape=f"{heads}, {short} to {long} tokens, window {width}: power {statistics.median(exponents):.2f}",
            dtype=name_of(dtype),
            must=1.0,
            error=0.0,
            **figures(ours, allowed),
        )


def _exponent(times: float, longer: float) -> float:
    return float(torch.tensor(times).log() / torch.tensor(longer).log())
