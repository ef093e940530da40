"""The commands from a table to an evidence report: declare, plan, audit, run; and a clinic to try them on."""

from pathlib import Path
from typing import Annotated

import typer

from attending.cli.options import (
    DeviceOption,
    GroupOption,
    IgnoreOption,
    ImagesOption,
    LabsOption,
    LookBackOption,
    MaskLabelsOption,
    NotesOption,
    OnlyOption,
    OutOption,
    PatientOption,
    PositiveOption,
    SchemaOption,
    SeedOption,
    StrictOption,
    TableArgument,
    TargetOption,
    ThreadsOption,
    UnitColumnOption,
    UnitOption,
    WhereOption,
    amended,
    companions,
    listed,
)


def schema(
    table: TableArgument,
    target: TargetOption = None,
    positive: PositiveOption = None,
    patient: PatientOption = None,
    ignore: IgnoreOption = "",
    only: OnlyOption = "",
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    group: GroupOption = "",
    unit: UnitOption = None,
    unit_column: UnitColumnOption = None,
    look_back: LookBackOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write (default: TABLE with .schema.toml).")] = None,
) -> None:
    """Write what each column is taken for into a file that you edit and give to `attending run --schema`.

    Example: attending schema patients.csv --target diagnosis
    """
    from attending.commands.declaring import write_schema_of

    write_schema_of(
        table,
        targets=listed(target or ""),
        positive=positive,
        patient=patient,
        ignore=listed(ignore),
        only=listed(only),
        where=where,
        companions=companions(labs, notes, images),
        amendments=amended(group, unit, unit_column, look_back),
        out=out,
    )


def plan(
    table: TableArgument,
    target: TargetOption = None,
    positive: PositiveOption = None,
    patient: PatientOption = None,
    schema: SchemaOption = None,
    ignore: IgnoreOption = "",
    only: OnlyOption = "",
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    group: GroupOption = "",
    unit: UnitOption = None,
    unit_column: UnitColumnOption = None,
    look_back: LookBackOption = None,
    protocol: Annotated[str, typer.Option(help="auto, split, cv or site.")] = "auto",
    folds: Annotated[int, typer.Option(min=2, help="Outer folds of cross-validation.")] = 5,
    repeats: Annotated[
        int, typer.Option(min=0, help="Times that cross-validation is repeated (0: 5 for tables, 1 or 2 with notes or films).")
    ] = 0,
    seed: SeedOption = 0,
    strict: StrictOption = False,
) -> None:
    """Before training: how wide the intervals will be, what difference could be shown, and what will be too small to say.

    Example: attending plan patients.csv --target diagnosis
    """
    from attending.commands.declaring import plan_table

    plan_table(
        table,
        targets=listed(target or ""),
        positive=positive,
        patient=patient,
        schema_file=schema,
        ignore=listed(ignore),
        only=listed(only),
        where=where,
        companions=companions(labs, notes, images),
        protocol=protocol,
        folds=folds,
        repeats=repeats or None,
        seed=seed,
        is_strict=strict,
        amendments=amended(group, unit, unit_column, look_back),
    )


def audit(
    table: TableArgument,
    target: TargetOption = None,
    positive: PositiveOption = None,
    patient: PatientOption = None,
    schema: SchemaOption = None,
    ignore: IgnoreOption = "",
    only: OnlyOption = "",
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    group: GroupOption = "",
    unit: UnitOption = None,
    unit_column: UnitColumnOption = None,
    look_back: LookBackOption = None,
    mask_labels: MaskLabelsOption = False,
    split: Annotated[
        Path | None, typer.Option("--split", help="Your own split, to be audited too: CSV of id,part (or id,repeat,fold,part).")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="File for all findings, with ids.", metavar="FILE")] = None,
    strict: StrictOption = False,
) -> None:
    """Look for what would make results too good: leaks, shortcuts, duplicates and unreadable data, before any training.

    Exit code 0: nothing blocks; 1: something does; 2: bad input. Example: attending audit patients.csv --target diagnosis
    """
    from attending.commands.auditing import audit_table

    verdict = audit_table(
        table,
        targets=listed(target or ""),
        positive=positive,
        patient=patient,
        schema_file=schema,
        ignore=listed(ignore),
        only=listed(only),
        where=where,
        companions=companions(labs, notes, images),
        json_file=json,
        is_strict=strict,
        masks_label_words=mask_labels,
        amendments=amended(group, unit, unit_column, look_back),
        split_file=split,
    )
    if verdict.blocking:
        raise typer.Exit(1)


def run(
    table: TableArgument,
    out: OutOption,
    target: TargetOption = None,
    positive: PositiveOption = None,
    patient: PatientOption = None,
    schema: SchemaOption = None,
    ignore: IgnoreOption = "",
    only: OnlyOption = "",
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    protocol: Annotated[str, typer.Option(help="auto, split, cv or site.")] = "auto",
    folds: Annotated[int, typer.Option(min=2, help="Outer folds of cross-validation.")] = 5,
    repeats: Annotated[
        int, typer.Option(min=0, help="Times that cross-validation is repeated (0: 5 for tables, 1 or 2 with notes or films).")
    ] = 0,
    seeds: Annotated[
        int, typer.Option(min=0, help="Networks that differ by seed and are averaged (0: the recipe's number).")
    ] = 0,
    text_encoder: Annotated[
        str | None, typer.Option("--text-encoder", help="Read notes through minilm, or a local folder with a BERT.")
    ] = None,
    image_encoder: Annotated[
        str | None, typer.Option("--image-encoder", help="Look at films through a local folder with a vision transformer.")
    ] = None,
    group: GroupOption = "",
    unit: UnitOption = None,
    unit_column: UnitColumnOption = None,
    look_back: LookBackOption = None,
    mask_labels: MaskLabelsOption = False,
    tune_encoder: Annotated[bool, typer.Option("--tune-encoder", help="Train the text encoder on; slow.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One exploratory split: a first look, no evidence.")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    strict: StrictOption = False,
) -> None:
    """Train, calibrate and judge a multi-modal model against honest baselines, and write the evidence report.

    Example: attending run patients.csv --target diagnosis --out out/diagnosis
    """
    from attending.commands.running import run_table

    run_table(
        table,
        out=out,
        targets=listed(target or ""),
        positive=positive,
        patient=patient,
        schema_file=schema,
        ignore=listed(ignore),
        only=listed(only),
        where=where,
        companions=companions(labs, notes, images),
        protocol="quick" if quick else protocol,
        folds=folds,
        repeats=repeats or None,
        members=seeds or None,
        seed=seed,
        device=device,
        threads=threads,
        is_strict=strict,
        text_encoder=text_encoder,
        tunes_encoder=tune_encoder,
        image_encoder=image_encoder,
        masks_label_words=mask_labels,
        amendments=amended(group, unit, unit_column, look_back),
    )


def clinic(
    out: OutOption,
    patients: Annotated[int, typer.Option(help="How many patients.")] = 500,
    seed: SeedOption = 0,
) -> None:
    """Draw a synthetic clinic: patients with films, notes, values and signs whose true posteriors are known.

    Example: attending clinic --patients 500 --seed 1 --out out/clinic
    """
    from attending.commands.drawing_clinic import draw

    draw(out, n_patients=patients, seed=seed)
