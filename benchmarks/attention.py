"""Every mechanism of the attention library against what people would use instead, on this machine, in one run.

    python benchmarks/attention.py [--only JOB ...] [--json FILE] [--repeats 7] [--threads 2] [--quick]

Outputs are compared before anything is timed; both sides are timed in turns, seven rounds; a ratio is the median of the rounds
and stands beside its spread. `limit` is the share of what the machine could do, by memory read and matrix products measured in
the same run. Peers of transformers need the extra "hub" (attending[hub]); without it their rows say so. `--quick` shrinks every
length: it shows that everything runs, and its figures mean nothing. The whole takes about a quarter of an hour on two cores.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

if __package__ in (None, ""):  # run as a file: the folder above is not on the path then
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.attention_rows.catalog import JOBS
from benchmarks.attention_rows.machine import limits_of
from benchmarks.attention_rows.measuring import REPEATS, Row, Run


def measured(names: Sequence[str], run: Run, say: Console) -> list[Row]:
    """The rows of the jobs named, those of the machine first; each is said as soon as it is there."""
    with torch.inference_mode():
        limits, rows = limits_of(run)
        run = replace(run, limits=limits)
        for row in rows:
            say.print(row.shape, style="dim")
        for name in names:
            for row in JOBS[name](run):
                rows.append(row)
                say.print(f"{name}: {row.peer}; {row.shape}; {row.dtype}: {_ratio(row)} {row.verdict}", style="dim")
    return rows


def table_of(rows: Sequence[Row]) -> Table:
    """All rows, for people."""
    table = Table(box=None, pad_edge=False)
    for name in ("job", "against", "shape", "type"):
        table.add_column(name, overflow="fold")
    for name in ("ours µs", "peer µs", "ratio", "spread", "must", "limit", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        spread = "" if row.spread is None else f"{row.spread[0]:.3g} to {row.spread[1]:.3g}"
        limit = "" if row.floor_us is None or row.ours_us is None else f"{row.floor_us / row.ours_us:.0%}"
        error = "" if row.error is None or isinstance(row.error, str) else f"{row.error:.1e}"
        cells = (row.job, row.peer, row.shape, row.dtype, _number(row.ours_us), _number(row.peer_us), _ratio(row), spread)
        verdict = row.verdict
        style = "red" if verdict == "MISSED" else "green" if verdict == "met" else ""
        table.add_row(
            *cells, "" if row.must is None else f"{row.must:g}", limit, error, f"[{style}]{verdict}[/]" if style else verdict
        )
    return table


def _ratio(row: Row) -> str:
    return "" if row.ratio is None else f"{row.ratio:.3g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(JOBS), metavar="JOB", help=f"some of {', '.join(JOBS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here, also")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="short sequences: only whether everything runs")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    say = Console(stderr=True, highlight=False, markup=False)
    rows = measured(asked.only or tuple(JOBS), Run(repeats=asked.repeats, is_quick=asked.quick), say)
    if asked.json is not None:
        asked.json.write_text(
            json.dumps([row.as_json() for row in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "200"))
    Console(width=width, highlight=False).print(table_of(rows))


if __name__ == "__main__":
    main()
