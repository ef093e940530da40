"""Conformal sets cover what they promise, admit what they cannot, and use one case of each patient."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.evaluation.conformal import Conformal, fit_conformal, fit_cross_conformal
from attending.evaluation.inquiry import Terms
from attending.evaluation.judgement import judge
from tests.evaluation.cohorts import outcomes_of


def drawn(n, rng, events=0.4):
    truth = rng.random(n) < events
    return outcomes_of(1.0 / (1.0 + np.exp(-(rng.normal(size=n) + 1.5 * truth - 1.0))), truth)


def covered(held, sets):
    present, absent = sets
    return np.where(held.truth, present, absent)[:, 0]


def mean_coverage(n, draws, alpha=0.1):
    rng = np.random.default_rng(n)
    shares = []
    for k in range(draws):
        test, conformal = drawn(200, rng), fit_conformal(drawn(n, rng), alpha=alpha, seed=k)
        shares.append(covered(test, conformal.sets(test.probability)).mean())
    return np.mean(shares)


@pytest.mark.parametrize("n", [30, 60])
def test_mean_coverage_is_within_a_point_of_its_expectation(n):
    # Marginal (fewer than 50 of a class): between 0.9 and 0.9 + 1 / (n + 1), give or take a point.
    assert 0.9 - 0.01 <= mean_coverage(n, 500) <= 0.9 + 1 / (n + 1) + 0.01


@pytest.mark.long
@pytest.mark.parametrize("n", [19, 40, 100])
def test_mean_coverage_at_length(n):
    assert 0.9 - 0.01 <= mean_coverage(n, 4000) <= 0.9 + 1 / (n + 1) + 0.01


def test_coverage_per_class_from_fifty_cases():
    rng = np.random.default_rng(0)
    by_class = {True: [], False: []}
    for k in range(300):
        conformal = fit_conformal(drawn(400, rng, events=0.2), alpha=0.1, seed=k)
        assert all(answer.note == "" and answer.n >= 50 for answer in conformal.answers)
        test = drawn(300, rng)
        held = covered(test, conformal.sets(test.probability))
        for kind, shares in by_class.items():
            shares.append(held[test.truth[:, 0] == kind].mean())
    for kind, values in by_class.items():
        assert 0.89 <= np.mean(values) <= 0.9 + 1 / 51 + 0.01, kind


def test_hand_worked():
    # Nine cases, alpha 0.1: the limit is the ninth smallest score, 0.9 − no answer scoring above it stays.
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    conformal = fit_conformal(outcomes_of(p, np.ones(9)), alpha=0.1)
    present, absent = conformal.sets(np.array([[0.1], [0.05], [0.95], [0.5]]))
    assert present[:, 0].tolist() == [True, False, True, True]
    # "no" scores p itself: 0.95 exceeds the limit of 0.9.
    assert absent[:, 0].tolist() == [True, True, False, True]
    assert "marginal" in conformal.answers[0].note


def test_too_few_cases_exclude_nothing_and_say_so():
    conformal = fit_conformal(outcomes_of(np.full(8, 0.99), np.ones(8)), alpha=0.1)
    present, absent = conformal.sets(np.array([[0.0], [1.0]]))
    assert present.all()
    assert absent.all()
    assert "fewer than 9 calibration cases" in conformal.notes[0]


def test_one_case_of_each_patient_is_used():
    rng = np.random.default_rng(0)
    held = outcomes_of(rng.random(100), rng.random(100) < 0.5, groups=[f"p{i // 10}" for i in range(100)])
    assert {answer.n for answer in fit_conformal(held).answers} == {10}


def test_exclusive_classes_give_sets_of_classes():
    rng = np.random.default_rng(0)

    def three(n):
        score = rng.normal(size=(n, 3)) * 2
        p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
        truth = np.eye(3, dtype=bool)[(rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)]
        return outcomes_of(p, truth, exclusive=True)

    coverage = []
    for k in range(200):
        test = three(200)
        sets, absent = fit_conformal(three(100), alpha=0.1, seed=k).sets(test.probability)
        assert absent is None
        coverage.append((sets & test.truth).any(axis=1).mean())
    assert 0.89 <= np.mean(coverage) <= 0.9 + 1 / 101 + 0.01


def test_cross_conformal_with_equal_models_is_split_conformal_and_states_its_own_guarantee():
    rng = np.random.default_rng(0)
    held = replace(drawn(40, rng), fold=np.arange(40) % 4)
    cross, split = fit_cross_conformal(held, alpha=0.1), fit_conformal(held, alpha=0.1)
    test = drawn(200, rng)
    for a, b in zip(cross.sets(test.probability), split.sets(test.probability), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "0.8 of patients" in cross.guarantee
    with pytest.raises(ValueError, match="4 models"):
        cross.cross_sets(test.probability[None])
    with pytest.raises(ValueError, match="at least 2 folds"):
        fit_cross_conformal(drawn(40, rng))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_a_smaller_error_rate_gives_larger_sets(seed):
    rng = np.random.default_rng(seed)
    held, test = drawn(80, rng), drawn(50, rng)
    strict, loose = (fit_conformal(held, alpha=alpha).sets(test.probability) for alpha in (0.05, 0.2))
    for larger, smaller in zip(strict, loose, strict=True):
        assert (larger | ~smaller).all()


def test_written_down_and_read_back_it_is_the_same():
    rng = np.random.default_rng(0)
    conformal = fit_cross_conformal(replace(drawn(40, rng), fold=np.arange(40) % 4))
    assert Conformal.from_dict(json.loads(json.dumps(conformal.to_dict()))) == conformal


def test_what_the_sets_did_is_among_the_results():
    held = outcomes_of([0.9, 0.8, 0.2, 0.1, 0.6, 0.4], [1, 0, 0, 0, 1, 1])
    present = np.array([[1], [1], [0], [0], [0], [1]], dtype=bool)
    absent = np.array([[0], [1], [1], [0], [0], [1]], dtype=bool)
    rows = judge({"m": replace(held, in_set=present, absence_in_set=absent)}, terms=Terms(resamples=20))
    found = {row.metric: row.value for row in rows if row.metric.startswith("set_")}
    assert found == pytest.approx(
        {
            "set_coverage_events": 2 / 3,
            "set_coverage_others": 2 / 3,
            "set_coverage": 4 / 6,
            "set_empty": 2 / 6,
            "set_full": 2 / 6,
            "set_size": 1.0,
        }
    )
    only = judge({"m": replace(held, in_set=present)}, terms=Terms(resamples=20))
    assert [row.metric for row in only if row.metric.startswith("set_")] == ["set_coverage_events"]
