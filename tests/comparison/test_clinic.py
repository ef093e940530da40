"""Diagnoses compared on the same folds: patients stay whole, areas are right, and rows say what was measured."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attending.comparison import ClinicPlan, Shape, chosen_contenders
from attending.comparison.clinic import CLINIC, _draws, _folds, areas, clinic_rows
from attending.comparison.row import Ledger
from attending.privacy import deidentify
from attending.records.clinic import ClinicConfig, draw_clinic


def test_areas_agree_with_another_hand() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((60, 3)) < 0.4
    answers = np.round(rng.random((60, 3)), 1)  # many are equal
    expected = [roc_auc_score(truth[:, k], answers[:, k]) for k in range(3)]
    np.testing.assert_allclose(areas(truth, answers), expected, rtol=1e-12)
    assert np.isnan(areas(np.ones((5, 1), dtype=bool), answers[:5, :1])).all()


def test_all_cases_of_a_patient_are_in_one_fold_and_drawn_together() -> None:
    plan = ClinicPlan(n_patients=40, n_folds=3, resamples=5)
    cases = deidentify(draw_clinic(ClinicConfig(n_patients=40, seed=1)).charts, key=bytes(range(32))).cases
    # every third case is another visit of the patient before
    cases = [case if i % 3 else replace(case, patient=cases[i - 1].patient) for i, case in enumerate(cases)]
    people, fold = _folds(cases, plan)
    assert len(set(people.tolist())) < len(cases)
    assert set(fold.tolist()) == {0, 1, 2}
    by_patient = {
        case.patient: {int(f) for c, f in zip(cases, fold, strict=True) if c.patient == case.patient} for case in cases
    }
    assert all(len(folds) == 1 for folds in by_patient.values())
    for rows in _draws(people, plan):
        drawn, whole = np.bincount(people[rows], minlength=people.max() + 1), np.bincount(people)
        assert (drawn % whole == 0).all()


def test_mechanisms_are_trained_alike_and_told_apart() -> None:
    contenders = chosen_contenders(["mha", "mha:bias=true", "windowed"], None, Shape(dim=16, n_heads=2, budget=4))
    plan = ClinicPlan(n_patients=40, n_folds=2, epochs=1, resamples=20)
    heard: list[float] = []
    ledger = Ledger(clinic_rows(contenders, plan, seeds=(0,), heard=lambda _, done: heard.append(done)))
    assert len(heard) == 2 * 3
    assert heard[-1] == pytest.approx(1.0)
    first = ledger.one(mechanism="mha", task=CLINIC, quantity="auroc")
    assert first is not None
    assert first.limit is not None
    assert first.limit > 0.85, "who knows the causes does well"
    for name in ("mha:bias=true", "windowed"):
        own = ledger.one(mechanism=name, task=CLINIC, quantity="auroc")
        less = ledger.one(mechanism=name, task=CLINIC, quantity="auroc_difference")
        assert own is not None
        assert less is not None
        assert less.value == pytest.approx(own.value - first.value)
        assert less.low <= less.value <= less.high  # type: ignore[operator]
