"""`attending explain`: why a model answered one case as it did, as a page and pictures, with what each explanation is worth.

The terminal and the log get names of findings, modalities and methods with numbers: never a word, value or film of a patient.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table as Grid

from attending.artefacts import write_text
from attending.audit.procedure import check_explanations
from attending.case import Case
from attending.commands.showing import out as console
from attending.commands.using import ready_model, take_in_for
from attending.drawing.alone import alone
from attending.drawing.contributions import signed
from attending.explanation.assessment_file import read_assessed
from attending.explanation.drawn import NAMES
from attending.explanation.explainer import ExplanationError, column_of
from attending.explanation.page import explanation_page
from attending.explanation.pointing import KnownReasons, Target, targets_of
from attending.explanation.shapley import Shares
from attending.explanation.view import Asked, Explained, explain_case, file_name
from attending.intake import Intake
from attending.model.trained import TrainedModel

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
    n_similar: int,
    cases: Path | None,
    seed: int,
    device: str,
    threads: int,
) -> None:
    """Write the page and its pictures into `out`, and print what each modality adds."""
    for option, folder in (("--out", out), ("--cases", cases)):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ValueError(f"{option} {folder}: found a file, expected a folder to write into")
    if cases is not None and not n_similar:
        raise ValueError("--cases: writes the evidence of the nearest cases, and none are asked for; give --similar 5 too")
    model = ready_model(path, device=device, threads=threads)
    for finding in findings:
        column_of(model.task, finding)
    asked = Asked(findings=tuple(findings), methods=tuple(methods), n_reference=n_reference, n_similar=n_similar, seed=seed)
    intake = take_in_for(
        model, table, where=where, companions=companions, is_strict=False, needs_truth=False, beside=out / PAGE
    )
    index = _index_of(intake, patient, table)
    case = intake.cases[index]
    targets = known_targets(intake, index, KnownReasons(table.parent))
    assessed = read_assessed(path, model=model.id)
    explained = explain_case(model, case, others=_others(intake, case), asked=asked, targets=targets, assessed=assessed)
    write_text(out / PAGE, explanation_page(explained.view))
    for name, svg in explained.pictures.items():
        write_text(out / f"{name}.svg", alone(svg))
    _show(explained.shares)
    if explained.refused:
        console.print(f"refused: {', '.join(explained.refused)} (looks the same with random weights)", highlight=False)
    for one in check_explanations(explained.shown):
        console.print(f"{one.trap} {one.severity.value}: {one.told}: {one.evidence}", highlight=False)
    if cases is not None:
        _write_similar(model, intake, explained, folder=cases, asked=asked)
    console.print(f"pictures: {out}, {len(explained.pictures)} SVG files", highlight=False, soft_wrap=True)
    console.print(f"page: {out / PAGE}", highlight=False, soft_wrap=True)


def _index_of(intake: Intake, patient: str, table: Path) -> int:
    """Which case the patient or visit of this id has."""
    charts = intake.records.charts
    found = [index for index, chart in enumerate(charts) if patient in (str(chart.id), str(chart.patient))]
    if len(found) != 1:
        remedy = "name the visit by its own id, or keep one row with --where" if found else "check the id, and --where"
        raise ExplanationError(
            f"--patient: found {len(found)} cases of that id among {len(intake.cases)} in {table.name}, expected one; {remedy}"
        )
    return found[0]


def known_targets(intake: Intake, index: int, reasons: KnownReasons) -> tuple[Target, ...] | None:
    """The known reasons of the case of this index where its table is one that `attending clinic` wrote."""
    case = intake.cases[index]
    known = reasons.of(str(intake.records.charts[index].id))
    return targets_of(case, known, carry=lambda place: intake.deidentified.carry(index, place)) if known else None


def _write_similar(model: TrainedModel, intake: Intake, explained: Explained, *, folder: Path, asked: Asked) -> None:
    """A page with the evidence of each nearest case, explained for the finding it is near for."""
    by_id = {case.id: case for case in intake.cases}
    n = 0
    for finding in explained.view.findings:
        for one in finding.similar:
            other = by_id[one.case]
            told = Asked(findings=(finding.name,), methods=asked.methods[:1], n_reference=asked.n_reference, seed=asked.seed)
            page = explain_case(model, other, others=_others(intake, other), asked=told)
            write_text(folder / f"{one.case}-{file_name(finding.name)}.html", explanation_page(page.view))
            n += 1
    console.print(f"nearest cases: {folder}, {n} pages with their evidence", highlight=False, soft_wrap=True)


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
