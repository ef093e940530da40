"""Self-attention over whole sequences: the core alone in bfloat16, and the whole layer in float32 and bfloat16."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from attending.attention import GroupedAttention, GroupedConfig, attend, causal, everything
from benchmarks.attention_rows.measuring import Contest, Peer, Row, Run, Work, difference, drawn

DIM, HEADS, WIDTH = 1024, 16, 64
_LOOKED_AT = 64
"""Rows whose truth is worked out in float64."""


def core_16(run: Run) -> Iterator[Row]:
    """The functional core against PyTorch's, 128 to 8192 tokens; both within an error bound against float64."""
    dtype = torch.bfloat16
    for is_causal, must in ((False, 2.0), (True, 1.8)):
        for tokens, batch, heads in ((128, 16, 16), (512, 4, 16), (2048, 1, 16), (8192, 1, 8)):
            length = run.length(tokens)
            q, k, v = (drawn(batch, heads, length, WIDTH, dtype=dtype, seed=seed) for seed in range(3))
            mask = causal() if is_causal else everything()
            error, bound = _against_truth(q, k, v, is_causal=is_causal)
            contest = Contest(
                job="core, causal" if is_causal else "core",
                shape=f"batch {batch}, {heads} heads of {WIDTH}, {length} tokens",
                dtype=dtype,
                ours=lambda q=q, k=k, v=v, mask=mask: attend(q, k, v, mask=mask).output,
                peers=(
                    Peer(
                        name="SDPA",
                        call=lambda q=q, k=k, v=v, is_causal=is_causal: scaled_dot_product_attention(
                            q, k, v, is_causal=is_causal
                        ),
                        must=must,
                    ),
                ),
                wanted=error,
                bound=bound,
                work=Work(flops=4 * q.numel() * length / (2 if is_causal else 1)),
            )
            yield from contest.rows(run)


def _against_truth(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> tuple[Callable[[Tensor], float], float]:
    """How to measure an output's error against float64, and twice the error of plain products in the same type."""
    length = q.shape[2]
    rows = torch.linspace(0, length - 1, min(_LOOKED_AT, length)).long()
    hidden = torch.arange(length)[None] > rows[:, None] if is_causal else torch.zeros(len(rows), length, dtype=torch.bool)

    def plain(kind: torch.dtype) -> Tensor:
        scores = (q[:1, :, rows].to(kind) @ k[:1].to(kind).mT) * WIDTH**-0.5
        return scores.masked_fill(hidden, -torch.inf).softmax(dim=-1) @ v[:1].to(kind)

    truth = plain(torch.float64)
    return lambda output: difference(output[:1, :, rows], truth), 2 * difference(plain(q.dtype), truth)


def layers(run: Run) -> Iterator[Row]:
    """The whole layer in eval mode against the best of PyTorch's, as it stands; bfloat16 is reported."""
    for dtype, must in ((torch.float32, 0.95), (torch.bfloat16, None)):
        for tokens, batch in ((512, 4), (2048, 1)):
            yield from layer_contest("layer", run.length(tokens), batch, dtype, must, lambda call: call()).rows(run)


def layers_fast(run: Run) -> Iterator[Row]:
    """The same in float32 with ours on the fast products of oneDNN, chosen by `fast_float32`; the peers are as they stand."""
    from attending.attention import fast_float32

    def chosen(call: Callable[[], Tensor]) -> Tensor:
        with fast_float32():
            return call()

    for tokens, batch in ((512, 4), (2048, 1)):
        yield from layer_contest("layer, fast float32", run.length(tokens), batch, torch.float32, 1.4, chosen).rows(run)


def layer_contest(
    job: str, length: int, batch: int, dtype: torch.dtype, must: float | None, under: Callable[[Callable[[], Tensor]], Tensor]
) -> Contest:
    """Ours against two peers with the same weights. A must against each of them is a must against the best."""
    torch.manual_seed(0)
    ours = GroupedConfig(dim=DIM, n_heads=HEADS, bias=True, output_bias=True).build().eval().to(dtype)
    fused = nn.MultiheadAttention(DIM, HEADS, batch_first=True).eval().to(dtype)
    with torch.no_grad():
        fused.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        fused.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        fused.out_proj.load_state_dict(ours.output.state_dict())
    x = drawn(batch, length, DIM, dtype=dtype)
    return Contest(
        job=job,
        shape=f"d {DIM}, {HEADS} heads, batch {batch}, {length} tokens",
        dtype=dtype,
        ours=lambda: under(lambda: ours(x, mask=everything())),
        peers=(
            Peer(name="nn.MultiheadAttention", call=lambda: fused(x, x, x, need_weights=False)[0], must=must),
            Peer(name="linear layers and SDPA", call=lambda: _plain_layer(ours, x), must=must),
        ),
        work=Work(flops=batch * (8 * length * DIM * DIM + 4 * length * length * DIM)),
    )


def _plain_layer(weights: GroupedAttention, x: Tensor) -> Tensor:
    """What people write by hand."""
    q, k, v = (part(x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for part in (weights.query, weights.key, weights.value))
    output: Tensor = weights.output(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    return output
