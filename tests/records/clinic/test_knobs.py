"""Knobs: each does what it says, and turning one leaves the draws of all others as they were."""

from dataclasses import replace

import numpy as np
import pytest

from attending.case import Lab, Note, Scan, Sign
from attending.records.clinic import ClinicConfig, ClinicError, Leak, Shortcut, SiteShift, draw_clinic
from attending.records.clinic.world import DISEASES, MODALITIES

BASE = ClinicConfig(n_patients=150, seed=21, film_size=32)


@pytest.fixture(scope="module")
def base():
    return draw_clinic(BASE)


def _texts(clinic):
    return {c.id: c.of(Note)[0].text for c in clinic.charts if c.of(Note)}


def _films(clinic):
    return {c.id: c.of(Scan)[0].pixels for c in clinic.charts if c.of(Scan)}


def _labs(clinic):
    return {(c.id, lab.code): lab for c in clinic.charts for lab in c.of(Lab)}


def _signs(clinic):
    return {(c.id, sign.name): sign.value for c in clinic.charts for sign in c.of(Sign)}


ASPECTS = {
    "notes": _texts,
    "films": _films,
    "labs": _labs,
    "signs": _signs,
    "people": lambda clinic: {c.id: (c.identity, c.asked_at) for c in clinic.charts},
    "sites": lambda clinic: {c.id: c.site for c in clinic.charts},
    "labels": lambda clinic: {c.id: dict(c.truth) for c in clinic.charts},
    "diseases": lambda clinic: {c.id: tuple(row) for c, row in zip(clinic.charts, clinic.diseases, strict=True)},
}
CHANGES = {
    "label_noise": (replace(BASE, label_noise=0.3), {"labels"}),
    "unknown_rate": (replace(BASE, unknown_rate=0.3), {"labels"}),
    "contrast": (replace(BASE, site_shift=SiteShift(contrast=1.0)), {"films"}),
    "units": (replace(BASE, site_shift=SiteShift(units=1.0)), {"labs"}),
    "wording": (replace(BASE, site_shift=SiteShift(wording=1.0)), {"notes"}),
    "marker": (replace(BASE, shortcut=Shortcut(kind="marker", strength=0.9)), {"films"}),
    "exposure": (replace(BASE, shortcut=Shortcut(kind="exposure", strength=0.9)), {"films"}),
    "phrase": (replace(BASE, shortcut=Shortcut(kind="wording", strength=0.9)), {"notes"}),
    "style": (replace(BASE, style="fresh"), {"notes", "films"}),
    "noise columns": (replace(BASE, noise_columns=5), set()),
    "T3": (replace(BASE, leaks=(Leak(trap="T3"),)), {"labs"}),
    "T5": (replace(BASE, leaks=(Leak(trap="T5"),)), {"notes"}),
    "T9": (replace(BASE, leaks=(Leak(trap="T9"),)), {"films"}),
    "interaction": (replace(BASE, interaction=0.0), {"films", "labs"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_knob_changes_its_own_aspects_and_no_other(base, name):
    config, changed = CHANGES[name]
    clinic = draw_clinic(config)
    for aspect, look in ASPECTS.items():
        before, after = look(base), look(clinic)
        assert before.keys() == after.keys()
        is_same = all(np.array_equal(before[key], after[key]) for key in before) if aspect == "films" else before == after
        assert is_same != (aspect in changed), aspect


def test_more_missing_takes_away_and_leaves_the_rest(base):
    clinic = draw_clinic(replace(BASE, missing_rate=0.4, field_missing_rate=0.2))
    for look in (_texts, _films, _labs, _signs):
        before, after = look(base), look(clinic)
        assert set(after) < set(before)
    films = _films(clinic)
    assert all(np.array_equal(films[key], _films(base)[key]) for key in films)


def test_missing_rates_and_their_causes(undrawn):
    for kind in ("mcar", "mar", "mnar"):
        _, diseases, facts = undrawn(ClinicConfig(n_patients=8000, seed=5, missing=kind, missing_rate=0.2))
        absent = ~facts.present[:, MODALITIES.index("film")]
        ill, old = diseases[:, 0], facts.age_band == 2
        by_disease = absent[ill].mean() - absent[~ill].mean()
        by_age = absent[old].mean() - absent[~old].mean()
        assert (abs(by_disease) > 0.06) == (kind == "mnar")
        assert (abs(by_age) > 0.09) == (kind == "mar")
        if kind == "mcar":
            assert absent.mean() == pytest.approx(0.2, abs=0.015)


def test_visits_share_patient_and_diseases():
    clinic = draw_clinic(replace(BASE, visits=3))
    by_patient = {}
    for chart, diseases in zip(clinic.charts, clinic.diseases, strict=True):
        by_patient.setdefault(chart.patient, []).append((chart, tuple(diseases)))
    assert {len(visits) for visits in by_patient.values()} == {1, 2, 3}
    for visits in by_patient.values():
        assert len({diseases for _, diseases in visits}) == 1
        assert len({chart.identity.values["record_number"] for chart, _ in visits}) == 1
        times = [chart.asked_at for chart, _ in visits]
        assert times == sorted(set(times))


def test_label_noise_unknowns_overlap_and_prevalence():
    noisy = draw_clinic(replace(BASE, n_patients=1500, seed=22, label_noise=0.2, unknown_rate=0.25))
    known = [
        (c.truth[d], row[k])
        for c, row in zip(noisy.charts, noisy.diseases, strict=True)
        for k, d in enumerate(DISEASES)
        if d in c.truth
    ]
    assert len(known) / (4 * 1500) == pytest.approx(0.75, abs=0.02)
    assert np.mean([recorded != true for recorded, true in known]) == pytest.approx(0.2, abs=0.02)
    rare = draw_clinic(replace(BASE, n_patients=1500, prevalence=0.2))
    assert (rare.diseases.mean(axis=0) < 0.08).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_patients": 0}, "n_patients"),
        ({"n_patients": 5, "label_noise": 1.5}, "label_noise"),
        ({"n_patients": 5, "missing_rate": 0.9}, "missing_rate"),
        ({"n_patients": 5, "leaks": (Leak(trap="T13"),)}, "T1 to T12"),
        ({"n_patients": 5, "leaks": (Leak(trap="T5"), Leak(trap="T5"))}, "at most once"),
        ({"n_patients": 5, "leaks": (Leak(trap="T5", strength=2.0),)}, "strength"),
        ({"n_patients": 5, "profile": "clean", "leaks": (Leak(trap="T5"),)}, "clean"),
        ({"n_patients": 5, "profile": "clean", "missing": "mnar"}, "clean"),
        (
            {"n_patients": 5, "site_shift": SiteShift(prevalence=0.5), "shortcut": Shortcut(kind="site", strength=0.5)},
            "one of them",
        ),
    ],
)
def test_impossible_clinics_are_refused(settings, said):
    with pytest.raises(ClinicError, match=said):
        ClinicConfig(**settings)
