"""`attending run`: a table to an evidence report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from attending.commands.auditing import audit_first
from attending.commands.declaring import protocol_kind, require_target
from attending.commands.progress import stages
from attending.commands.showing import device_of, err, out, show_results, show_schema, threads_of
from attending.evaluation.result import verdict
from attending.intake import declare, read_table, take_in
from attending.records import NOTHING_AMENDED, Amendments, with_companions
from attending.study import REPORT_HTML, Plan, Study, hold_study
from attending.training.trial import FUSED

KEY_FILE = "privacy.key"
"""Beside the project's outputs: the key with which ids are hashed. Made on first use, readable by its owner only."""


def run_table(
    table: Path,
    *,
    out: Path,
    targets: Sequence[str] = (),
    positive: str | None = None,
    patient: str | None = None,
    schema_file: Path | None = None,
    ignore: Sequence[str] = (),
    only: Sequence[str] = (),
    where: str | None = None,
    companions: Mapping[str, Path] = MappingProxyType({}),
    protocol: str = "auto",
    folds: int = 5,
    repeats: int | None = None,
    members: int | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    is_strict: bool = False,
    text_encoder: str | None = None,
    tunes_encoder: bool = False,
    image_encoder: str | None = None,
    masks_label_words: bool = False,
    amendments: Amendments = NOTHING_AMENDED,
) -> Study:
    """Read, declare, take in, audit, hold the study unless the audit blocks, and print what it found."""
    require_target(schema_file, targets)
    plan = Plan(
        protocol=protocol_kind(protocol),
        folds=folds,
        repeats=repeats,
        members=members,
        seed=seed,
        device=device_of(device),
        threads=threads_of(threads),
        text_encoder=text_encoder,
        tunes_encoder=tunes_encoder,
        image_encoder=image_encoder,
    )
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
    show_schema(with_companions(schema, beside))
    intake = take_in(read, schema, companions=beside, key_file=key_file(out), is_strict=is_strict)
    err.print(
        f"{len(read)} rows: {intake.records.n_rows_used} used in {len(intake.cases)} cases, {_refused(intake.records.refused)}"
    )
    verdict = audit_first(intake)
    with stages() as told:
        study = hold_study(
            intake, plan=plan, out=out, audit=verdict, told=told, said=lambda sentence: err.print(sentence, highlight=False)
        )
    print_study(study, folder=out)
    return study


def key_file(folder: Path) -> Path:
    """Where the project's privacy key lies: beside the folder written into, so that all studies of a project share it."""
    return folder.resolve().parent / KEY_FILE


def print_study(study: Study, *, folder: Path) -> None:
    """The short table, the primary difference in words, and the path of the report."""
    show_results(study.results)
    compared = [r for r in study.results if r.model == FUSED and r.comparator and r.adjusted is None and r.slice is None]
    estimated = [r for r in compared if r.value is not None and r.low is not None and r.high is not None]
    for result in estimated:
        out.print(
            f"{result.finding}: fused − {result.comparator}, {result.metric.upper()} {result.value:+.3f} "
            f"({result.low:+.3f} to {result.high:+.3f}): a difference is {verdict(result)}",
            highlight=False,
        )
    for result in compared[: 0 if estimated else 1]:
        why = result.note or "no interval"
        out.print(f"{result.finding}: fused − {result.comparator}: the difference cannot be estimated ({why})", highlight=False)
    warning = study.intake.schema.warning
    if warning:
        out.print(f"the schema declares: {warning}", highlight=False)
    out.print(f"report: {folder / REPORT_HTML}", highlight=False, soft_wrap=True)


def _refused(refused: Sequence[object]) -> str:
    return "none refused" if not refused else f"{len(refused)} refused (reasons in the report)"
