"""Exact weights of a few rows, against the full matrix: time with queries and keys given, time through a layer, and memory."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from attending.attention import GroupedConfig, RotaryConfig, causal, everything
from attending.attention.grid import aligned
from attending.attention.inspection import weights_by
from attending.attention.scoring import Scoring
from benchmarks.attention_rows.measuring import Contest, Peer, Row, Run, Work, drawn, name_of

DIM, HEADS, WIDTH, ROWS = 1024, 16, 64, 16


def weights_of_rows(run: Run) -> Iterator[Row]:
    """Sixteen rows at 8192 tokens."""
    length, dtype = run.length(8192), torch.float32
    rows = [(i * length) // ROWS for i in range(ROWS)]
    q, k = (drawn(1, HEADS, length, WIDTH, seed=seed) for seed in (0, 1))
    scoring = Scoring(mask=everything(), grid=aligned(length, length, q.device), scale=WIDTH**-0.5)

    def few() -> Tensor:
        return weights_by(q, k, scoring, rows=rows)

    def whole() -> Tensor:
        return (q @ k.mT).mul_(WIDTH**-0.5).softmax(dim=-1)

    shape = f"{ROWS} rows, {HEADS} heads of {WIDTH}, {length} tokens"
    peers = (Peer(name="the full matrix", call=_picking(whole, rows), must=500.0),)
    moved = (k.numel() + HEADS * ROWS * length) * 4
    contest = Contest(
        job="weights, q and k given", shape=shape, dtype=dtype, ours=few, peers=peers,
        work=Work(bytes=moved, flops=2 * HEADS * ROWS * length * WIDTH),
    )  # fmt: skip
    yield from contest.rows(run)
    held = {name: peak_bytes(call) for name, call in (("few", few), ("whole", whole))}
    yield Row(
        job="weights, peak memory",
        peer="the full matrix",
        shape=f"{shape}: {held['few'] / 2**20:.1f} against {held['whole'] / 2**20:.1f} MiB",
        dtype=name_of(dtype),
        ratio=held["whole"] / held["few"],
        spread=(held["whole"] / held["few"],) * 2,
        must=300.0,
        error=0.0,
    )


def weights_of_layer(run: Run) -> Iterator[Row]:
    """The same through a layer, projections included."""
    length, dtype = run.length(8192), torch.float32
    rows = [(i * length) // ROWS for i in range(ROWS)]
    x = drawn(1, length, DIM)
    for name, position in (("no positions", None), ("rotary", RotaryConfig())):
        torch.manual_seed(0)
        layer = GroupedConfig(dim=DIM, n_heads=HEADS, position=position).build().eval()
        contest = Contest(
            job="weights, layer",
            shape=f"{ROWS} rows, d {DIM}, {HEADS} heads, {length} tokens, causal, {name}",
            dtype=dtype,
            ours=lambda layer=layer: layer.weights(x, mask=causal(), rows=rows),
            peers=(
                Peer(
                    name="the full matrix", call=_picking(lambda layer=layer: layer.weights(x, mask=causal()), rows), must=40.0
                ),
            ),
            work=Work(flops=2 * length * DIM * DIM + 2 * HEADS * ROWS * length * WIDTH),
        )
        yield from contest.rows(run)


def _picking(whole: Callable[[], Tensor], rows: list[int]) -> Callable[[], Tensor]:
    """The rows of the full matrix; picking them costs next to nothing beside making it."""
    return lambda: whole()[:, :, rows]


def peak_bytes(call: Callable[[], object]) -> int:
    """Most bytes that a call holds at once in tensors that it made."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = call()
    del result
    held = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
