"""The command line: one function per command. Parses, calls, prints; what it prints is counts and estimates, never a patient.

Heavy imports stand inside the commands, so that `attending --help` answers at once. A `ValueError` or `OSError` is for the
person at the keyboard: one sentence, exit code 2.
"""

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

NOTICE = "Research software, not a medical device; not for decisions about patients."

Misuse: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's own error for a command line that it cannot take: typer has no public name for it."""

app = typer.Typer(
    name="attending",
    help=f"From a table of patients to an evidence report, on attention that you choose. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PATIENTS = "From a table of patients to a report"
ATTENTION = "Attention: choose it, look inside, make it cheaper"

TableArgument = Annotated[Path, typer.Argument(help="CSV or Parquet file, one row per visit.", metavar="TABLE")]
ModelArgument = Annotated[Path, typer.Argument(help="The folder `model` of a run, or the run's own folder.", metavar="MODEL")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write into.", metavar="DIR")]
TargetOption = Annotated[str | None, typer.Option("--target", help="Column(s) to predict, several as a,b,c.")]
PositiveOption = Annotated[
    str | None, typer.Option("--positive", help="Value that counts as having the finding (default: the rarer).")
]
PatientOption = Annotated[
    str | None, typer.Option("--patient", help='Column that names the patient, or "each row": every row is another person.')
]
SchemaOption = Annotated[Path | None, typer.Option("--schema", help="Schema file (`attending schema`); wins over inference.")]
IgnoreOption = Annotated[str, typer.Option("--ignore", help="Columns of TABLE to leave out, as a,b,c.")]
OnlyOption = Annotated[
    str,
    typer.Option("--only", help="The only columns of TABLE to use as inputs, as a,b,c; --labs, --notes, --images come on top."),
]
WhereOption = Annotated[str | None, typer.Option("--where", help="Rows to keep: an SQL expression as polars reads it.")]
LabsOption = Annotated[
    Path | None, typer.Option("--labs", help="Long-format values beside the table: id, code, value, unit, time.")
]
NotesOption = Annotated[Path | None, typer.Option("--notes", help="Long-format notes beside the table: id, text, time.")]
ImagesOption = Annotated[Path | None, typer.Option("--images", help="Long-format images beside the table: id, path, time.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Everything random follows from it.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Undeclared units, times and unreadable values are errors.")]
MaskLabelsOption = Annotated[bool, typer.Option("--mask-labels", help="Take words that name a label out of all notes.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=0, help="Processor threads (0: all).")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


def companions(labs: Path | None, notes: Path | None, images: Path | None) -> dict[str, Path]:
    """Those files that were given, by kind."""
    given = {"labs": labs, "notes": notes, "images": images}
    return {kind: path for kind, path in given.items() if path is not None}


def listed(text: str) -> tuple[str, ...]:
    """`a,b,c` as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


@app.command("schema", rich_help_panel=PATIENTS)
def schema_(
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
        out=out,
    )


@app.command(rich_help_panel=PATIENTS)
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
    )


@app.command(rich_help_panel=PATIENTS)
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
        split_file=split,
    )
    if verdict.blocking:
        raise typer.Exit(1)


@app.command(rich_help_panel=PATIENTS)
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
    )


@app.command(rich_help_panel=PATIENTS)
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
) -> None:
    """Estimated probability of each recorded label for every case of a table, and what was missing.

    Example: attending predict out/diagnosis new_patients.csv --out predictions.csv
    """
    from attending.commands.using import predict_table

    predict_table(
        model,
        table,
        out=out,
        where=where,
        companions=companions(labs, notes, images),
        device=device,
        threads=threads,
        is_strict=strict,
    )


@app.command(rich_help_panel=PATIENTS)
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
    from attending.commands.using import evaluate_table

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


@app.command(rich_help_panel=PATIENTS)
def explain(
    model: ModelArgument,
    table: TableArgument,
    patient: Annotated[str, typer.Option("--patient", help="The one case of TABLE, by its id.", metavar="ID")],
    out: OutOption,
    finding: Annotated[str, typer.Option("--finding", help="Findings to explain, as a,b,c (default: the likeliest).")] = "",
    method: Annotated[
        str, typer.Option("--method", help="Ways to weigh places, as a,b,c; shapley over modalities is always there.")
    ] = "place-shapley,occlusion,integrated-gradients,attention",
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


@app.command(rich_help_panel=PATIENTS)
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


@app.command(rich_help_panel=PATIENTS)
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


@app.command(rich_help_panel=ATTENTION)
def compare(
    mechanisms: Annotated[
        list[str] | None,
        typer.Argument(
            help="mha, gqa, mqa, latent, indexed, clustered, windowed, low rank, or name:setting=value,… (default: all).",
            metavar="MECHANISM",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML or JSON file with mechanisms of your own, a table each.", metavar="FILE"),
    ] = None,
    dim: Annotated[int, typer.Option(help="Width of every layer.")] = 64,
    heads: Annotated[int, typer.Option(help="Heads of every layer.")] = 4,
    budget: Annotated[int, typer.Option(help="Keys a query may read, of a mechanism that does not read all.")] = 16,
    lengths: Annotated[str, typer.Option(help="Numbers of tokens to time, as a,b,c.")] = "256,512,1024,2048,4096",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float64.")] = "float32",
    tasks: Annotated[str, typer.Option(help="Small tasks to learn: recall,copy, or nothing.")] = "recall",
    seeds: Annotated[int, typer.Option(min=1, help="Networks trained of each mechanism.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each network of a small task.")] = 400,
    quality: Annotated[
        bool, typer.Option("--quality", help="Also copy, and diagnose the synthetic clinic with each; up to an hour.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="File for all rows.", metavar="FILE")] = None,
    page: Annotated[Path | None, typer.Option("--page", help="HTML file with tables and plots.", metavar="FILE")] = None,
    limits: Annotated[
        Path | None, typer.Option("--limits", help="Limits of this machine (`attending limits --out`).", metavar="FILE")
    ] = None,
    threads: ThreadsOption = 0,
) -> None:
    """Attention mechanisms on the same work: parameters, cache, time, memory, growth with length, and what they learn.

    Example: attending compare mha gqa latent --json out/rows.json --page out/compare.html
    """
    from attending.commands.comparing import compare_mechanisms

    compare_mechanisms(
        mechanisms or (),
        config=config,
        dim=dim,
        n_heads=heads,
        budget=budget,
        lengths=lengths,
        dtype=dtype,
        tasks=tasks,
        n_seeds=seeds,
        steps=steps,
        asks_clinic=quality,
        json_file=json,
        page=page,
        limits_file=limits,
        threads=threads,
    )


@app.command(rich_help_panel=ATTENTION)
def trace(
    out: OutOption,
    model: Annotated[
        Path | None, typer.Argument(help="The folder `model` of a run, or the run's own folder.", metavar="MODEL")
    ] = None,
    table: Annotated[Path | None, typer.Argument(help="CSV or Parquet file, one row per visit.", metavar="TABLE")] = None,
    text: Annotated[str | None, typer.Option("--text", help="A sentence of your own to look at.")] = None,
    mechanism: Annotated[
        str | None,
        typer.Option("--mechanism", help="One layer with random weights: name, or name:setting=value,… as in compare."),
    ] = None,
    mask: Annotated[
        str, typer.Option("--mask", help="With --mechanism: causal or everything (default: causal if it can).")
    ] = "",
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="A text encoder instead: minilm, or a local folder with a BERT.")
    ] = None,
    patient: Annotated[str | None, typer.Option("--patient", help="The one case of TABLE, by its id.", metavar="ID")] = None,
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    png: Annotated[bool, typer.Option("--png", help="Write every plot as a PNG file too.")] = False,
    seed: SeedOption = 0,
) -> None:
    """Look inside attention, step by step: words with links, maps of every head, and shapes. No explanation of a diagnosis.

    Give --text, alone or with --mechanism, --encoder or MODEL; or MODEL TABLE --patient ID for one case.

    Example: attending trace --text "no fever but productive cough" --mechanism gqa:2 --out out/trace
    """
    from attending.commands.tracing import write_trace

    write_trace(
        model,
        table,
        out=out,
        text=text,
        mechanism=mechanism,
        mask=mask,
        encoder=encoder,
        patient=patient,
        where=where,
        companions=companions(labs, notes, images),
        as_png=png,
        seed=seed,
    )


@app.command(rich_help_panel=ATTENTION)
def convert(
    model: ModelArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="What it becomes: gqa:N, mqa, mla or mla:latent=N, clustered or clustered:N, window:N.",
            metavar="ATTENTION",
        ),
    ],
    cases: Annotated[Path, typer.Option("--cases", help="Table of cases: half calibrates, half judges.", metavar="TABLE")],
    out: OutOption,
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    layers: Annotated[str, typer.Option("--layers", help="Only these layers, as a,b,c (default: all that can be).")] = "",
    refit: Annotated[
        bool, typer.Option("--refit/--no-refit", help="Fit output projections once more, where that helps.")
    ] = True,
    recover: Annotated[int, typer.Option("--recover", min=0, help="Steps of training of the new layers afterwards.")] = 0,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    strict: StrictOption = False,
) -> None:
    """Turn a finished model's attention into a cheaper one, and write the new model with a receipt of what it cost.

    Example: attending convert out/diagnosis --to gqa:2 --cases patients.csv --out out/cheaper
    """
    from attending.commands.converting import convert_folder

    convert_folder(
        model,
        to=to,
        cases=cases,
        folder=out,
        where=where,
        companions=companions(labs, notes, images),
        only=listed(layers),
        refits=refit,
        recover=recover,
        seed=seed,
        device=device,
        threads=threads,
        is_strict=strict,
    )


@app.command(rich_help_panel=ATTENTION)
def limits(
    out: Annotated[
        Path | None, typer.Option("--out", help="File to keep them in (default: the user's cache folder).", metavar="FILE")
    ] = None,
    threads: ThreadsOption = 0,
) -> None:
    """Measure what this machine can do, products and memory, so that measured times can be held against it.

    Example: attending limits
    """
    from attending.commands.comparing import measure

    measure(place=out, threads=threads)


def of_system(error: OSError) -> str:
    """What the operating system refused, in one sentence: which file, why, and what to do where that is known."""
    remedies = {
        errno.ENOSPC: "; free some space and give the same command again: a run goes on from where it stopped",
        errno.EDQUOT: "; free some space and give the same command again: a run goes on from where it stopped",
        errno.EFBIG: "; raise the limit and give the same command again: a run goes on from where it stopped",
        errno.ENOENT: "; check the path",
        errno.EACCES: "; expected a place that you may read and write",
        errno.ENOTDIR: "; name another --out, which is a folder or not there yet",
        errno.EEXIST: "; name another --out, which is a folder or not there yet",
        errno.EISDIR: "; expected the name of a file",
    }
    if error.errno is None or error.strerror is None:
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror.lower()}{remedies.get(error.errno, '')}"


def _command() -> list[str]:
    """The command that was asked for, where there is one of this name."""
    names = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback is not None}
    return [word for word in sys.argv[1:2] if word in names]


def main() -> None:
    """Entry point: errors for the person at the keyboard are one sentence and exit code 2."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except Misuse as error:
        place = getattr(error, "param", None)
        option = f"{max(place.opts, key=len)}: " if place is not None and place.opts[0].startswith("-") else ""
        sentence = " ".join(str(error).split()).removesuffix(".")
        print(f"attending: {option}{sentence}; see {' '.join(['attending', *_command()])} --help", file=sys.stderr)
        sys.exit(2)
    except ValueError as error:
        print(f"attending: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"attending: {of_system(error)}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("attending: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
