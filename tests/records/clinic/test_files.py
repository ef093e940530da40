"""Written clinics: what is read back is what was drawn, and the truth lies apart."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from attending.case import Characters, Lab, Note, Scan
from attending.records import load_schema, read_charts, read_table
from attending.records.clinic import ClinicConfig, ClinicError, Leak, clinic_schema, draw_clinic, write_clinic
from attending.records.clinic.world import DISEASES, SHADOWS


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clinic") / "out"
    clinic = draw_clinic(ClinicConfig(n_patients=40, seed=41, visits=2, unknown_rate=0.1, film_size=48))
    return clinic, folder, write_clinic(clinic, folder)


def test_what_is_read_back_is_what_was_drawn(written):
    clinic, folder, paths = written
    assert paths[0] == folder / "patients.csv"
    schema = load_schema(folder / "schema.toml")
    assert schema == clinic_schema(clinic)
    records = read_charts(read_table(paths[0]), schema, companions={"labs": read_table(folder / "labs.csv")}, is_strict=True)
    assert not records.refused
    for drawn, read in zip(clinic.charts, records.charts, strict=True):
        assert (drawn.id, drawn.patient, drawn.site, drawn.asked_at) == (read.id, read.patient, read.site, read.asked_at)
        assert dict(drawn.truth) == dict(read.truth)
        assert drawn.identity.values.items() <= read.identity.values.items()
        assert [type(e) for e in drawn.evidence] == [type(e) for e in read.evidence]
        for one, other in zip(drawn.evidence, read.evidence, strict=True):
            if isinstance(one, Scan):
                np.testing.assert_array_equal(one.pixels, other.pixels)
            elif isinstance(one, Lab):
                assert (one.code, one.value, one.unit, one.reference) == (other.code, other.value, other.unit, other.reference)
                assert one.at == pytest.approx(other.at, abs=1e-9)
            else:
                assert one == other


def test_truth_lies_apart_and_points_into_the_files(written):
    clinic, folder, _ = written
    with (folder / "truth" / "oracle.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["visit_id"] for row in rows] == [chart.id for chart in clinic.charts]
    for disease in DISEASES:
        k = DISEASES.index(disease)
        np.testing.assert_allclose([float(row[f"{disease}_seen"]) for row in rows], clinic.oracle.seen[:, k], rtol=1e-8)
    reasons = json.loads((folder / "truth" / "reasons.json").read_text())
    for case, chart in enumerate(clinic.charts):
        flags_path = folder / "truth" / "masks" / f"{chart.id}.png"
        flags = np.asarray(Image.open(flags_path)) if flags_path.exists() else None
        for entry, reason in zip(reasons[chart.id][DISEASES[1]], clinic.reasons[case][DISEASES[1]], strict=True):
            assert (entry["finding"], entry["evidence"]) == (reason.finding, reason.place.evidence)
            if isinstance(reason.place.part, Characters):
                start, stop = entry["characters"]
                assert chart.evidence[entry["evidence"]].text[start:stop]
            if reason.mask is not None:
                np.testing.assert_array_equal(flags >> SHADOWS.index(reason.finding) & 1, reason.mask)


def test_a_clinic_is_not_written_over_anything(written, tmp_path):
    clinic, folder, _ = written
    with pytest.raises(ClinicError, match="not empty"):
        write_clinic(clinic, folder)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ClinicError, match="not empty"):
        write_clinic(clinic, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_leaks_reach_the_files(tmp_path):
    traps = ("T2", "T4", "T7", "T8", "T10")
    clinic = draw_clinic(
        ClinicConfig(n_patients=60, seed=42, film_size=32, noise_columns=3, leaks=tuple(Leak(trap=t) for t in traps))
    )
    paths = write_clinic(clinic, tmp_path / "out")
    schema = load_schema(tmp_path / "out" / "schema.toml")
    header = read_table(paths[0]).frame.columns
    for name in ("lactate", "lactate_taken_at", "discharge_code", "days_of_antibiotics", "source", "measure_003"):
        assert name in header
        assert schema.column(name)
    depths = set()
    for case, chart in enumerate(clinic.charts):
        file = clinic.films[case]
        if chart.of(Scan) and file.is_readable:
            with Image.open(tmp_path / "out" / file.path) as image:
                depths.add((image.mode, image.size, bool(clinic.diseases[case, 0])))
        elif chart.of(Scan):
            with pytest.raises(OSError, match=r".*"), Image.open(tmp_path / "out" / file.path) as image:
                image.load()
    assert depths == {("I;16", (64, 64), True), ("L", (32, 32), False)}


def test_notes_hold_identity_for_privacy_to_find(written):
    clinic, _, _ = written
    named = [chart for chart in clinic.charts for note in chart.of(Note) if chart.identity.values["name"] in note.text]
    assert 0.1 < len(named) / len(clinic.charts) < 0.5
