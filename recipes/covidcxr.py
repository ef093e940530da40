"""COVID-19 against other pneumonias on public teaching cases: eight ways of looking, to see where the figures come from.

    python recipes/covidcxr.py --data ../shared/data/covidcxr --out out/covidcxr [--quick] [--variant NAME ...]

Time: ten minutes for films and notes at the defaults on two free cores, less for the others. Expected: with wide intervals, a
film with its lungs blanked tells as much as a whole one, and notes without label words still tell much. That is the finding:
confounding, not performance.
Written into --out: table/ (patients.csv with the altered films and notes), a study per variant, comparison.html and
comparison.json. A variant that is finished is not held again. The films' licences do not let all of it be passed on.

Lungs are boxes, not outlines: in these sources only films of COVID-19 have an outline (59 of 149 films, none of another
disease), so that a film altered along its outline, where it has one, would tell the label.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw

from attending.artefacts import write_text
from attending.commands.varying import Question, asked_of, compare_variants, hold_variants
from attending.intake import read_table
from attending.records import Sampling, Schema, Table, infer_schema
from attending.records.values import is_unknown
from attending.report.side_by_side import SideBySide
from attending.study import Plan

WHERE = "source in ('radiopaedia','eurorad') and dx not in ('no_finding','unknown')"
"""The two sources that show COVID-19 as well as other pneumonias; every other source would be the label."""
LABEL_WORDS = (
    r"(2019-)?n?covid[-\w]*", r"(2019-)?n?cov(-?\d+)?", r"sars(-?cov(-?\d+)?)?", r"mers", r"corona\s?vir\w*", r"wuhan",
    r"pandemic\w*", r"epidemi\w*", r"(rt-)?pcr", r"swabs?", r"pneumoni\w*", r"para\s?pneumoni\w*",
    r"vir(us|uses|al|ally|emia)", r"bacteri\w*", r"fung(us|al|i)", r"strep\w*", r"pneumococc\w*", r"staph\w*",
    r"klebsiell\w*", r"legionell\w*", r"mycoplasm\w*", r"chlam[iy]d\w*", r"pneumocyst\w*", r"jirovec\w*", r"carini\w*",
    r"p[cj]p", r"aspergill\w*", r"tubercul\w*", r"influenza\w*", r"flu", r"h1n1", r"varicell\w*", r"zoster",
    r"herpe\w*", r"chicken\s?pox", r"lipoid\w*", r"organi[sz]ing", r"cop", r"boop", r"ards",
    r"acute respiratory distress( syndrome)?", r"ac[iy]clovir", r"micafungin",
)  # fmt: skip
"""Names of the recorded diagnoses, their germs, their tests and their drugs. Taken out without a trace: a mark where a word
stood would tell that a diagnosis was named."""
_NAMED = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(LABEL_WORDS)})(?![a-z0-9])", re.IGNORECASE)
VALUES = ("temperature_c", "spo2_pct", "wbc_1e3_ul", "neutrophils_1e3_ul", "lymphocytes_1e3_ul")
"""Values that any of these patients has. `offset_days` is left out: days since symptoms or since admission, nobody knows."""
LEFT_BLANK = ("sex", "age_years", "offset_days", "view", *VALUES)
"""Columns whose being blank is a circumstance."""
FILM, BLANKED, LUNGS = "image", "image_lungs_blanked", "image_lungs_only"
CIRCUMSTANCES = ("from_source", "filmed_as", *(f"has_{name}" for name in LEFT_BLANK))
WARNING = "shows confounding, not performance"
CAUTIONS = (
    "the label is what a teaching case says of its patient; nobody verified it",
    "cases were published because they teach something, and notes were written by people who knew the diagnosis",
    "lungs are boxes: what is blanked still shows where they lie and how large they are",
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One variant: in words, and the columns that it may look at."""

    told: str
    inputs: tuple[str, ...]


VARIANTS = {
    "film": Look(told="Film alone", inputs=(FILM,)),
    "lungs-blanked": Look(told="Film with lungs blanked", inputs=(BLANKED,)),
    "lungs-only": Look(told="Lungs only", inputs=(LUNGS,)),
    "notes": Look(told="Notes as they are", inputs=("notes",)),
    "notes-masked": Look(told="Notes without label words", inputs=("notes_masked",)),
    "circumstances": Look(told="Source, view and missingness only", inputs=CIRCUMSTANCES),
    "fused": Look(told="Film, notes, values, age and sex", inputs=(FILM, "notes", "sex", "age_years", *VALUES)),
    "fused-without-notes": Look(told="Film, values, age and sex", inputs=(FILM, "sex", "age_years", *VALUES)),
}
PAIRS = (
    ("film", "lungs-blanked"),
    ("film", "lungs-only"),
    ("notes", "notes-masked"),
    ("fused", "fused-without-notes"),
    ("fused", "circumstances"),
)
"""Same films, same folds: the fused model of the first minus that of the second."""


