"""Features learned without labels: the same bits from the same films, what stands where, and shapes told apart."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from attending.model.atoms import COARSENING, PATCH, Atoms, _patches

SIDE = 32


def films(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grainy films of mean 0 and deviation 1; half hold a ring or a cross of the same size, whose place is told."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, n)  # 0: ring, 1: cross, others: nothing
    middle = rng.integers(8, SIDE - 8, (n, 2))
    y, x = np.mgrid[:SIDE, :SIDE]
    drawn = rng.normal(size=(n, SIDE, SIDE)) * 0.15
    for number, (row, column) in enumerate(middle):
        away = np.hypot(y - row, x - column)
        if kind[number] == 0:
            drawn[number] += np.exp(-(((away - 4.0) / 1.2) ** 2))
        elif kind[number] == 1:
            drawn[number] += np.exp(-((np.minimum(abs(y - row), abs(x - column)) / 1.2) ** 2)) * (away < 6.0)
    drawn = (drawn - drawn.mean(axis=(1, 2), keepdims=True)) / drawn.std(axis=(1, 2), keepdims=True)
    return drawn.astype(np.float32), kind, middle


@pytest.fixture(scope="module")
def atoms() -> Atoms:
    return Atoms.learn(films(150)[0], n_atoms=30, n_features=12)


def test_the_same_films_teach_the_same_bits_with_any_number_of_threads(atoms: Atoms) -> None:
    with threadpool_limits(limits=2):
        again = Atoms.learn(films(150)[0], n_atoms=30, n_features=12)
    for name in ("filters", "offset", "typical", "mixing"):
        assert np.array_equal(getattr(again, name), getattr(atoms, name))


def test_what_was_learned_comes_back_from_json_with_the_same_bits(atoms: Atoms) -> None:
    again = Atoms.restore(json.loads(json.dumps(atoms.state())))
    some = films(5, seed=3)[0]
    assert np.array_equal(again.features(some), atoms.features(some))


def test_a_patch_is_standardised_and_lies_where_the_film_has_it() -> None:
    film = films(1)[0]
    found = _patches(film)
    half = film[0].reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
    by_hand = half[5 : 5 + PATCH, 6 : 6 + PATCH].ravel()
    by_hand = (by_hand - by_hand.mean()) / (by_hand.std() + 0.3)
    np.testing.assert_allclose(found[0, 5 + PATCH // 2, 6 + PATCH // 2], by_hand, atol=1e-5)


def test_films_are_read_one_by_one(atoms: Atoms) -> None:
    some = films(70, seed=4)[0]
    together = atoms.features(some)
    apart = np.concatenate([atoms.features(film[None]) for film in some])
    np.testing.assert_allclose(together.astype(float), apart.astype(float), atol=4e-3)
    assert together.shape == (70, 12, SIDE // COARSENING, SIDE // COARSENING)


def test_a_film_shifted_shows_the_same_elsewhere(atoms: Atoms) -> None:
    some = films(6, seed=5)[0]
    shifted = np.roll(some, (2 * COARSENING, COARSENING), axis=(1, 2))
    here, there = (atoms.features(one).astype(float) for one in (some, shifted))
    # Two places from every edge no patch reaches beyond the film, before and after.
    np.testing.assert_allclose(there[:, :, 4:6, 3:6], here[:, :, 2:4, 2:5], atol=4e-3)


def test_shapes_never_named_are_told_apart_by_a_line_on_atoms_and_not_on_pixels() -> None:
    learned = Atoms.learn(films(300)[0], n_atoms=60, n_features=30)

    def shapes(seed: int) -> tuple[np.ndarray, np.ndarray]:
        drawn, kind, _ = films(600, seed=seed)
        return drawn[kind < 2], kind[kind < 2]

    def share_right(read: Callable[[np.ndarray], np.ndarray]) -> float:
        (known, truth), (fresh, asked) = shapes(6), shapes(7)
        design, tested = (np.column_stack([read(drawn), np.ones(len(drawn))]) for drawn in (known, fresh))
        line = np.linalg.lstsq(design, 2.0 * truth - 1.0, rcond=None)[0]
        return float(((tested @ line > 0) == (asked == 1)).mean())

    assert share_right(lambda drawn: learned.features(drawn).astype(float).mean(axis=(2, 3))) > 0.85
    assert share_right(lambda drawn: drawn[:, ::2, ::2].reshape(len(drawn), -1)) < 0.65


@pytest.mark.parametrize("n", [1, 3])
def test_few_and_empty_films_teach_something_finite(n: int) -> None:
    learned = Atoms.learn(np.zeros((n, SIDE, SIDE), dtype=np.float32), n_atoms=10, n_features=4)
    assert np.isfinite(learned.features(films(4)[0]).astype(float)).all()
