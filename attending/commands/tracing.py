"""`attending trace`: every step of attention on a sentence or on one case, as a page, with a table of shapes in the terminal.

The terminal and the log get names of steps and shapes, never a word of a patient.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table as Grid

from attending.artefacts import write_bytes, write_text
from attending.attention.tracing import range_of, shape_of
from attending.case import Case
from attending.commands.running import key_file
from attending.commands.showing import err
from attending.commands.showing import out as console
from attending.commands.traced import Traced, trace_case, trace_encoder, trace_mechanism, trace_sentence
from attending.drawing.attention_page import LayerView, attention_page, pictures
from attending.drawing.raster import png
from attending.intake import declared_by, read_table, take_in
from attending.model.trained import load_model

PAGE = "trace.html"


def write_trace(
    model: Path | None,
    table: Path | None,
    *,
    out: Path,
    text: str | None,
    mechanism: str | None,
    mask: str,
    encoder: str | None,
    patient: str | None,
    where: str | None,
    companions: Mapping[str, Path],
    as_png: bool,
    seed: int,
) -> None:
    """Trace what was asked for, write the page (and the pictures) into `out`, and print the steps of the first layer."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: found a file, expected a folder to write into")
    asked = _asked(model, table, text=text, mechanism=mechanism or mask, encoder=encoder, patient=patient)
    if asked == "case":
        assert model is not None
        assert table is not None
        assert patient is not None
        found = _of_case(model, table, patient, out=out, where=where, companions=companions)
    elif asked == "sentence":
        assert model is not None
        found = trace_sentence(text or "", model=load_model(model))
    elif asked == "encoder":
        found = trace_encoder(text or "", encoder=encoder or "")
    else:
        found = trace_mechanism(text or "", mechanism=mechanism or "mha", mask=mask, seed=seed)
    page = attention_page(found.page, found.views)
    drawn = {name: png(svg) for name, svg in pictures(found.views).items()} if as_png else {}
    write_text(out / PAGE, page)
    for name, content in drawn.items():
        write_bytes(out / f"{name}.png", content)
    _show(found.views, shows_values=asked != "case")
    if drawn:
        console.print(f"pictures: {out}, {len(drawn)} PNG files", highlight=False, soft_wrap=True)
    console.print(f"page: {out / PAGE}", highlight=False, soft_wrap=True)


def _asked(
    model: Path | None, table: Path | None, *, text: str | None, mechanism: object, encoder: str | None, patient: str | None
) -> str:
    """Which of the four is meant; raises `ValueError` where several are, or none."""
    if text is None:
        if model is None:
            raise ValueError('trace: nothing to look into; give --text "a sentence", or MODEL TABLE --patient ID')
        if table is None or patient is None:
            raise ValueError('trace: a model needs a case: give TABLE and --patient ID, or --text "a sentence" without them')
    elif table is not None or patient is not None:
        raise ValueError("trace: found --text and a case of a table; give one of them")
    given = [name for name, is_given in (("MODEL", model), ("--encoder", encoder), ("--mechanism", mechanism)) if is_given]
    if len(given) > 1:
        raise ValueError(f"trace: found {' and '.join(given)}; each says what to look into, give one of them")
    if model is not None:
        return "case" if text is None else "sentence"
    return "encoder" if encoder is not None else "mechanism"


def _of_case(path: Path, table: Path, patient: str, *, out: Path, where: str | None, companions: Mapping[str, Path]) -> Traced:
    model = load_model(path)
    intake = take_in(
        read_table(table, where=where),
        declared_by(model.schema),
        companions=companions,
        key_file=key_file(out),
        needs_truth=False,
    )
    pairs = zip(intake.cases, intake.records.charts, strict=True)
    cases: list[Case] = [case for case, chart in pairs if patient in (str(chart.id), str(chart.patient))]
    if len(cases) != 1:
        remedy = "name the visit by its own id, or keep one row with --where" if cases else "check the id, and --where"
        raise ValueError(
            f"--patient: found {len(cases)} cases of that id among {len(intake.cases)} in {table.name}, expected one; {remedy}"
        )
    err.print(f"{len(intake.table)} rows read, one case traced", highlight=False)
    return trace_case(cases[0], model=model)


def _show(views: Sequence[LayerView], *, shows_values: bool) -> None:
    """The steps of the first layer, and how many layers more the page has."""
    first = views[0]
    grid = Grid(
        title=first.trace.mechanism if len(views) == 1 else f"{first.name} · {first.trace.mechanism}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    grid.add_column("step", no_wrap=True)
    grid.add_column("shape", no_wrap=True)
    if shows_values:
        grid.add_column("values", no_wrap=True)
    grid.add_column("what it is", overflow="fold")
    for step in first.trace.steps:
        values = [range_of(step.values)] if shows_values else []
        grid.add_row(step.name, shape_of(step), *values, step.told)
    console.print(grid, highlight=False)
    if len(views) > 1:
        console.print(f"{len(views) - 1} more layers in the page", highlight=False)
