"""Exact Shapley values of a game with few players, from the worth of every coalition (Shapley 1953, equation 13).

Numbers only: knows no model and no medicine.
"""

from math import factorial

import numpy as np
from jaxtyping import Bool, Float


def coalitions(n_players: int) -> Bool[np.ndarray, "coalition player"]:
    """All 2ⁿ coalitions: player k is in row r where bit k of r is set. Row 0 is empty, the last has everybody."""
    return (np.arange(2**n_players)[:, None] >> np.arange(n_players)) % 2 == 1


def shapley_values(worth: Float[np.ndarray, " coalition"]) -> Float[np.ndarray, " player"]:
    """What each player adds, the mean over all orders in which they may join; `worth` is in the order of `coalitions`.

    The values sum to the worth of everybody less that of nobody. Raises `ValueError` unless there are 2ⁿ coalitions.
    """
    n = len(worth).bit_length() - 1
    if len(worth) != 2**n:
        raise ValueError(f"a game of n players has 2ⁿ coalitions; found {len(worth)}")
    members = coalitions(n)
    sizes = members.sum(axis=1)
    share = np.array([factorial(size) * factorial(n - size - 1) / factorial(n) for size in range(n)])
    values = np.zeros(n)
    for player in range(n):
        without = np.flatnonzero(~members[:, player])
        values[player] = share[sizes[without]] @ (worth[without + 2**player] - worth[without])
    return values
