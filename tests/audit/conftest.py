"""Synthetic clinics as the audit meets them: written to files, read back by their own schema."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from attending.audit import Material
from attending.records import load_schema, read_charts, read_table
from attending.records.clinic import ClinicConfig, Leak, draw_clinic, write_clinic

Look = Callable[..., Material]


def material_of(folder: Path, **changes: Any) -> Material:
    """A clinic written into `folder` and read back."""
    write_clinic(draw_clinic(ClinicConfig(**changes)), folder)
    table, labs = read_table(folder / "patients.csv"), read_table(folder / "labs.csv")
    records = read_charts(table, load_schema(folder / "schema.toml"), companions={"labs": labs})
    return Material(table=table, records=records, companions={"labs": labs})


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Trap, strength, patients and seed → material; drawn once for each. `trap` None: the clean profile."""

    @cache
    def drawn(
        trap: str | None, *, strength: float = 1.0, n: int = 300, seed: int = 5, size: int = 32, visits: int = 1
    ) -> Material:
        folder = tmp_path_factory.mktemp("clinics") / "clinic"
        profile: Any = "clean" if trap is None else "ward"
        leaks = () if trap is None else (Leak(trap=trap, strength=strength),)  # type: ignore[arg-type]
        return material_of(
            folder, n_patients=n, seed=seed, profile=profile, leaks=leaks, film_size=size, visits=visits, noise_columns=10
        )

    return drawn
