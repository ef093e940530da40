"""The options that several commands share, and how their lists are read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from attending.records import Amendments

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
GroupOption = Annotated[
    str, typer.Option("--group", help="Columns wider than the patient, as a,b: patients who share a value stay in one part.")
]
UnitOption = Annotated[
    list[str] | None,
    typer.Option("--unit", help="Unit in which a number column is held, as COLUMN=UNIT; repeat for others.", metavar="TEXT"),
]
UnitColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--unit-column",
        help="Column with the unit of each value of another, as COLUMN=UNITS; values are converted. Repeat for others.",
        metavar="TEXT",
    ),
]
LookBackOption = Annotated[
    float | None, typer.Option("--look-back", help="Hours before the question that evidence may reach back; older is left out.")
]
ThreadsOption = Annotated[int, typer.Option("--threads", min=0, help="Processor threads (0: all).")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


def companions(labs: Path | None, notes: Path | None, images: Path | None) -> dict[str, Path]:
    """Those files that were given, by kind."""
    given = {"labs": labs, "notes": notes, "images": images}
    return {kind: path for kind, path in given.items() if path is not None}


def listed(text: str) -> tuple[str, ...]:
    """`a,b,c` as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def amended(group: str, unit: list[str] | None, unit_column: list[str] | None, look_back: float | None) -> "Amendments":
    """What these options declare. Raises `ValueError` for a pair that is not `COLUMN=…`."""
    from attending.records import Amendments

    return Amendments(
        groups=listed(group),
        units=_pairs("--unit", unit, "crp=mg/L"),
        unit_columns=_pairs("--unit-column", unit_column, "crp=crp_unit"),
        look_back_hours=look_back,
    )


def _pairs(option: str, given: list[str] | None, example: str) -> dict[str, str]:
    held: dict[str, str] = {}
    for text in given or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ValueError(f'{option} "{text}": expected COLUMN=…, such as {option} {example}')
        if name in held:
            raise ValueError(f'{option} names "{name}" twice; name it once')
        held[name] = value
    return held
