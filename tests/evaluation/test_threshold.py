"""Thresholds follow their rule, and never see the rows they are applied to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.evaluation.threshold import Rule, ThresholdError, choose_threshold, row_thresholds
from tests.evaluation.cohorts import binormal, crossed

CASES = st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.sampled_from([0.25, 0.5, 1.0])), min_size=2, max_size=40)


@settings(max_examples=100, deadline=None)
@given(CASES, st.sampled_from(["sensitivity", "specificity"]), st.floats(0.05, 0.99))
def test_the_rule_is_met_and_no_tighter_threshold_meets_it(cases, kind, aim):
    p, truth, weight = (np.array(column) for column in zip(*cases, strict=True))
    held = truth == (kind == "sensitivity")
    chosen = choose_threshold(Rule(kind=kind, value=aim), p, truth, weight)
    if not held.any():
        assert np.isnan(chosen)
        return

    def reached(threshold):
        right = (p >= threshold) == (kind == "sensitivity")
        return weight[held & right].sum() / weight[held].sum()

    assert reached(chosen) >= aim - 1e-9
    others = p[p > chosen] if kind == "sensitivity" else p[p < chosen]
    assert all(reached(other) < aim for other in others)


def test_nineteen_of_twenty():
    p = np.linspace(0.05, 1.0, 20)
    chosen = choose_threshold(Rule(kind="sensitivity", value=0.95), p, np.ones(20, dtype=bool), np.ones(20))
    assert chosen == p[1]


def test_fixed_rules_need_no_data():
    assert Rule(kind="harm_to_benefit", value=1 / 9).fixed == pytest.approx(0.1)
    assert Rule(kind="risk", value=0.2).fixed == 0.2
    assert Rule(kind="sensitivity", value=0.9).fixed is None


def test_a_fold_has_no_part_in_its_own_threshold():
    held = crossed(binormal(200, events=80, auroc=0.8, seed=0), folds=4, repeats=2, seed=1, jitter=0.4)
    rule = Rule(kind="sensitivity", value=0.9)
    before = row_thresholds(held, "f0", rule)
    assert len(np.unique(before)) > 4
    here = (held.repeat == 1) & (held.fold == 2)
    held.probability[here] = 0.0
    after = row_thresholds(held, "f0", rule)
    np.testing.assert_array_equal(after[here], before[here])
    assert (after[(held.repeat == 1) & ~here] != before[(held.repeat == 1) & ~here]).any()


def test_one_split_takes_the_threshold_from_the_calibrate_part():
    test, calibrate = (binormal(200, events=80, auroc=0.8, seed=seed) for seed in (0, 1))
    rule = Rule(kind="sensitivity", value=0.9)
    chosen = row_thresholds(test, "f0", rule, calibrate=calibrate)
    expected = choose_threshold(rule, calibrate.probability[:, 0], calibrate.truth[:, 0], calibrate.weights)
    assert (chosen == expected).all()
    assert np.isnan(row_thresholds(test, "f0", rule)).all()


def test_rules_are_read_strictly():
    assert Rule.from_dict({"sensitivity": 0.95}) == Rule(kind="sensitivity", value=0.95)
    assert Rule.from_dict(Rule(kind="harm_to_benefit", value=0.25).to_dict()).fixed == 0.2
    for wrong in ({"accuracy": 0.9}, {"sensitivity": 95}, {"risk": 0.0}, {}, {"risk": 0.1, "sensitivity": 0.9}):
        with pytest.raises(ThresholdError):
            Rule.from_dict(wrong)
