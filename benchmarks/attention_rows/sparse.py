"""Native sparse attention: decoding by reading the picked blocks against hiding the others, and how a step grows with length.

The paper's sizes; weights are random, so that what is picked is nearly random, too. What a mechanism that sees less is worth is
not asked here (`attending compare`).
"""

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attending.attention import NativeSparseAttention, NativeSparseConfig, RotaryConfig, causal
from attending.attention.native_sparse import Asked
from attending.attention.scoring import Scoring
from attending.attention.stored import Tokens
from benchmarks.attention_rows.decoding import DIM, HEADS, ROOM, WIDTH, steps_of
from benchmarks.attention_rows.measuring import Contest, Peer, Row, Run, Work, drawn, figures, name_of, timed

KV_HEADS = 4


@dataclass(frozen=True, kw_only=True)
class Hiding(NativeSparseConfig):
    """The same, with all keys attended to and those of other blocks hidden."""

    def gathers(self, n_query: int, n_key: int) -> bool:
        return False


def decode_sparse(run: Run) -> Iterator[Row]:
    """A step of the whole layer."""
    for dtype in (torch.float32, torch.bfloat16):
        for tokens in (4096, 16384):
            length = run.length(tokens)
            layer = layer_of(NativeSparseConfig, run).to(dtype)
            whole = layer_of(Hiding, run).to(dtype)
            whole.load_state_dict(layer.state_dict())
            config, x = layer.config, drawn(1, length + ROOM, DIM, dtype=dtype)
            read = config.n_selected * config.block + config.runs.whole(length) + config.before + 1
            contest = Contest(
                job="decode sparse",
                shape=f"{HEADS}/{KV_HEADS} heads of {WIDTH}, {config.n_selected} blocks of {config.block}, T {length}",
                dtype=dtype,
                ours=steps_of(layer, causal(), x, length),
                peers=(Peer(name="the same, hiding what is not picked", call=steps_of(whole, causal(), x, length)),),
                work=Work(
                    bytes=(2 * KV_HEADS * WIDTH * read + sum(p.numel() for p in layer.parameters())) * x.element_size(),
                    flops=4 * HEADS * WIDTH * read,
                ),
            )
            yield from contest.rows(run)


class Converting(NativeSparseAttention):
    """The same, making numbers of everything that is stored before it looks."""

    def _far(self, asked: Asked, held: Mapping[str, Tensor], tokens: Tokens, scoring: Scoring) -> tuple[Tensor, Tensor]:
        return super()._far(asked, held, tokens.read(), scoring)


def decode_sparse_int8(run: Run) -> Iterator[Row]:
    """A step from a cache of whole numbers: converting what was picked against converting all."""
    for tokens in (4096, 16384):
        length = run.length(tokens)
        layer = layer_of(NativeSparseConfig, run)
        whole = Converting(layer.config).eval()
        whole.load_state_dict(layer.state_dict())
        x = drawn(1, length + ROOM, DIM)
        contest = Contest(
            job="decode sparse int8",
            shape=f"{HEADS}/{KV_HEADS} heads of {WIDTH}, {layer.config.n_selected} blocks of {layer.config.block}, T {length}",
            dtype=torch.float32,
            ours=steps_of(layer, causal(), x, length, stored=torch.int8),
            peers=(Peer(name="the same, converting all tokens", call=steps_of(whole, causal(), x, length, stored=torch.int8)),),
        )
        yield from contest.rows(run)


def sparse_growth(run: Run) -> Iterator[Row]:
    """A step behind 16,384 tokens against one behind 4096, as a power of the length: 1 would be that of reading all."""
    short, long = run.length(4096), run.length(16384)
    layer, x = layer_of(NativeSparseConfig, run), drawn(1, long + ROOM, DIM)
    seconds = timed({str(n): steps_of(layer, causal(), x, n) for n in (short, long)}, repeats=run.repeats)
    ours, grown = seconds[str(long)], [took * long / short for took in seconds[str(short)]]
    powers = [math.log(many / few) / math.log(long / short) for few, many in zip(seconds[str(short)], ours, strict=True)]
    yield Row(
        job="sparse growth",
        peer=f"own step behind {short} grown with the length",
        shape=f"{HEADS}/{KV_HEADS} heads of {WIDTH}, {short} to {long} tokens: power {statistics.median(powers):.2f}",
        dtype=name_of(torch.float32),
        error=0.0,
        **figures(ours, grown),
    )


def layer_of(kind: type[NativeSparseConfig], run: Run) -> NativeSparseAttention:
    """A layer of the paper's sizes, with fewer blocks where lengths are short."""
    torch.manual_seed(0)
    n_selected = 3 if run.is_quick else 16
    block = 8 if run.is_quick else 64
    config = kind(dim=DIM, n_heads=HEADS, n_kv_heads=KV_HEADS, n_selected=n_selected, block=block, position=RotaryConfig())
    return config.build().eval()
