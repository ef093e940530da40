"""`attending explain`: why a model answered one case as it did, as a page and pictures, with what each explanation is worth.

The terminal and the log get names of findings, modalities and methods with numbers: never a word, value or film of a patient.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table as Grid

from attending.artefacts import write_text
from attending.case import Case
from attending.commands.showing import out as console
from attending.commands.using import ready_model, take_in_for
from attending.drawing.contributions import signed
from attending.explanation.drawn import NAMES
from attending.explanation.explainer import ExplanationError, column_of
from attending.explanation.page import explanation_page
from attending.explanation.shapley import Shares
from attending.explanation.view import Asked, explain_case
from attending.intake import Intake

PAGE = "explanation.html"


def explain_patient(
    path: Path,
    table: Path,
    *,
    out: Path,
    patient: str,
    findings: Sequence[str],
    methods: Sequence[str],
    where: str | None,
    companions: Mapping[str, Path],
    n_reference: int,
    seed: int,
    device: str,
    threads: int,
) -> None:
    """Write the page and its pictures into `out`, and print what each modality adds."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: found a file, expected a folder to write into")
    model = ready_model(path, device=device, threads=threads)
    for finding in findings:
        column_of(model.task, finding)
    asked = Asked(findings=tuple(findings), methods=tuple(methods), n_reference=n_reference, seed=seed)
    intake = take_in_for(
        model, table, where=where, companions=companions, is_strict=False, needs_truth=False, beside=out / PAGE
    )
    case = _the_case(intake, patient, table)
    explained = explain_case(model, case, others=_others(intake, case), asked=asked)
    write_text(out / PAGE, explanation_page(explained.view))
    for name, svg in explained.pictures.items():
        write_text(out / f"{name}.svg", svg)
    _show(explained.shares)
    if explained.refused:
        console.print(f"refused: {', '.join(explained.refused)} (looks the same with random weights)", highlight=False)
    console.print(f"pictures: {out}, {len(explained.pictures)} SVG files", highlight=False, soft_wrap=True)
    console.print(f"page: {out / PAGE}", highlight=False, soft_wrap=True)


def _the_case(intake: Intake, patient: str, table: Path) -> Case:
    pairs = zip(intake.cases, intake.records.charts, strict=True)
    found = [case for case, chart in pairs if patient in (str(chart.id), str(chart.patient))]
    if len(found) != 1:
        remedy = "name the visit by its own id, or keep one row with --where" if found else "check the id, and --where"
        raise ExplanationError(
            f"--patient: found {len(found)} cases of that id among {len(intake.cases)} in {table.name}, expected one; {remedy}"
        )
    return found[0]


def _others(intake: Intake, case: Case) -> tuple[Case, ...]:
    return tuple(other for other in intake.cases if other.patient != case.patient and other.group != case.group)


def _show(shares: Mapping[str, Shares]) -> None:
    """A row for each finding, a column for each modality."""
    first = next(iter(shares.values()))
    grid = Grid(title=f"What each modality adds, in {first.unit}", title_justify="left", box=None, pad_edge=False)
    for name in ("finding", "no evidence", *(NAMES[kind] for kind in first.values), "all evidence"):
        grid.add_column(name, justify="left" if name == "finding" else "right")
    for finding, share in shares.items():
        cells = [share.empty, *share.values.values(), share.full]
        grid.add_row(finding, *(signed(value) for value in cells))
    console.print(grid, highlight=False)
