"""What a predictions file betrays: T1, T13, T18, T19 and T20 planted in outcomes, and none found where all is well."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from attending.audit.procedure import check_predictions
from attending.evaluation import fit_calibration
from attending.evaluation.outcomes import Outcomes
from tests.evaluation.cohorts import binormal, crossed

SEEDS = range(30)


def cohort(seed: int = 0, *, visits: int = 1) -> Outcomes:
    return binormal(400, events=120, auroc=0.8, seed=seed, visits=visits)


def found(outcomes: Outcomes, split: str = "test") -> list[tuple[str, str]]:
    return [(one.trap, one.severity.value) for one in check_predictions({split: {"m": outcomes}})]


@pytest.mark.parametrize("visits", [1, 4])
def test_sound_predictions_raise_no_alarm(visits: int) -> None:
    for seed in SEEDS:
        sound = cohort(seed, visits=visits)
        assert found(sound) == []
        assert found(crossed(sound, folds=5, repeats=1, seed=seed), "cv") == [] or visits > 1


def test_a_group_that_was_trained_on_and_judged_blocks() -> None:
    rows = cohort(visits=4)
    first, last = rows.rows(np.arange(0, 202)), rows.rows(np.arange(202, 400))
    (shared,) = check_predictions({"calibrate": {"m": first}, "test": {"m": last}})
    assert (shared.trap, shared.severity.value) == ("T18", "block")
    assert shared.evidence.startswith("1 groups of 50")
    whole = rows.rows(np.arange(0, 200)), rows.rows(np.arange(200, 400))
    assert check_predictions({"calibrate": {"m": whole[0]}, "test": {"m": whole[1]}}) == ()


def test_a_group_in_two_folds_blocks() -> None:
    parted = crossed(cohort(visits=4), folds=5, repeats=1, seed=0)
    assert ("T1", "block") in found(parted, "cv")


def test_cases_that_are_judged_more_often_than_others_are_told() -> None:
    rows = crossed(cohort(), folds=5, repeats=3, seed=0)
    partial = rows.rows(np.delete(np.arange(len(rows)), [3, 7]))
    assert found(partial, "cv") == [("T13", "warn")]
    assert found(rows, "cv") == []


@pytest.mark.parametrize("times", [1, 2])  # the intercept alone is fitted below 200 events, the slope too from there on
def test_a_calibration_fitted_to_the_judged_rows_is_told(times: int) -> None:
    rows = binormal(400 * times, events=120 * times, auroc=0.8, seed=0)
    off = replace(rows, probability=expit(0.6 * logit(rows.probability) + 0.3))
    fitted_here = replace(rows, probability=fit_calibration(off).apply(off.probability))
    assert found(fitted_here) == [("T18", "warn")]
    elsewhere = fit_calibration(replace(cohort(9), probability=expit(0.6 * logit(cohort(9).probability) + 0.3)))
    assert found(replace(rows, probability=elsewhere.apply(off.probability))) == []


def test_a_threshold_that_is_a_judged_probability_is_told() -> None:
    rows = cohort()
    chosen = np.sort(rows.probability[rows.truth])[6]  # sensitivity 0.95 on these very rows
    assert found(replace(rows, threshold=np.full((len(rows), 1), chosen))) == [("T18", "warn")]
    assert found(replace(rows, threshold=np.full((len(rows), 1), 0.2))) == []


def test_class_weights_without_recalibration_are_told() -> None:
    rows = cohort()
    weighted = replace(rows, probability=expit(logit(rows.probability) + np.log(280 / 120)))
    assert found(weighted) == [("T19", "warn")]
    assert check_predictions({"test": {"m": weighted}}, spared=("m",)) == ()


def test_visits_without_a_group_are_told() -> None:
    rows = cohort(visits=4)
    ids = np.array([f"pat{at // 4}_v{at % 4 + 1}" for at in range(400)], dtype=object)
    assert found(replace(rows, ids=ids, groups=ids)) == [("T20", "warn")]
    assert found(replace(rows, ids=ids)) == []
    years = np.array([f"{2001 + at % 12}-{at // 12:02d}" for at in range(400)], dtype=object)
    assert found(replace(rows, ids=years, groups=years)) == []


def test_too_few_events_betray_nothing() -> None:
    few = binormal(60, events=5, auroc=0.8, seed=0).rows(np.arange(20))
    assert found(replace(few, probability=np.full_like(few.probability, 0.9))) == []