def covidcxr(data: Path, out: Path, *, plan: Plan, variants: Sequence[str] = tuple(VARIANTS)) -> SideBySide:
    """Derive the table from the folder `data`, hold these variants, and put all that `out` then holds side by side."""
    path = derive(data, out / "table")
    table = read_table(path)
    questions = {
        name: Question(name=name, told=look.told, table=path, schema=schema_of(table, look.inputs))
        for name, look in VARIANTS.items()
    }
    hold_variants([questions[name] for name in variants], out=out, plan=plan)
    title = "COVID-19 against other pneumonias, public teaching cases"
    return compare_variants(list(questions.values()), out=out, title=title, pairs=PAIRS, seed=plan.seed)


def derive(data: Path, folder: Path, *, where: str = WHERE) -> Path:
    """The rows of `where` with altered films and notes beside the original ones: `folder`/patients.csv and its films.

    The same for the same data, so that a run that was stopped finds its table again.
    """
    frame = read_table(data / "patients.csv", where=where).frame
    altered: dict[str, list[str | None]] = {FILM: [], BLANKED: [], LUNGS: []}
    for row in frame.iter_rows(named=True):
        for column, reference in _films(data, folder, row).items():
            altered[column].append(reference)
    frame = frame.with_columns(
        *(pl.Series(name, references, dtype=pl.String) for name, references in altered.items()),
        pl.Series("notes_masked", [without_label_words(note) for note in frame["notes"].to_list()], dtype=pl.String),
        pl.col("source").alias("from_source"),
        pl.Series("filmed_as", [cell if _is_known(cell) else "not stated" for cell in frame["view"].to_list()]),
        *(
            pl.Series(f"has_{name}", ["yes" if _is_known(cell) else "no" for cell in frame[name].to_list()])
            for name in LEFT_BLANK
        ),
    )
    write_text(folder / "patients.csv", frame.write_csv())
    return folder / "patients.csv"


def _is_known(cell: str | None) -> bool:
    return cell is not None and not is_unknown(cell)


def _films(data: Path, folder: Path, row: Mapping[str, str | None]) -> dict[str, str]:
    """The film as it is, with black boxes over the lungs, and with black outside of them; paths relative to `folder`."""
    source = data / str(row["image"])
    boxes = json.loads(str(row["lung_boxes_xywh"]))
    references = {FILM: f"films/{source.name}"}
    references |= {column: f"{name}/{source.stem}.png" for column, name in ((BLANKED, "lungs-blanked"), (LUNGS, "lungs-only"))}
    for reference in references.values():
        (folder / reference).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / references[FILM])
    with Image.open(source) as opened:
        film = opened.convert("L")
    black = Image.new("L", film.size)
    lungs = Image.new("1", film.size)
    for x, y, width, height in boxes.values():
        ImageDraw.Draw(lungs).rectangle((x, y, x + width - 1, y + height - 1), fill=1)
    Image.composite(black, film, lungs).save(folder / references[BLANKED])
    Image.composite(film, black, lungs).save(folder / references[LUNGS])
    return references


def without_label_words(note: str | None) -> str | None:
    """The note without the words that name a diagnosis, its germ, its test or its drug."""
    return None if note is None else re.sub(r"\s{2,}", " ", _NAMED.sub(" ", note)).strip() or None


def schema_of(table: Table, inputs: tuple[str, ...]) -> Schema:
    """What is declared for one variant: these inputs and no others. A column with one value for everybody tells nothing."""
    telling = tuple(name for name in inputs if len({cell for cell in table.cells(name) if _is_known(cell)}) > 1)
    schema = infer_schema(table, targets=["dx"], positive="covid19", only=telling)
    return replace(
        schema,
        population="patients with pneumonia shown as teaching cases by radiopaedia or eurorad",
        reference_standard="the diagnosis that the teaching case names",
        sampling=Sampling.CONVENIENCE,
        warning=WARNING,
        cautions=CAUTIONS,
    )


if __name__ == "__main__":
    asked = asked_of(__doc__, variants=tuple(VARIANTS), out=Path("out/covidcxr"))
    covidcxr(asked.data, asked.out, variants=asked.variant, plan=asked.plan)
