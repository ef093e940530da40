"""`attending schema` and `attending plan`: what is declared and what can be expected, before anything is trained."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from rich.table import Table as Grid

from attending.case import Chart
from attending.cohort import Protocol, plan_protocol
from attending.commands.showing import err, out, show_schema
from attending.evaluation.plan import expected_widths, too_small_slices
from attending.intake import LONGEST_SIDE, declare, read_table
from attending.records import NOTHING_AMENDED, Amendments, Schema, read_charts, with_companions, write_schema
from attending.study import ProtocolKind, primary_findings
from attending.training.bridge import members_of, pattern_of
from attending.training.recipe import default_repeats


def write_schema_of(
    table: Path,
    *,
    targets: Sequence[str],
    positive: str | None,
    patient: str | None,
    ignore: Sequence[str],
    only: Sequence[str],
    where: str | None,
    companions: Mapping[str, Path],
    out: Path | None,
    amendments: Amendments = NOTHING_AMENDED,
) -> None:
    """Infer, show and write a schema; with `companions` (long-format files by kind) also what their columns mean."""
    path = out or table.with_suffix(".schema.toml")
    if path.exists():
        raise ValueError(f"{path}: exists already, and may hold what somebody declared; name another --out or remove it")
    read = read_table(table, where=where)
    inferred = declare(
        read,
        schema=None,
        targets=targets,
        positive=positive,
        ignore=ignore,
        only=only,
        patient=patient,
        amendments=amendments,
    )
    found = with_companions(inferred, {kind: read_table(file) for kind, file in companions.items()})
    show_schema(found)
    write_schema(found, path)
    err.print(f"written: {path}", highlight=False, soft_wrap=True)


def protocol_kind(asked: str) -> ProtocolKind:
    """The protocol of this name. Raises `ValueError` for one that is not known."""
    if asked not in get_args(ProtocolKind):
        raise ValueError(f"--protocol {asked}: expected one of {', '.join(get_args(ProtocolKind))}")
    return cast(ProtocolKind, asked)


def require_target(schema_file: Path | None, targets: Sequence[str]) -> None:
    """Raise `ValueError` where neither an option nor a schema file can say what is to be predicted."""
    if schema_file is None and not targets:
        raise ValueError("no --target: name the column to predict, or give a --schema that declares one")


def plan_table(
    table: Path,
    *,
    targets: Sequence[str],
    positive: str | None,
    patient: str | None,
    schema_file: Path | None,
    ignore: Sequence[str],
    only: Sequence[str],
    where: str | None,
    companions: Mapping[str, Path],
    protocol: str,
    folds: int,
    repeats: int | None,
    seed: int,
    is_strict: bool,
    amendments: Amendments = NOTHING_AMENDED,
) -> None:
    """Print the protocol, the widths of intervals to expect, and the slices too small to say anything about.

    `companions` are long-format files by kind, as a run takes them: what they hold decides who has which evidence. `amendments`
    are those of the run: a wider group changes the protocol, a look-back who has which evidence.
    """
    kind = protocol_kind(protocol)
    require_target(schema_file, targets)
    read = read_table(table, where=where)
    schema = declare(
        read,
        schema=schema_file,
        targets=targets,
        positive=positive,
        ignore=ignore,
        only=only,
        patient=patient,
        amendments=amendments,
    )
    beside = {kind: read_table(path) for kind, path in companions.items()}
    records = read_charts(read, schema, companions=beside, longest_side=LONGEST_SIDE, is_strict=is_strict)
    for missing in records.missing:
        err.print(f'"{missing}" is not there: absent evidence for every case', style="yellow", highlight=False)
    charts = sorted((chart for chart in records.charts if chart.truth), key=lambda chart: chart.id)  # as a run sorts them
    repeats = default_repeats(charts) if repeats is None else repeats
    planned = plan_protocol(
        members_of(charts), kind=kind, folds=folds, repeats=repeats, seed=seed, primary=primary_findings(schema)
    )
    out.print(planned.reason, highlight=False)
    _show_expected(schema, charts, planned)
    _show_too_small(schema.findings[0], charts)


def _show_expected(schema: Schema, charts: Sequence[Chart], planned: Protocol) -> None:
    """Per finding the width that intervals will have, for some guesses of the truth."""
    rounds = None if planned.split is not None else len({fold.fold for fold in planned.folds})
    test_share = len(planned.folds[0].test) / len(charts)
    grid = Grid(title="What to expect", title_justify="left", box=None, pad_edge=False)
    for name in ("finding", "quantity", "if the truth is", "tested", "events", "width of the 95 % interval", "note"):
        grid.add_column(name, overflow="fold")
    for finding in schema.findings:
        with_, without = (len({c.patient for c in charts if c.truth.get(finding) is held}) for held in (True, False))
        lines = expected_widths(finding, events=with_, others=without, folds=rounds, test_share=test_share)
        for line in lines:
            guess = "" if line.guess is None else f"{line.guess:g}"
            width = "" if line.width is None else f"{line.width:.3f}"
            grid.add_row(finding, line.quantity, guess, str(line.n), str(line.events), width, line.note)
    out.print(grid)


def _show_too_small(finding: str, charts: Sequence[Chart]) -> None:
    """The levels of sites, patterns and strata of which nothing will be said."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for chart in charts:
        slices = {"site": chart.site, "pattern": pattern_of(chart), **chart.strata}
        for name, level in slices.items():
            if level is not None and finding in chart.truth:
                counts[f"{name} = {level}"][0 if chart.truth[finding] else 1] += 1
    small = too_small_slices({name: (events, others) for name, (events, others) in counts.items()})
    out.print(f"Too small to say anything about ({finding}): {', '.join(small) if small else 'none'}", highlight=False)
