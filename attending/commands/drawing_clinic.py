"""`attending clinic`: a synthetic clinic, written as a table with pictures."""

from pathlib import Path

from attending.commands.showing import err
from attending.records.clinic import ClinicConfig, draw_clinic, write_clinic


def draw(folder: Path, *, n_patients: int, seed: int) -> None:
    """Draw and write the clinic; print what to do with it."""
    clinic = draw_clinic(ClinicConfig(n_patients=n_patients, seed=seed))
    paths = write_clinic(clinic, folder)
    err.print(f"{len(clinic.charts)} cases of {n_patients} patients written to {folder}", highlight=False, soft_wrap=True)
    err.print(
        f"next: attending run {paths[0]} --labs {folder / 'labs.csv'} --schema {folder / 'schema.toml'} --out {folder}-report",
        highlight=False,
        soft_wrap=True,
    )
