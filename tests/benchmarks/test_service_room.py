"""The benchmark of the reading room's first view: its table is as long as asked, and whole pages are what it times."""

import csv
from dataclasses import replace
from pathlib import Path

from attending.diagnosis import Task
from attending.model.trained import TrainedModel
from attending.privacy import deidentify
from attending.records.clinic import ClinicConfig, clinic_schema, draw_clinic
from attending.records.clinic.world import DISEASES
from attending.records.schema_file import to_toml
from benchmarks.service_room import measured, write_cases
from tests.explanation.models_at_hand import model_of


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_patients_are_repeated_under_new_ids_with_their_values(tmp_path: Path) -> None:
    few, few_labs = write_cases(tmp_path / "clinic", 5)
    many, many_labs = write_cases(tmp_path / "clinic", 12)
    first, all_ = rows_of(few), rows_of(many)
    assert (len(first), len(all_)) == (5, 12)
    assert len({row["visit_id"] for row in all_}) == len({row["patient_id"] for row in all_}) == 12
    assert [row["note"] for row in all_] == [first[n % 5]["note"] for n in range(12)]
    n_values = [sum(value["visit_id"] == row["visit_id"] for value in rows_of(few_labs)) for row in first]
    assert sum(n_values) > 0
    values = rows_of(many_labs)
    assert [sum(value["visit_id"] == row["visit_id"] for value in values) for row in all_] == [
        n_values[n % 5] for n in range(12)
    ]
    assert len(values) == sum(n_values[n % 5] for n in range(12))


def clinic_model() -> TrainedModel:
    """Of random weights; what it answers is no matter here."""
    clinic = draw_clinic(ClinicConfig(n_patients=24, seed=3))
    cases = deidentify(clinic.charts, key=bytes(range(32))).cases
    made = model_of(task=Task(findings=DISEASES[:2]), cases=cases, members=1)
    return replace(made, schema=to_toml(clinic_schema(clinic)))


def test_the_list_and_a_case_are_timed_until_they_are_whole(tmp_path: Path) -> None:
    clinic_model().save(tmp_path / "model")
    rows = measured(tmp_path / "model", [25], passes=1, threads=1)
    assert [(row.name, row.must) for row in rows] == [
        ("list, whole first page, 25 cases", 1.0),
        ("one case, whole page, 25 cases", 1.0),
        ("service started, 25 cases", None),
    ]
    assert all(0 < row.value < 60 for row in rows)
