"""The commands about attention itself: compare mechanisms, look inside one, convert one, measure the machine."""

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
    ThreadsOption,
    WhereOption,
    companions,
    listed,
)


def compare(
    mechanisms: Annotated[
        list[str] | None,
        typer.Argument(
            help="mha, gqa, mqa, latent, indexed, clustered, native sparse, windowed, low rank, or name:setting=value,… "
            "(default: all).",
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
