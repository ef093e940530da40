"""Which places lie next to each other: words in a note, cells on a film. A whole piece of evidence has no neighbour."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from attending.case import Box, Characters, Place

SLACK = 0.25
"""Share of a cell by which the distance of two cells may exceed a whole number: boxes are rounded to pixels."""


def vicinity(places: Sequence[Place], *, reach: int) -> Bool[np.ndarray, "place place"]:
    """Row i marks place i and every place of the same evidence within `reach` words of it, or `reach` cells each way."""
    near = np.eye(len(places), dtype=bool)
    by_evidence: dict[tuple[int, type], list[int]] = {}
    for number, place in enumerate(places):
        by_evidence.setdefault((place.evidence, type(place.part)), []).append(number)
    for (_, part), numbers in by_evidence.items():
        if part is Characters:
            starts = [_start(places[number]) for number in numbers]
            rank = np.argsort(np.argsort(starts))
            close = np.abs(rank[:, None] - rank) <= reach
        elif part is Box:
            corners = np.array([_corners(places[number]) for number in numbers], dtype=float)
            centre, size = (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]).max(axis=0)
            close = (np.abs(centre[:, None] - centre) <= (reach + SLACK) * size).all(axis=-1)
        else:
            continue
        near[np.ix_(numbers, numbers)] |= close
    return near


def _start(place: Place) -> int:
    assert isinstance(place.part, Characters)
    return place.part.start


def _corners(place: Place) -> tuple[int, int, int, int]:
    assert isinstance(place.part, Box)
    return place.part.top, place.part.left, place.part.bottom, place.part.right
