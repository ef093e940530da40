"""Which films are one and the same, also brighter, mirrored, or cropped: pairs of places in a list of films.

A film is held as a small picture, standardised, less the mean film, so that common anatomy does not make strangers alike; the
correlation of two is what a perceptual hash rounds to bits. Mirrored films, and films cropped by up to a fifth of a side, are
sought by pictures of what some crops leave, and the true edges are followed from there. Whatever looks alike counts only when
its fine detail agrees as well. Difference hashes are not used: they flood radiographs with false hits (design notes, trap T12).
Films of fewer than 64 pixels are not compared, and crops are sought from 128 pixels on: below, strangers look alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import gaussian_filter

_HELD, _FINE_SIDE, _SIDE, _COARSE_SIDE = 128, 64, 32, 16
"""Pixels of a side: of what is held of each film, and of the pictures in which fine detail is looked at, films are compared,
and crops are sought."""
_BLOCK = 512
_LEAST, _LEAST_CROPPED = 64, 128
"""Pixels of the shorter side below which strangers look alike, whole and cropped."""
_WIDEST = 0.25
"""The most that the search lets any one side lose."""
_STEPS = (0.02, 0.01, 0.005)
_ENOUGH_FOR_A_MEAN = 20

Box = tuple[float, float, float, float]
"""Shares cut off: left, top, right, bottom."""
_WHOLE: Box = (0.0, 0.0, 0.0, 0.0)
_EVEN = tuple((m, m, m, m) for m in (0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2))
_UNEVEN = tuple(
    box
    for m in (0.05, 0.1, 0.15, 0.2)
    for box in (
        *((m, 0.0, 0.0, 0.0), (0.0, m, 0.0, 0.0), (0.0, 0.0, m, 0.0), (0.0, 0.0, 0.0, m)),
        *((m, m, 0.0, 0.0), (0.0, m, m, 0.0), (0.0, 0.0, m, m), (m, 0.0, 0.0, m)),
        *((m, 0.0, m, 0.0), (0.0, m, 0.0, m)),
    )
)
STARTS: tuple[Box, ...] = (*_EVEN, *_UNEVEN)
"""Crops from which the search starts: of all sides, of one, of a corner, of two that face each other."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Correlations from which on two films are one: of small pictures (`alike`), of fine detail (`fine`), and those of a film
    with what a crop left of another. `worth_a_search`: from which correlation with a rough crop on its true edges are sought.
    """

    alike: float = 0.97
    fine: float = 0.95
    crop_alike: float = 0.95
    crop_fine: float = 0.85
    worth_a_search: float = 0.85


def film_twins(films: Sequence[np.ndarray], likeness: Likeness) -> set[tuple[int, int]]:
    """Pairs of places (smaller first) whose films are nearly one."""
    chosen = [place for place, film in enumerate(films) if min(film.shape) >= _LEAST]
    if len(chosen) < 2:
        return set()
    held = [_picture(films[place], side=_HELD) for place in chosen]
    pairs = _whole_twins(held, likeness)
    large = [at for at, place in enumerate(chosen) if min(films[place].shape) >= _LEAST_CROPPED]
    if len(large) > 1:
        pairs |= {(large[a], large[b]) for a, b in _cropped_twins([held[at] for at in large], likeness)}
    return {_ordered(chosen[a], chosen[b]) for a, b in pairs}


def _whole_twins(held: Sequence[Image.Image], likeness: Likeness) -> set[tuple[int, int]]:
    plain = np.stack([_small(picture) for picture in held])
    mean = _mean(plain)
    pairs: set[tuple[int, int]] = set()
    for is_mirrored in (False, True):
        seen = plain[:, :, ::-1] if is_mirrored else plain
        for a, b in _alike(_directions(plain, mean), _directions(seen, mean), least=likeness.alike):
            if _ordered(a, b) not in pairs and _fine(held[a], held[b], _WHOLE, is_mirrored=is_mirrored) >= likeness.fine:
                pairs.add(_ordered(a, b))
    return pairs


def _cropped_twins(held: Sequence[Image.Image], likeness: Likeness) -> set[tuple[int, int]]:
    """`a` is what a crop left of `b`, mirrored or not."""
    plain = np.stack([_small(picture, side=_COARSE_SIDE) for picture in held])
    best: dict[tuple[int, int, bool], tuple[float, Box]] = {}
    for start in STARTS:
        seen = np.stack([_small(picture, start, side=_COARSE_SIDE) for picture in held])
        for is_mirrored in (False, True):
            cut = seen[:, :, ::-1] if is_mirrored else seen
            mean = _mean(cut)
            ours, theirs = _directions(plain, mean), _directions(cut, mean)
            for a, b in _alike(ours, theirs, least=likeness.worth_a_search):
                found = (float(ours[a] @ theirs[b]), start)
                best[a, b, is_mirrored] = max(best.get((a, b, is_mirrored), (-1.0, start)), found)
    pairs: set[tuple[int, int]] = set()
    for (a, b, is_mirrored), (_, start) in best.items():
        if _ordered(a, b) in pairs:
            continue
        box, correlation = _followed(held[a], held[b], start, is_mirrored=is_mirrored)
        if correlation >= likeness.crop_alike and _fine(held[a], held[b], box, is_mirrored=is_mirrored) >= likeness.crop_fine:
            pairs.add(_ordered(a, b))
    return pairs


def _followed(one: Image.Image, other: Image.Image, start: Box, *, is_mirrored: bool) -> tuple[Box, float]:
    """The box of `other` that looks most like `one`, followed side by side from `start`, and how much they correlate."""
    goal = _direction(_small(one))

    def correlation(box: Box) -> float:
        picture = _small(other, box)
        return float(goal @ _direction(picture[:, ::-1] if is_mirrored else picture))

    box, best = start, correlation(start)
    for step in _STEPS:
        is_better = True
        while is_better:
            is_better = False
            for moved in _moves(box, step):
                found = correlation(moved)
                if found > best:
                    box, best, is_better = moved, found, True
    return box, best


def _moves(box: Box, step: float) -> Iterator[Box]:
    """Boxes with one side moved, or shifted as they are, that cut off nothing negative and not too much."""
    left, top, right, bottom = box
    for ahead in (step, -step):
        for moved in (
            (left + ahead, top, right, bottom),
            (left, top + ahead, right, bottom),
            (left, top, right + ahead, bottom),
            (left, top, right, bottom + ahead),
            (left + ahead, top, right - ahead, bottom),
            (left, top + ahead, right, bottom - ahead),
        ):
            if min(moved) >= 0.0 and max(moved) <= _WIDEST:
                yield moved


def _alike(ours: np.ndarray, theirs: np.ndarray, *, least: float) -> Iterator[tuple[int, int]]:
    """Places of different films whose directions correlate by at least so much."""
    for start in range(0, len(ours), _BLOCK):
        near = ours[start : start + _BLOCK] @ theirs.T >= least
        for at, other in np.argwhere(near).tolist():
            if start + at != other:
                yield start + at, other


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _picture(pixels: np.ndarray, *, side: int) -> Image.Image:
    """The film as a square of area averages."""
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return picture.resize((side, side), Image.Resampling.BOX)


def _small(picture: Image.Image, box: Box = _WHOLE, *, side: int = _SIDE) -> Float[np.ndarray, "side side"]:
    """What the box leaves of a square, as a smaller square of area averages."""
    width, height = picture.size
    left, top, right, bottom = box
    edges = (left * width, top * height, (1.0 - right) * width, (1.0 - bottom) * height)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX, box=edges), dtype=np.float32)


def _mean(pictures: Float[np.ndarray, "film side side"]) -> Float[np.ndarray, "side side"]:
    """The mean film; nothing where there are too few to say what is common."""
    return pictures.mean(axis=0) if len(pictures) >= _ENOUGH_FOR_A_MEAN else np.zeros_like(pictures[0])


def _directions(pictures: np.ndarray, mean: np.ndarray) -> Float[np.ndarray, "film pixel"]:
    """Standardised pictures less the mean film, as directions, so that a product of two is their correlation."""
    shift = mean - mean.mean()
    flat = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    flat = flat / (flat.std(axis=(1, 2), keepdims=True) + 1e-6) - shift / (shift.std() + 1e-6)
    rows = flat.reshape(len(flat), -1).astype(np.float32)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12)


def _direction(picture: np.ndarray) -> Float[np.ndarray, " pixel"]:
    """One picture as a direction."""
    flat = picture.astype(np.float64).ravel()
    flat = flat - flat.mean()
    return flat / (np.linalg.norm(flat) + 1e-12)


def _fine(one: Image.Image, other: Image.Image, box: Box, *, is_mirrored: bool) -> float:
    """Correlation of what is finer than two pixels of a picture of 64."""
    cut = _small(other, box, side=_FINE_SIDE)
    return float(_detail(_small(one, side=_FINE_SIDE)) @ _detail(cut[:, ::-1] if is_mirrored else cut))


def _detail(picture: np.ndarray) -> Float[np.ndarray, " pixel"]:
    held = picture.astype(np.float64)
    return _direction(held - gaussian_filter(held, 2.0))
