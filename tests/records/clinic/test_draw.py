"""The clinic as a whole: equal seeds, equal clinics; and the exact posteriors against the patients drawn."""

import numpy as np
import pytest

from attending.case import Scan
from attending.records.clinic import ClinicConfig, draw_clinic


@pytest.fixture(scope="module")
def clinic():
    return draw_clinic(ClinicConfig(n_patients=1500, seed=3, film_size=32))


def _same_chart(one, other) -> bool:
    if (one.id, one.truth, one.site, one.asked_at, one.identity) != (
        other.id,
        other.truth,
        other.site,
        other.asked_at,
        other.identity,
    ):
        return False
    pairs = zip(one.evidence, other.evidence, strict=True)
    return all(np.array_equal(a.pixels, b.pixels) if isinstance(a, Scan) else a == b for a, b in pairs)


def test_same_seed_gives_same_charts_and_a_longer_clinic_begins_with_the_shorter():
    longer = draw_clinic(ClinicConfig(n_patients=60, seed=3, film_size=32))
    shorter = draw_clinic(ClinicConfig(n_patients=40, seed=3, film_size=32))
    assert all(_same_chart(a, b) for a, b in zip(shorter.charts, longer.charts, strict=False))
    np.testing.assert_array_equal(shorter.oracle.seen, longer.oracle.seen[:40])
    other_seed = draw_clinic(ClinicConfig(n_patients=40, seed=4, film_size=32))
    assert not any(_same_chart(a, b) for a, b in zip(shorter.charts, other_seed.charts, strict=True))


def test_oracle_risks_match_what_was_drawn(clinic):
    """Of patients with a posterior between two limits, that share has the disease: within 4 standard errors in every bin."""
    for posterior in (clinic.oracle.full, clinic.oracle.seen, *clinic.oracle.modality.values()):
        for low in np.arange(0.0, 1.0, 0.1):
            chosen = (posterior >= low) & (posterior < low + 0.1)
            if chosen.sum() >= 100:
                p = posterior[chosen]
                error = np.sqrt((p * (1 - p)).sum())
                assert abs(clinic.diseases[chosen].sum() - p.sum()) < 4.0 * error


def test_reasons_add_up_to_places_in_the_evidence(clinic):
    for case in range(200):
        chart = clinic.charts[case]
        for reason in clinic.reasons[case]["pneumonia"]:
            assert 0 <= reason.place.evidence < len(chart.evidence)
            assert np.isfinite(reason.log_odds)
