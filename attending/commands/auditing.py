"""`attending audit`, and the audit that `attending run` holds first."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.table import Table as Grid

from attending.artefacts import write_text
from attending.audit import Finding, Material, Severity, Shortcut, Verdict, audit, audit_intake, read_split, strongest
from attending.commands.showing import err, out
from attending.intake import LONGEST_SIDE, Intake, declare, read_table
from attending.records import NOTHING_AMENDED, Amendments, read_charts

MOST_IDS = 5
SHORTCUTS = "What models reach that see one circumstance and no evidence (0.5 is chance)"
_STYLES = {Severity.BLOCK: "bold red", Severity.WARN: "yellow", Severity.NOTE: None}


def audit_table(
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
    json_file: Path | None,
    is_strict: bool,
    masks_label_words: bool = False,
    amendments: Amendments = NOTHING_AMENDED,
    split_file: Path | None = None,
) -> Verdict:
    """Read, declare, look, print, and write the findings as JSON where a file is named."""
    read = read_table(table, where=where)
    schema = declare(
        read,
        schema=schema_file,
        targets=targets,
        positive=positive,
        ignore=ignore,
        only=only,
        patient=patient,
        masks_label_words=masks_label_words,
        amendments=amendments,
    )
    beside = {kind: read_table(path) for kind, path in companions.items()}
    records = read_charts(read, schema, companions=beside, longest_side=LONGEST_SIDE, is_strict=is_strict)
    ids = [str(chart.id) for chart in records.charts]
    protocol = None if split_file is None else read_split(split_file, ids)
    verdict = audit(Material(table=read, records=records, companions=beside, protocol=protocol))
    if json_file is not None:
        write_text(json_file, json.dumps(verdict.to_plain(), indent=2, ensure_ascii=False) + "\n")
    show_verdict(verdict)
    if verdict.blocking:
        err.print(f"attending: this blocks a run ({_traps(verdict)}): {_way_on(verdict)}", highlight=False, soft_wrap=True)
    return verdict


def audit_first(intake: Intake) -> Verdict:
    """The audit of what a run took in. Ends the command with code 1 when anything blocks that is not waived."""
    verdict = audit_intake(intake)
    if not verdict.blocking:
        err.print(f"audit: {verdict} (attending audit TABLE tells them; they are in the report)", highlight=False)
        return verdict
    show_verdict(verdict)
    err.print(f"attending: the audit blocks this run ({_traps(verdict)}): {_way_on(verdict)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _traps(verdict: Verdict) -> str:
    return ", ".join(dict.fromkeys(one.trap for one in verdict.blocking))


def _way_on(verdict: Verdict) -> str:
    return (
        "follow the remedies above, or waive a trap in the schema file with the reason why it does not apply: "
        f'[waivers] {verdict.blocking[0].trap} = "..."'
    )


def show_verdict(verdict: Verdict) -> None:
    """A block per finding: trap, weight, what was found, effect and remedy; then shortcuts, waivers, and what was not asked."""
    out.print(f"Audit: {verdict}", highlight=False)
    for one in verdict.findings:
        _show_finding(one, waived=verdict.waiver_of(one))
    _show_shortcuts(verdict.shortcuts)
    for waived, reason in verdict.waivers.items():
        out.print(f"waived: {waived}: {reason}", highlight=False)
    for sentence in verdict.unasked:
        err.print(f"not asked: {sentence}", highlight=False)


def _show_finding(one: Finding, *, waived: str | None) -> None:
    """What it is on a line of its own; beneath it the numbers, some of the cases, what it means and what to do."""
    weight = one.severity.value if waived is None else f"{one.severity.value}, waived"
    out.print(f"\n{one.trap} {weight}: {one.told}", style=_STYLES[one.severity], highlight=False)
    more = f" and {len(one.rows) - MOST_IDS} more (--json)" if len(one.rows) > MOST_IDS else ""
    grid = Grid(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("  found", one.evidence)
    if one.rows:
        grid.add_row("  cases", f"{', '.join(one.rows[:MOST_IDS])}{more}")
    grid.add_row("  means", one.effect)
    grid.add_row("  remedy", one.remedy)
    out.print(grid, highlight=False)


def _show_shortcuts(shortcuts: Sequence[Shortcut]) -> None:
    """A row per input: the label that a model of this input alone ranks most surely."""
    if not shortcuts:
        return
    out.print()
    grid = Grid(title=SHORTCUTS, title_justify="left", box=None, pad_edge=False)
    for name in ("trap", "input alone", "AUROC", "adjusted interval", "label ranked best", ""):
        grid.add_column(name, overflow="fold")
    for one, n_asked in strongest(shortcuts):
        of = one.finding if n_asked == 1 else f"{one.finding} (of {n_asked})"
        cells = (one.trap, one.input, f"{one.auroc:.2f}", f"{one.low:.2f} to {one.high:.2f}", of)
        grid.add_row(*cells, "warns" if one.is_alarm else "", style=_STYLES[Severity.WARN] if one.is_alarm else None)
    out.print(grid, highlight=False)
