"""The options that several commands share, and how their lists are read."""

from pathlib import Path
from typing import Annotated

import typer

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
