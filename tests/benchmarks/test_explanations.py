"""What a denial is worth in the clinic, worked by hand: little more than the silence that is left when its words are gone."""

from math import log

import numpy as np
import pytest

from attending.records.clinic import ClinicConfig, draw_clinic
from attending.records.clinic.world import DISEASES, STEROIDS, SYMPTOMS, build_world
from benchmarks.explanations import beyond_silence

KEPT = 0.95
PRESENT, ABSENT = (0.68, 0.2), (0.32, 0.8)
"""A symptom with and without its disease: 1 − 0.8 · 0.4, and 0.2. Present it is told in 0.95, absent in 0.6 · 0.95 of notes."""
SILENT = tuple(p * (1 - KEPT) + a * (1 - 0.6 * KEPT) for p, a in zip(PRESENT, ABSENT, strict=True))


def ratio(pair: tuple[float, ...]) -> float:
    return log(pair[0] / pair[1])


def test_a_denial_adds_little_to_silence() -> None:
    clinic = draw_clinic(ClinicConfig(n_patients=80, seed=11, style="fresh"))
    beyond = beyond_silence(clinic)
    n = {"present": 0, "absent": 0}
    for case in range(len(clinic.charts)):
        for column, (symptom, disease) in enumerate(zip(SYMPTOMS, DISEASES, strict=True)):
            for reason in clinic.reasons[case][disease]:
                if reason.finding != symptom:
                    continue
                n[reason.level] += 1
                said = ratio(PRESENT if reason.level == "present" else ABSENT)
                assert reason.log_odds == pytest.approx(said, abs=1e-4)
                assert beyond[symptom][case, column] == pytest.approx(said - ratio(SILENT), abs=1e-4)
    assert min(n.values()) > 20
    assert ratio(ABSENT) == pytest.approx(-0.916, abs=1e-3)
    assert ratio(ABSENT) - ratio(SILENT) == pytest.approx(-0.192, abs=1e-3)
    assert ratio(PRESENT) - ratio(SILENT) == pytest.approx(1.948, abs=1e-3)


def test_what_is_not_told_adds_nothing() -> None:
    clinic = draw_clinic(ClinicConfig(n_patients=40, seed=12))
    beyond = beyond_silence(clinic)
    places = {finding.name: place for place, finding in enumerate(build_world(clinic.config).findings)}
    assert set(beyond) == {*SYMPTOMS, STEROIDS}
    for name, weights in beyond.items():
        assert np.abs(weights[~clinic.facts.expressed[:, places[name]]]).max(initial=0.0) < 1e-9
