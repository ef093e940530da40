"""Random numbers by name: uniform, reproducible row by row, and without a trace of one stream in another."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attending.records.clinic.streams import Dice, Streams


def test_numbers_are_uniform_within_and_across_rows_and_draws():
    u = Streams(5).uniform("finding", np.arange(4000), 10)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert u.min() > 0.0
    assert u.max() < 1.0
    correlation = np.corrcoef(u, rowvar=False)[np.triu_indices(10, 1)]
    assert np.abs(correlation).max() < 5.0 / np.sqrt(4000)
    neighbours = np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]
    assert abs(neighbours) < 5.0 / np.sqrt(4000)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), rows=st.lists(st.integers(0, 10**9), min_size=1, max_size=8), draws=st.integers(1, 6))
def test_a_row_draws_the_same_whatever_else_is_asked_for(seed, rows, draws):
    streams = Streams(seed)
    together = streams.uniform("film", np.array(rows), draws + 3)
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(streams.uniform("film", np.array([row]), draws)[0], together[place, :draws])


def test_names_and_seeds_give_unrelated_numbers():
    rows = np.arange(5000)
    one = Streams(1).uniform("site", rows, 1)[:, 0]
    for other in (Streams(1).uniform("sita", rows, 1)[:, 0], Streams(2).uniform("site", rows, 1)[:, 0]):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5.0 / np.sqrt(5000)


def test_dice_shuffle_and_pick_evenly():
    uniforms = Streams(3).uniform("dice", np.arange(6000), 4)
    firsts = [Dice(row).shuffled("abc")[0] for row in uniforms]
    picks = [Dice(row).pick("abc") for row in uniforms]
    for outcomes in (firsts, picks):
        counts = [outcomes.count(letter) for letter in "abc"]
        assert stats.chisquare(counts).pvalue > 1e-3
