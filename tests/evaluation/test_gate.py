"""The gate turns away what is unlike, and no more of the usual than it says."""

import json

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from attending.evaluation.gate import Gate, fit_gate, shrunk_covariance


def test_shrinkage_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 12)) @ rng.normal(size=(12, 12))
    expected, _ = ledoit_wolf(features)
    np.testing.assert_allclose(shrunk_covariance(features), expected, rtol=1e-5, atol=1e-5 * np.trace(expected) / 12)


def test_it_turns_away_at_most_the_stated_share_of_usual_cases():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        draw = [rng.standard_t(5, size=(n, 6)) for n in (100, 60, 300)]
        shares.append(fit_gate(draw[0], draw[1], outlying=0.05).outside(draw[2]).mean())
    assert 0.05 - 1 / 61 - 0.01 <= np.mean(shares) <= 0.05 + 0.01


def test_it_finds_what_is_unlike():
    rng = np.random.default_rng(0)
    gate = fit_gate(rng.normal(size=(300, 6)), rng.normal(size=(300, 6)))
    assert gate.outside(rng.normal(size=(50, 6)) + 6.0).all()
    assert gate.outside(np.full((1, 6), np.nan)).all()


def test_with_few_held_out_cases_nothing_is_turned_away():
    rng = np.random.default_rng(0)
    gate = fit_gate(rng.normal(size=(50, 3)), rng.normal(size=(20, 3)), outlying=0.01)
    assert not gate.outside(np.full((1, 3), 1e6)).any()
    assert gate.to_dict()["limit"] is None
    with pytest.raises(ValueError, match="at least 2"):
        fit_gate(np.zeros((1, 3)), np.zeros((0, 3)))


def test_a_feature_that_never_varies_is_no_reason_to_fail():
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=200), np.zeros(200)])
    gate = fit_gate(features[:100], features[100:], outlying=0.05)
    assert np.isfinite(gate.distance(features)).all()


def test_written_down_and_read_back_it_is_the_same():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    for held_out in (200, 10):
        gate = fit_gate(features, features[:held_out])
        back = Gate.from_dict(json.loads(json.dumps(gate.to_dict())))
        np.testing.assert_array_equal(back.distance(features), gate.distance(features))
        assert (back.limit, back.n, back.outlying) == (gate.limit, gate.n, gate.outlying)
