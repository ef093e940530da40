"""The gate turns away what is unlike, says what it is, and turns away no more of the usual than it says."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from attending.evaluation.gate import DIRECTIONS, Gate, Trait, fit_gate, shrunk_covariance


def drawn(rng, n, *, away=0.0):
    """A film of 40 numbers that two thirds have, a note of 2 that five sixths have, a value that all have."""
    return {
        "film": Trait(values=rng.standard_t(6, size=(n, 40)) * np.linspace(3, 0.5, 40) + away, there=rng.random(n) < 2 / 3),
        "note": Trait(values=rng.normal(size=(n, 2)), there=rng.random(n) < 5 / 6),
        "crp": Trait(values=rng.exponential(size=(n, 1)), there=np.ones(n, dtype=bool)),
    }


def test_shrinkage_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 12)) @ rng.normal(size=(12, 12))
    expected, _ = ledoit_wolf(features)
    np.testing.assert_allclose(shrunk_covariance(features), expected, rtol=1e-5, atol=1e-5 * np.trace(expected) / 12)


def test_distance_is_mahalanobis_while_directions_suffice():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100, 5)) @ rng.normal(size=(5, 5))
    shape = fit_gate({"a": Trait(values=values, there=np.ones(100, dtype=bool))}, groups=range(100)).shapes["a"]
    away = values - values.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", away, np.linalg.inv(shrunk_covariance(values)), away))
    np.testing.assert_allclose(shape.distance(values), expected, rtol=1e-9)


def test_past_the_main_directions_all_others_share_one_variance():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, DIRECTIONS + 8)) * np.r_[np.full(DIRECTIONS, 5.0), np.full(8, 1.0)]
    shape = fit_gate({"a": Trait(values=values, there=np.ones(300, dtype=bool))}, groups=range(300)).shapes["a"]
    variances = np.linalg.eigvalsh(shrunk_covariance(values))
    assert shape.rest == pytest.approx(variances[:8].mean())
    # A step of one in the last eight coordinates alone lies almost wholly across the main directions.
    step = np.r_[np.zeros(DIRECTIONS), np.full(8, 3.0)] + values.mean(axis=0)
    assert shape.distance(step[None])[0] == pytest.approx(np.sqrt(72 / shape.rest), rel=0.1)


def test_it_turns_away_about_the_stated_share_of_usual_cases():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        gate = fit_gate(drawn(rng, 150), groups=range(150), outlying=0.05)
        shares.append(np.mean([name is not None for name in gate.outside(drawn(rng, 400))]))
    assert 0.03 <= np.mean(shares) <= 0.06


def test_it_names_what_is_unlike():
    rng = np.random.default_rng(0)
    gate = fit_gate(drawn(rng, 300), groups=range(300))
    strange = drawn(rng, 50, away=8.0)
    named = gate.outside(strange)
    assert [name for name, there in zip(named, strange["film"].there, strict=True) if there] == ["film"] * strange[
        "film"
    ].there.sum()
    raised = drawn(rng, 50)
    raised["crp"].values[:] = 60.0
    assert set(gate.outside(raised)) == {"crp"}
    raised["crp"].values[:] = np.nan
    assert set(gate.outside(raised)) == {"crp"}


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 2**32))
def test_what_is_absent_counts_for_nothing(value, seed):
    rng = np.random.default_rng(seed)
    asked = drawn(rng, 20)
    without = {name: Trait(values=trait.values, there=np.zeros(20, dtype=bool)) for name, trait in asked.items()}
    without["film"].values[:] = value
    assert GATE.outside(without) == (None,) * 20
    assert GATE.outside({"crp": asked["crp"]}) == GATE.outside(asked | {k: without[k] for k in ("film", "note")})


GATE = fit_gate(drawn(np.random.default_rng(1), 200), groups=range(200))


def test_cases_of_one_patient_are_judged_without_each_other():
    """Every patient sends two equal films: judged beside its own twin a film would look usual, and the limit lie too low."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(60, 30)), 2, axis=0)
    film = {"film": Trait(values=values, there=np.ones(120, dtype=bool))}
    apart = fit_gate(film, groups=np.repeat(np.arange(60), 2), outlying=0.05)
    mixed = fit_gate(film, groups=range(120), outlying=0.05)
    fresh = {"film": Trait(values=rng.normal(size=(500, 30)), there=np.ones(500, dtype=bool))}
    turned_away = [np.mean([name is not None for name in gate.outside(fresh)]) for gate in (apart, mixed)]
    assert turned_away[0] < 0.15 < turned_away[1]


def test_with_few_usual_cases_nothing_is_turned_away():
    rng = np.random.default_rng(0)
    gate = fit_gate(drawn(rng, 70), groups=range(70), outlying=0.01)
    assert set(gate.outside(drawn(rng, 20, away=1e6))) == {None}
    assert gate.to_dict()["limit"] is None
    rare = {"film": Trait(values=rng.normal(size=(200, 3)), there=np.arange(200) < 10)}
    assert not fit_gate(rare, groups=range(200)).shapes


def test_a_trait_that_never_varies_is_no_reason_to_fail():
    always = {"one": Trait(values=np.full((200, 1), 3.0), there=np.ones(200, dtype=bool))}
    gate = fit_gate(always, groups=range(200))
    assert set(gate.outside(always)) == {None}
    assert set(gate.outside({"one": Trait(values=np.full((2, 1), 4.0), there=np.ones(2, dtype=bool))})) == {"one"}


def test_written_down_and_read_back_it_is_the_same():
    rng = np.random.default_rng(0)
    for n in (200, 30):
        gate = fit_gate(drawn(rng, n), groups=range(n))
        back = Gate.from_dict(json.loads(json.dumps(gate.to_dict())))
        asked = drawn(rng, 200, away=1.0)
        assert back.outside(asked) == gate.outside(asked)
        assert (back.limit, back.n, back.outlying) == (gate.limit, gate.n, gate.outlying)
