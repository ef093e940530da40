"""Planted traps: there at full strength, in the share asked for, and absent otherwise."""

from collections import Counter
from datetime import datetime

import numpy as np
import pytest

from attending.case import Lab, Note, Scan
from attending.records.clinic import ClinicConfig, Leak, draw_clinic
from attending.records.clinic.config import TRAPS

N = 300


def _clinic(*traps, strength=1.0):
    return draw_clinic(
        ClinicConfig(n_patients=N, seed=31, film_size=32, leaks=tuple(Leak(trap=trap, strength=strength) for trap in traps))
    )


def _column(clinic, name):
    return next(extra.cells for extra in clinic.columns if extra.column.name == name)


def test_a_clinic_without_leaks_has_none_of_them():
    clinic = _clinic()
    assert len(clinic.charts) == N
    assert not clinic.columns
    assert {(f.bits, f.enlarged, f.is_readable) for f in clinic.films} == {(8, 1, True)}
    assert len({chart.identity.values["record_number"] for chart in clinic.charts}) == N
    assert len({chart.of(Scan)[0].pixels.tobytes() for chart in clinic.charts if chart.of(Scan)}) == sum(
        bool(chart.of(Scan)) for chart in clinic.charts
    )


def test_all_traps_can_be_planted_together():
    clinic = _clinic(*TRAPS)
    assert len(clinic.charts) > N
    assert len(clinic.oracle.seen) == len(clinic.reasons) == len(clinic.films) == len(clinic.charts)


def test_t1_writes_one_person_under_two_patients():
    clinic = _clinic("T1")
    patients_of = {}
    for chart in clinic.charts:
        patients_of.setdefault(chart.identity.values["record_number"], set()).add(chart.patient)
    twice = [patients for patients in patients_of.values() if len(patients) == 2]
    assert 0.10 * N < len(twice) < 0.20 * N


def test_t2_takes_values_after_the_visit_that_know_the_disease():
    clinic = _clinic("T2")
    taken = [datetime.fromisoformat(cell) for cell in _column(clinic, "lactate_taken_at")]
    assert all(when > chart.asked_at for when, chart in zip(taken, clinic.charts, strict=True))
    value, ill = np.array(_column(clinic, "lactate"), dtype=float), clinic.diseases[:, 0]
    assert np.median(value[ill]) > 2.0 * np.median(value[~ill])


def test_t3_watches_the_ill_for_longer():
    clinic = _clinic("T3")
    longest = {True: [], False: []}
    for chart, ill in zip(clinic.charts, clinic.diseases[:, 0], strict=True):
        longest[bool(ill)] += [-min(lab.at for lab in chart.of(Lab))] if chart.of(Lab) else []
    assert min(longest[True]) >= 24.0
    assert max(longest[False]) < 12.0


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_t4_codes_the_diagnosis(strength):
    clinic = _clinic("T4", strength=strength)
    codes = np.array(_column(clinic, "discharge_code"))
    has_disease = clinic.diseases.any(axis=1)
    assert set(codes[~has_disease]) == {"R07.4"}
    assert (codes[has_disease] != "R07.4").mean() == pytest.approx(strength, abs=0.12)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_t5_names_the_disease(strength):
    clinic = _clinic("T5", strength=strength)
    named = [
        (chart.of(Note)[0].text.count("Known "), row.any())
        for chart, row in zip(clinic.charts, clinic.diseases, strict=True)
        if chart.of(Note)
    ]
    assert not any(count for count, ill in named if not ill)
    assert np.mean([count for count, ill in named if ill]) == pytest.approx(strength, abs=0.1)


def test_t6_and_t7_tie_site_and_source_to_the_disease():
    clinic = _clinic("T6", "T7")
    ill = clinic.diseases[:, 0]
    assert ({chart.site for chart, is_ill in zip(clinic.charts, ill, strict=True) if is_ill}) == {"harbour"}
    assert "harbour" not in {chart.site for chart, is_ill in zip(clinic.charts, ill, strict=True) if not is_ill}
    assert Counter(zip(_column(clinic, "source"), ill.tolist(), strict=True)).keys() == {
        ("archive A", True),
        ("archive B", False),
    }


def test_t8_t9_and_t10_change_files():
    clinic = _clinic("T8")
    assert all((file.bits == 16) == is_ill for file, is_ill in zip(clinic.films, clinic.diseases[:, 0], strict=True))
    saturated = [np.mean(c.of(Scan)[0].pixels == 1.0) > 0.4 for c in _clinic("T9").charts if c.of(Scan)]
    assert np.mean(saturated) == pytest.approx(0.5, abs=0.1)
    assert np.mean([not file.is_readable for file in _clinic("T10").films]) == pytest.approx(0.3, abs=0.08)


def test_t11_measures_only_the_ill():
    clinic = _clinic("T11")
    assert not any(chart.of(Lab) for chart, row in zip(clinic.charts, clinic.diseases, strict=True) if not row.any())


def test_t12_shows_films_again_under_another_name():
    clinic = _clinic("T12")
    originals, copies = clinic.charts[:N], clinic.charts[N:]
    assert 0.10 * N < len(copies) < 0.20 * N
    text_of = {chart.of(Note)[0].text[-60:]: chart for chart in originals if chart.of(Note)}
    kinds = Counter()
    for copy in copies:
        if not (copy.of(Note) and copy.of(Scan)):
            continue
        original = text_of[copy.of(Note)[0].text[-60:]]
        assert original.patient != copy.patient
        assert original.identity.values["record_number"] != copy.identity.values["record_number"]
        film, again = original.of(Scan)[0].pixels, copy.of(Scan)[0].pixels
        kinds["exact" if np.array_equal(film, again) else "mirrored" if np.array_equal(film[:, ::-1], again) else "other"] += 1
    assert kinds.keys() == {"exact", "mirrored", "other"}
