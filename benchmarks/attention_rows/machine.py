"""What the machine can do in this very run: memory read, and matrix products by number type. Not a peer of anything."""

import statistics
from collections.abc import Iterator

import torch

from benchmarks.attention_rows.measuring import Limits, Row, Run, drawn, name_of, timed

_SIDE = 2048
_NUMBERS = 1 << 26


def limits_of(run: Run) -> tuple[Limits, list[Row]]:
    """The limits, and a row for each."""
    side, count = (256, 1 << 20) if run.is_quick else (_SIDE, _NUMBERS)
    numbers = drawn(count)
    took = statistics.median(timed({"read": numbers.sum}, repeats=run.repeats)["read"])
    bytes_per_s = 4 * count / took
    rows = [
        Row(
            job="machine", peer="", shape=f"memory read, {torch.get_num_threads()} threads: {bytes_per_s / 1e9:.0f} GB/s",
            dtype="float32", ours_us=1e6 * took,
        )
    ]  # fmt: skip
    flops_per_s = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (drawn(side, side, dtype=dtype, seed=seed) for seed in (0, 1))
        took = statistics.median(timed({"product": lambda a=a, b=b: a @ b}, repeats=run.repeats)["product"])
        flops_per_s[dtype] = 2 * side**3 / took
        shape = f"product of {side} × {side}: {flops_per_s[dtype] / 1e9:.0f} GFLOP/s"
        rows.append(Row(job="machine", peer="", shape=shape, dtype=name_of(dtype), ours_us=1e6 * took))
    return Limits(bytes_per_s=bytes_per_s, flops_per_s=flops_per_s), rows


def machine(run: Run) -> Iterator[Row]:
    """Its rows alone."""
    yield from limits_of(run)[1]
