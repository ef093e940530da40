"""`attending predict` and `attending evaluate`: a delivered model on a further table."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from attending.artefacts import write_text
from attending.case import Case
from attending.commands.running import key_file
from attending.commands.showing import device_of, err, show_left_out, show_results
from attending.commands.showing import out as console
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from attending.evaluation.outcomes import Outcomes
from attending.evaluation.predictions import predictions_text
from attending.evaluation.result import Result
from attending.intake import Intake, declared_by, read_table, take_in
from attending.model.trained import TrainedModel, load_model
from attending.report import Conduct, Primary, Report, gather, write_report
from attending.study import PREDICTIONS, REPORT_JSON, count_opening
from attending.training.bridge import outcomes_of
from attending.training.trial import FUSED


def take_in_for(
    model: TrainedModel,
    table: Path,
    *,
    where: str | None,
    companions: Mapping[str, Path],
    is_strict: bool,
    needs_truth: bool,
    beside: Path,
) -> Intake:
    """A table read as the model was trained to read one; what is missing and left out is told."""
    intake = take_in(
        read_table(table, where=where),
        declared_by(model.schema),
        companions=companions,
        key_file=key_file(beside),
        is_strict=is_strict,
        needs_truth=needs_truth,
    )
    for column in intake.records.missing:
        named = f"{column} was not given" if column.startswith("--") else f'input column "{column}" is not in {table.name}'
        err.print(f"{named}: absent evidence for every case", style="yellow", soft_wrap=True)
    show_left_out(intake.records)
    used = intake.records.n_rows_used
    err.print(f"{len(intake.table)} rows: {used} used in {len(intake.cases)} cases, {len(intake.records.refused)} refused")
    return intake


def ready_model(path: Path, *, device: str, threads: int) -> TrainedModel:
    """The model, on its device; with `threads` above 0 torch takes so many."""
    import torch

    place = device_of(device)
    if threads > 0:
        torch.set_num_threads(threads)
    model = load_model(path)
    for network in model.networks:
        network.to(place)
    return model


def predict_table(
    path: Path,
    table: Path,
    *,
    out: Path,
    where: str | None,
    companions: Mapping[str, Path],
    device: str,
    threads: int,
    is_strict: bool,
) -> None:
    """Write one row per case and finding: probability, set membership, abstention and what was missing."""
    model = ready_model(path, device=device, threads=threads)
    intake = take_in_for(model, table, where=where, companions=companions, is_strict=is_strict, needs_truth=False, beside=out)
    raw = model.raw_probability(intake.cases)
    own = intake.own_ids()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "finding", "p_raw", "p_calibrated", "in_set", "abstained", "missing", "model"])
    for case, diagnosis, row in zip(intake.cases, model.diagnose(intake.cases), raw, strict=True):
        for finding, p_raw in zip(diagnosis.findings, row, strict=True):
            writer.writerow(
                [
                    own[case.id],
                    finding.name,
                    repr(float(p_raw)),
                    repr(finding.probability),
                    int(finding.in_set),
                    diagnosis.abstained or "",
                    "+".join(diagnosis.missing),
                    diagnosis.model,
                ]
            )
    write_text(out, buffer.getvalue())
    err.print(f"written: {out}", highlight=False, soft_wrap=True)


def evaluate_table(
    path: Path,
    table: Path,
    *,
    out: Path,
    where: str | None,
    companions: Mapping[str, Path],
    seed: int,
    device: str,
    threads: int,
    is_strict: bool,
) -> None:
    """Judge the model on a table: predictions.csv and the report of an external evaluation."""
    if (out / REPORT_JSON).exists():
        raise ValueError(f"{out}: holds a finished report; name another --out, or remove it")
    model = ready_model(path, device=device, threads=threads)
    intake = take_in_for(model, table, where=where, companions=companions, is_strict=is_strict, needs_truth=True, beside=out)
    cases = [case for case in intake.cases if case.truth]
    if not cases:
        raise ValueError(f"{table.name}: the target is unknown in every row, nothing can be judged; use attending predict")
    rows = model.settling.apply(outcomes_of(cases, model.raw_probability(cases), task=model.task))
    own = intake.own_ids()
    schema = intake.schema
    terms = Terms(
        target=", ".join(target.column for target in schema.targets),
        protocol="evaluation",
        split="evaluation",
        sampling=schema.sampling.value,
        target_prevalence=schema.target_prevalence,
        seed=seed,
    )
    results = judge({FUSED: rows}, primary=FUSED, terms=terms)
    named = replace(rows, ids=np.array([own[id] for id in rows.ids]))
    write_text(out / PREDICTIONS, predictions_text({"evaluation": {FUSED: named}}))
    page, _ = write_report(out, _evaluated(model, intake, cases, rows, results, out=out, seed=seed))
    show_results(results)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)


def _evaluated(
    model: TrainedModel,
    intake: Intake,
    cases: Sequence[Case],
    rows: Outcomes,
    results: Sequence[Result],
    *,
    out: Path,
    seed: int,
) -> Report:
    """The report of a finished model on a further table. What was declared about the study travels with the model."""
    schema, trained_on = intake.schema, model.provenance.get("data_sha256")
    unknown = len(intake.cases) - len(cases)
    seen = "the model was trained on rows of this very file: unless --where kept them apart, it has seen these patients"
    return gather(
        title=f"{intake.table.name}: {', '.join(target.column for target in schema.targets)}, a finished model evaluated",
        records=intake.records,
        manifest=intake.deidentified.manifest,
        cases=cases,
        task=model.task,
        conduct=Conduct(
            kind="evaluation", reason="every case with a recorded target", seed=seed, openings=count_opening(intake, out)
        ),
        results=results,
        outcomes={FUSED: rows},
        primary=Primary(),
        provenance={
            "data_sha256": intake.table.sha256,
            "trained_on_data_sha256": trained_on or "not recorded",
            "model": model.id,
            "attending": version("attending"),
            "seed": seed,
        },
        warning=schema.warning,
        cautions=((seen,) if trained_on == intake.table.sha256 else ()) + schema.cautions,
        notes=(f"{unknown} cases without any recorded target took no part",) if unknown else (),
        model={"id": model.id, "networks": len(model.networks)},
    )
