"""Exact Shapley values, against games worked by hand and against the definition by orders."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attending.explanation.games import coalitions, shapley_values


def test_in_an_additive_game_everybody_gets_what_they_bring() -> None:
    brings = np.array([1.0, -2.0, 3.5])
    assert shapley_values(7.0 + coalitions(3) @ brings) == pytest.approx(brings)


def test_a_product_is_shared_equally() -> None:
    """Worth 6 only when both are there, and a third who adds nothing: by hand 3, 3 and 0."""
    members = coalitions(3)
    assert shapley_values(6.0 * (members[:, 0] & members[:, 2])) == pytest.approx([3.0, 0.0, 3.0])


def test_the_glove_game() -> None:
    """One left glove, two right ones; a pair is worth 1. By hand 2/3, 1/6, 1/6 (Shapley and Shubik 1969)."""
    members = coalitions(3)
    pair = members[:, 0] & (members[:, 1] | members[:, 2])
    assert shapley_values(pair.astype(float)) == pytest.approx([2 / 3, 1 / 6, 1 / 6])


@given(st.lists(st.floats(-9, 9), min_size=16, max_size=16))
def test_they_are_the_mean_over_all_orders(worth: list[float]) -> None:
    expected = np.zeros(4)
    for order in permutations(range(4)):
        so_far = 0
        for player in order:
            expected[player] += (worth[so_far | 1 << player] - worth[so_far]) / 24
            so_far |= 1 << player
    values = shapley_values(np.array(worth))
    assert values == pytest.approx(expected, abs=1e-9)
    assert values.sum() == pytest.approx(worth[-1] - worth[0], abs=1e-9)


def test_half_a_game_is_refused() -> None:
    with pytest.raises(ValueError, match="2ⁿ coalitions; found 6"):
        shapley_values(np.zeros(6))
