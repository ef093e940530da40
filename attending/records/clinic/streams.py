"""Random numbers by name: one stream per knob and patient, so that turning one knob never reshuffles another.

A draw is a pure function of (seed, stream name, row, index), computed by the SplitMix64 finaliser (Steele, Lea & Flood 2014).
Row 17 therefore draws the same numbers whether ten or ten thousand rows are asked for. Not for cryptography.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

T = TypeVar("T")

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Streams:
    """All named streams of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def uniform(self, name: str, rows: Int[np.ndarray, " row"], draws: int) -> Float[np.ndarray, "row draw"]:
        """Numbers strictly between 0 and 1, `draws` for each row of the stream `name`."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=16).digest()
        row_key, draw_key = (np.uint64(int.from_bytes(half, "little")) for half in (digest[:8], digest[8:]))
        by_row = _mix(rows.astype(np.uint64) * _GOLDEN + row_key)
        by_draw = _mix(np.arange(draws, dtype=np.uint64) * _GOLDEN + draw_key)
        bits = _mix(by_row[:, None] ^ by_draw[None, :])
        return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, name: str, rows: Int[np.ndarray, " row"], draws: int) -> Float[np.ndarray, "row draw"]:
        """Standard normal numbers, by the inverse distribution function of `uniform`."""
        return ndtri(self.uniform(name, rows, draws))


class Dice:
    """A row of uniform numbers, spent one after the other by a writer of text."""

    def __init__(self, uniforms: Float[np.ndarray, " draw"]) -> None:
        self._left = iter(uniforms.tolist())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return next(self._left) < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each equally likely."""
        return options[int(next(self._left) * len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order."""
        keyed = sorted((next(self._left), place) for place in range(len(items)))
        return [items[place] for _, place in keyed]


def _mix(bits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))
