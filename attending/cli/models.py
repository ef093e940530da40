"""The commands that ask a finished model, or judge what any model answered."""

from pathlib import Path
from typing import Annotated

import typer

from attending.cli.options import (
    DeviceOption,
    ImagesOption,
    LabsOption,
    ModelArgument,
    NotesOption,
    OutOption,
    SeedOption,
    StrictOption,
    TableArgument,
    ThreadsOption,
    WhereOption,
    companions,
    listed,
)


def predict(
    model: ModelArgument,
    table: TableArgument,
    out: Annotated[Path, typer.Option("--out", help="CSV file to write.", metavar="FILE")],
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    strict: StrictOption = False,
    piece: Annotated[
        int, typer.Option("--piece", min=1, help="Cases held in memory at a time, in steps of 256; changes no answer.")
    ] = 256,
) -> None:
    """Estimated probability of each recorded label for every case of a table, what was missing, and why none is given if so.

    The table may be longer than memory. Killed, the same command goes on from where it stopped.

    Example: attending predict out/diagnosis new_patients.csv --out predictions.csv
    """
    from attending.commands.predicting import predict_table

    predict_table(
        model,
        table,
        out=out,
        where=where,
        companions=companions(labs, notes, images),
        device=device,
        threads=threads,
        is_strict=strict,
        piece=piece,
    )


def evaluate(
    model: ModelArgument,
    table: TableArgument,
    out: OutOption,
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    strict: StrictOption = False,
) -> None:
    """Judge a model on a table it has not seen: an external validation, with the same rigour as a run.

    Example: attending evaluate out/diagnosis other_hospital.csv --out out/external
    """
    from attending.commands.evaluating import evaluate_table

    evaluate_table(
        model,
        table,
        out=out,
        where=where,
        companions=companions(labs, notes, images),
        seed=seed,
        device=device,
        threads=threads,
        is_strict=strict,
    )


def explain(
    model: ModelArgument,
    table: TableArgument,
    patient: Annotated[str, typer.Option("--patient", help="The one case of TABLE, by its id.", metavar="ID")],
    out: OutOption,
    finding: Annotated[str, typer.Option("--finding", help="Findings to explain, as a,b,c (default: the likeliest).")] = "",
    method: Annotated[
        str, typer.Option("--method", help="Ways to weigh places, as a,b,c; shapley over modalities is always there.")
    ] = "window-occlusion,occlusion,place-shapley,integrated-gradients,attention",
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    reference: Annotated[int, typer.Option(min=1, help="Cases of other patients that show what is usual.")] = 64,
    similar: Annotated[int, typer.Option(min=0, help="Name so many nearest cases of TABLE, by hashed id.")] = 0,
    cases: Annotated[
        Path | None, typer.Option("--cases", help="Write the evidence of those cases into this folder.", metavar="DIR")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Why a model answered one case as it did: what each modality adds and where it looks, and how true that is of the model.

    Example: attending explain out/diagnosis patients.csv --patient p017 --out out/why
    """
    from attending.commands.explaining import explain_patient

    explain_patient(
        model,
        table,
        out=out,
        patient=patient,
        findings=listed(finding),
        methods=listed(method),
        where=where,
        companions=companions(labs, notes, images),
        n_reference=reference,
        n_similar=similar,
        cases=cases,
        seed=seed,
        device=device,
        threads=threads,
    )


def assess(
    model: ModelArgument,
    table: TableArgument,
    method: Annotated[
        str, typer.Option("--method", help="Ways to weigh places, as a,b,c; the reading room shows window-occlusion.")
    ] = "window-occlusion",
    patients: Annotated[
        int, typer.Option("--patients", min=1, help="Patients asked about, drawn by --seed, one case each.")
    ] = 100,
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    reference: Annotated[int, typer.Option(min=1, help="Cases of other patients that show what is usual.")] = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """How true explanations are of a model, over many patients of a table; kept with the model and shown beside its marks.

    Without any reason known: does the answer move faster as the marked places go than in random orders, do networks that
    differ by seed explain alike, and how alike do networks with random weights, which must not. For a table of the clinic also:
    does the heaviest place lie in the known reason. Each figure says on what it was measured, on how many, and when; take a
    table that the model was not trained on. It says how true the method is of this model there, not of the patients, and
    nothing about a single case. Other methods that were assessed before stay.

    Example: attending assess out/diagnosis new_patients.csv --labs new_labs.csv --method window-occlusion,place-shapley
    """
    from attending.commands.assessing import assess_model

    assess_model(
        model,
        table,
        methods=listed(method),
        n=patients,
        n_reference=reference,
        where=where,
        companions=companions(labs, notes, images),
        seed=seed,
        device=device,
        threads=threads,
    )


def judge(
    predictions: Annotated[Path, typer.Argument(help="Predictions file, CSV.", metavar="PREDICTIONS")],
    against: Annotated[Path | None, typer.Option(help="A second predictions file over the same cases.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write report.html and report.json into.", metavar="DIR")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Judge anyone's predictions: columns id, finding, truth, p_calibrated, and more where there are.

    Example: attending judge out/diagnosis/predictions.csv
    """
    from attending.commands.judging import judge_file

    judge_file(predictions, against=against, out=out, seed=seed)
