"""`attending limits` and `attending compare`: what the machine can do, and what attention mechanisms make of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table as Grid

from attending.artefacts import write_text
from attending.commands.progress import share_of
from attending.commands.showing import err, out, threads_of

if TYPE_CHECKING:
    from attending.attention import Limits
    from attending.comparison import Comparison


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


def compare_mechanisms(
    names: Sequence[str],
    *,
    config: Path | None,
    dim: int,
    n_heads: int,
    budget: int,
    lengths: str,
    dtype: str,
    tasks: str,
    n_seeds: int,
    steps: int,
    asks_clinic: bool,
    json_file: Path | None,
    page: Path | None,
    limits_file: Path | None,
    threads: int,
) -> None:
    """Compare, print the table, and write the rows and the page where asked."""
    import torch

    from attending.comparison import (
        ClinicPlan,
        ComparisonPlan,
        LearningPlan,
        Shape,
        TimingPlan,
        as_text,
        chosen_contenders,
        compare,
        page_of,
        parsed_lengths,
        parsed_tasks,
    )

    shape = Shape(dim=dim, n_heads=n_heads, budget=budget)
    contenders = chosen_contenders(names, config, shape)
    plan = ComparisonPlan(
        timing=TimingPlan(lengths=parsed_lengths(lengths), dtype=dtype),
        tasks=parsed_tasks("recall,copy" if asks_clinic and tasks == "recall" else tasks),
        learning=LearningPlan(steps=steps),
        seeds=tuple(range(n_seeds)),
        clinic=ClinicPlan() if asks_clinic else None,
    )
    torch.set_num_threads(threads_of(threads))
    warn_if_busy()
    limits = _limits(limits_file)
    with share_of("comparing") as heard:
        found = compare(contenders, limits=limits, plan=plan, heard=heard)
    if json_file is not None:
        write_text(json_file, as_text(found.rows, found.about))
        err.print(f"rows: {json_file}", highlight=False, soft_wrap=True)
    if page is not None:
        write_text(page, page_of(found))
        err.print(f"page: {page}", highlight=False, soft_wrap=True)
    show_comparison(found)


def show_comparison(found: "Comparison") -> None:
    """Two tables: what each mechanism costs at the longest length, and what it learned."""
    from attending.comparison import quality_table, size_table

    for told in (size_table(found), quality_table(found)):
        if not told.rows:
            continue
        grid = Grid(title=told.title, title_justify="left", caption=told.note, caption_justify="left", box=None, pad_edge=False)
        for number, head in enumerate(told.heads):
            grid.add_column(head, justify="left" if number == 0 else "right", overflow="fold")
        for cells in told.rows:
            grid.add_row(*cells)
        out.print(grid)
        out.print()


def _limits(path: Path | None) -> "Limits":
    """Limits kept of this machine; measured now where there are none that hold here."""
    from attending.attention import AttentionError
    from attending.attention.limits import default_place, keep_limits, limits_here, measure_limits

    if path is not None:
        return limits_here(path)
    place = default_place()
    try:
        return limits_here(place)
    except FileNotFoundError:
        pass
    except AttentionError as error:
        err.print(f"not used: {error}", highlight=False, soft_wrap=True)
    with err.status("measuring what this machine can do") as status:
        limits = measure_limits(heard=lambda what: status.update(f"measuring {what}"))
    keep_limits(limits, place)
    err.print(f"limits of this machine measured, and kept in {place}", highlight=False, soft_wrap=True)
    return limits


def warn_if_busy() -> None:
    """Say so where others are at work: what is measured then is theirs as well."""
    from attending.comparison.timing import BUSY, load_now

    if (load := load_now()) > BUSY:
        err.print(f"this machine is busy (load {load:.1f}): what is measured now is too slow", style="yellow", highlight=False)
