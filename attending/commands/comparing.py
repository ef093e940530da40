"""`attending limits` and `attending compare`: what the machine can do, and what attention mechanisms make of it."""

import os
from pathlib import Path

from rich.table import Table as Grid

from attending.commands.showing import err, out, threads_of

_BUSY = 0.5
"""Load, in cores, above which times are not to be trusted."""


def measure(*, place: Path | None, threads: int) -> None:
    """Measure the machine's limits, print them, and keep them."""
    import torch

    from attending.attention.limits import default_place, keep_limits, measure_limits

    torch.set_num_threads(threads_of(threads))
    warn_if_busy()
    with err.status("measuring") as status:
        limits = measure_limits(heard=lambda what: status.update(f"measuring {what}"))
    path = default_place() if place is None else place
    keep_limits(limits, path)
    grid = Grid(
        title=f"Limits of {limits.machine}, with {limits.threads} of them at work",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    grid.add_column("what")
    grid.add_column("rate", justify="right")
    for name, rate in limits.flops_per_s.items():
        grid.add_row(f"products of {name}", f"{rate / 1e9:,.0f} GFLOP/s")
    for size, rate in limits.bytes_per_s_by_size.items():
        is_memory = rate == limits.bytes_per_s
        grid.add_row(f"reading {size / 2**20:g} MiB over and over{' (memory)' if is_memory else ''}", f"{rate / 1e9:,.0f} GB/s")
    out.print(grid)
    err.print(f"kept in {path}; true while nothing else runs on this machine", highlight=False, soft_wrap=True)


def warn_if_busy() -> None:
    """Say so where others are at work: what is measured then is theirs as well."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > _BUSY:
        err.print(f"this machine is busy (load {load:.1f}): what is measured now is too slow", style="yellow", highlight=False)
