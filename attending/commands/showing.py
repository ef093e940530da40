"""Tables in the terminal; on standard error what is not the answer.

Counts and estimates, never a patient.
"""

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid

from attending.evaluation.result import Result
from attending.records import Companion, Records, Schema
from attending.records.column import INPUTS

NARROWEST = 118
"""Columns of a table that is written into a file or a log, where nobody can say how wide the page is."""

# no markup: names of columns, findings and files are printed as they are, also "crp [mg/L]"
out = Console(width=None if sys.stdout.isatty() else NARROWEST, markup=False, emoji=False)
err = Console(stderr=True, width=None if sys.stderr.isatty() else NARROWEST, markup=False, emoji=False)


def threads_of(asked: int) -> int:
    """`asked`, or all that this process may use."""
    return asked if asked > 0 else len(os.sched_getaffinity(0))


def device_of(asked: str) -> str:
    """`auto` is cuda where there is one. Raises `ValueError` for an unknown device or one that is not there."""
    import torch

    if asked not in ("auto", "cpu", "cuda"):
        raise ValueError(f'--device {asked}: expected "auto", "cpu" or "cuda"')
    if asked == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA device is available; use --device cpu")
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def show_schema(schema: Schema) -> None:
    """Every column's role and why it has it, inputs first."""
    grid = Grid(title="What each column is taken for", title_justify="left", box=None, pad_edge=False)
    for name in ("column", "role", "why"):
        grid.add_column(name, overflow="fold")
    ordered = sorted(schema.shown, key=lambda column: column.role not in INPUTS)
    for column in ordered:
        style = None if column.role in INPUTS else "dim"
        grid.add_row(column.name, column.role.value, column.why, style=style)
    err.print(grid)
    for companion in schema.companions:
        err.print(f"--{companion.kind}: {_meaning(companion)}", highlight=False)
    for sentence in schema.undeclared()[:3]:
        err.print(f"undeclared: {sentence}", style="yellow")
    if len(schema.undeclared()) > 3:
        err.print(f"undeclared: {len(schema.undeclared()) - 3} more (attending schema TABLE writes them all)", style="yellow")


def _meaning(companion: Companion) -> str:
    """What the columns of a companion are taken for."""
    parts = (("value", companion.value), ("code", companion.code), ("unit", companion.unit), ("low", companion.low),
             ("high", companion.high))  # fmt: skip
    held = [f'{what} in "{column}"' for what, column in parts if column is not None]
    time = f'time in "{companion.time}" ({companion.time_unit})' if companion.time is not None else "no time"
    return f'joined by "{companion.id}"; {", ".join((*held, time))}'


def show_left_out(records: Records) -> None:
    """A line for every reason for which values of a column, or rows of a companion, were not used."""
    for column, reasons in (*records.reasons.items(), *records.companion_reasons.items()):
        for reason, count in reasons.items():
            err.print(f"{column}: {count} left out: {reason}", highlight=False)


HEADLINE = ("fused", "best-baseline", "site-and-missingness", "demographics")
SHOWN = ("auroc", "calibration_slope", "brier")


def show_results(results: Sequence[Result], *, models: Sequence[str] = HEADLINE) -> None:
    """AUROC, calibration slope and Brier score with intervals, a row per model and finding."""
    whole = [r for r in results if r.slice is None and r.comparator is None and r.metric in SHOWN]
    findings = list(dict.fromkeys(r.finding for r in whole))
    means = [r for r in whole if r.finding == "macro" and r.metric == "auroc" and r.model in models]
    if len(findings) > 4 and any(r.value is not None for r in means):
        findings = ["macro"]
    grid = Grid(title="Estimates with 95 % intervals", title_justify="left", box=None, pad_edge=False)
    grid.add_column("finding")
    grid.add_column("model")
    for metric in SHOWN:
        grid.add_column({"auroc": "AUROC", "calibration_slope": "calibration slope", "brier": "Brier"}[metric], justify="right")
    grid.add_column("n", justify="right")
    grid.add_column("events", justify="right")
    for finding in findings:
        for model in models:
            row = {r.metric: r for r in whole if r.finding == finding and r.model == model}
            if "auroc" in row:
                first = row["auroc"]
                cells = [interval(row.get(metric)) for metric in SHOWN]
                grid.add_row(finding, model, *cells, str(first.n or ""), str(first.events or ""))
    out.print(grid)


def interval(result: Result | None) -> str:
    """`0.83 (0.76 to 0.88)`, or that it cannot be estimated."""
    if result is None:
        return ""
    if result.value is None:
        return "cannot be estimated"
    if result.low is None or result.high is None:
        return f"{result.value:.2f}"
    return f"{result.value:.2f} ({result.low:.2f} to {result.high:.2f})"
