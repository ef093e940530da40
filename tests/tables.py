"""Tiny tables on disk and tiny recipes: what the tests of the whole line train on. A few dozen patients, a second or two."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from attending.attention import GroupedConfig
from attending.case import Case
from attending.intake import Intake, declare, read_table, take_in
from attending.model.absence import EvidenceDropout
from attending.model.demographics import DemographicsConfig
from attending.model.diagnoser import DiagnoserConfig
from attending.model.image import ImageConfig
from attending.model.modality import ModalityConfig
from attending.model.numbers import NumbersConfig
from attending.model.signs import SignsConfig
from attending.model.text import TextConfig
from attending.training.recipe import Recipe
from attending.training.settings import TrainingConfig

ATTENTION = GroupedConfig(dim=16, n_heads=2)
TABULAR: tuple[ModalityConfig, ...] = (NumbersConfig(n_bins=4), SignsConfig(), DemographicsConfig(n_bins=4))
EVERYTHING: tuple[ModalityConfig, ...] = (
    *TABULAR,
    TextConfig(min_patients=2, chunk=32),
    ImageConfig(side=16, n_atoms=8, hidden=8),
)


def tiny_recipe(
    *, modalities: tuple[ModalityConfig, ...] = TABULAR, epochs: int = 3, members: int = 1, patience: int = 3
) -> Recipe:
    """Width 16, no fusion block, batches of 16: learns nothing much, but by the whole machinery."""
    return Recipe(
        diagnoser=DiagnoserConfig(
            modalities=modalities, fusion=(), readout=ATTENTION, evidence_dropout=EvidenceDropout(modality=0.0)
        ),
        training=TrainingConfig(epochs=epochs, members=members, batch_size=16, patience=patience),
    )


def rows(n: int, *, seed: int = 0) -> list[dict[str, str]]:
    """`n` visits: a value, a sign and an age that tell of `sick`, a class `kind`, two labels `a` and `b` with blanks."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        sick = number % 2 == 0
        made.append(
            {
                "patient_id": f"p{number:03d}",
                "age": str(int(rng.integers(20, 80)) + 5 * sick),
                "sex": str(rng.choice(["f", "m"])),
                "crp_mg_l": "" if number % 7 == 3 else f"{rng.gamma(2) + 4 * sick:.1f}",
                "cough": str(rng.choice(["no", "dry", "wet"], p=[0.2, 0.3, 0.5] if sick else [0.6, 0.2, 0.2])),
                "sick": "yes" if sick else "no",
                "kind": ("flu", "cold", "none")[number % 3],
                "a": "" if number % 11 == 5 else str(int(sick != (number % 5 == 0))),
                "b": str(int(number % 4 == 1)),
            }
        )
    return made


def write_rows(path: Path, entries: Sequence[Mapping[str, str]]) -> Path:
    """A CSV of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(entries[0]))
        writer.writeheader()
        writer.writerows(entries)
    return path


def with_notes_and_films(folder: Path, entries: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The rows with a note and a film each; every fifth lacks the one, every seventh the other. Films lie in `folder`."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, row in enumerate(entries):
        sick = row["sick"] == "yes"
        words = rng.choice(["fever", "cough", "pain", "days", "no", "chest"], 12)
        note = "" if number % 5 == 4 else f"Patient reports {' '.join(words)}{', productive cough' if sick else ', no cough'}."
        film = ""
        if number % 7 != 6:
            film = f"film{number}.png"
            pixels = rng.integers(0, 120, (24, 20))
            pixels[4:12, 4:12] += 100 * sick
            Image.fromarray(pixels.astype(np.uint8)).save(folder / film)
        made.append({**row, "note": note, "film": film})
    return made


def taken_in(table: Path, *, target: str, ignore: str = "", positive: str | None = None) -> Intake:
    """The table, taken in as `attending run` would, with the key beside it."""
    read = read_table(table)
    ignored = tuple(name for name in ignore.split(",") if name)
    schema = declare(read, schema=None, targets=target.split(","), positive=positive, ignore=ignored, only=())
    return take_in(read, schema, key_file=table.parent / "privacy.key")


def sick_cases(folder: Path, n: int = 40) -> list[Case]:
    """De-identified cases of a table whose target is `sick`."""
    table = write_rows(folder / "table.csv", rows(n))
    return list(taken_in(table, target="sick", ignore="kind,a,b").cases)
