"""Film features learned without labels: which of a hundred typical small patterns is found where.

Two thousand films with four labels teach a convolution to find what is unusual, but not to tell one shadow from another that
says nearly the same; patterns learned from the films alone do that before any label is seen (journal, "Clinic, fourth round").
Patches are standardised, whitened and gathered into atoms by k-means; a patch answers to an atom by how far it exceeds a
threshold (Coates, Ng & Lee 2011, "An analysis of single-layer networks in unsupervised feature learning"; the threshold: Coates
& Ng 2011, "The importance of encoding versus training"). Not a network, and nothing here is trained afterwards.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

PATCH = 7
"""Side of a patch, in pixels of the halved film."""
COARSENING = 4
"""Pixels of the film per place where atoms are told: the film is halved, and answers are averaged by twos."""
_FLOOR = 0.3
"""Added to a patch's deviation, so that grain is not blown up where a film is flat. Films have deviation 1."""
_WHITENING = 0.1
"""Added to the variances of patches when they are whitened."""
_THRESHOLD = 1.0
FILMS = 800
"""Films that suffice to learn atoms from."""
_PATCHES, _SURVEYED = 64_000, 400
"""Patches that atoms are gathered from, and films over which their answers are surveyed."""
_ROUNDS = 25
_AT_ONCE = 32
"""Films whose patches are held at once."""

Films = Float[np.ndarray, "film side side"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Atoms:
    """Linear filters for standardised patches, and the main directions of what they answer."""

    filters: Float[np.ndarray, "pixel atom"]
    offset: Float[np.ndarray, " atom"]
    typical: Float[np.ndarray, " atom"]
    mixing: Float[np.ndarray, "atom feature"]

    @classmethod
    def learn(cls, films: Films, *, n_atoms: int, n_features: int) -> "Atoms":
        """From films of mean 0 and deviation 1. The same films give the same bits, whatever the number of threads."""
        rng = np.random.default_rng(0)
        with threadpool_limits(limits=1):
            patches = _sampled(films, rng, n=_PATCHES)
            mean = patches.mean(axis=0)
            spread, directions = np.linalg.eigh(np.cov((patches - mean).T.astype(float)))
            whitening = (directions / np.sqrt(np.maximum(spread, 0.0) + _WHITENING)) @ directions.T
            atoms = _gathered(((patches - mean) @ whitening).astype(np.float32), n_atoms, rng)
            filters = (whitening @ atoms.T).astype(np.float32)
            offset = (mean @ filters + _THRESHOLD).astype(np.float32)
            surveyed = films[:: -(-len(films) // _SURVEYED)]
            typical, mixing = _directions(np.concatenate(list(_answers(surveyed, filters, offset))), n_features)
        return cls(filters=filters, offset=offset, typical=typical, mixing=mixing)

    def features(self, films: Films) -> Float[np.ndarray, "film feature row column"]:
        """What is found where, a place for every `COARSENING` pixels, in half precision."""
        parts = [
            np.moveaxis((said - self.typical) @ self.mixing, -1, 1).astype(np.float16)
            for said in _answers(films, self.filters, self.offset)
        ]
        side = films.shape[-1] // COARSENING
        return np.concatenate(parts) if parts else np.zeros((0, self.mixing.shape[1], side, side), dtype=np.float16)

    def state(self) -> Mapping[str, Any]:
        """The arrays as lists; reading them back gives the same bits."""
        return {name: getattr(self, name).tolist() for name in ("filters", "offset", "typical", "mixing")}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> "Atoms":
        """What `state` wrote."""
        arrays = {name: np.asarray(value, dtype=np.float32) for name, value in state.items()}
        return cls(**arrays)


def _patches(films: Films) -> Float[np.ndarray, "film row column pixel"]:
    """Every patch of the halved films, less its mean, by its deviation."""
    n, side, _ = films.shape
    half = films.reshape(n, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    edge = PATCH // 2
    padded = np.pad(half, ((0, 0), (edge, edge), (edge, edge)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(1, 2))
    patches = windows.reshape(n, side // 2, side // 2, PATCH**2).astype(np.float32)
    patches -= patches.mean(axis=-1, keepdims=True)
    patches /= patches.std(axis=-1, keepdims=True) + _FLOOR
    return patches


def _answers(films: Films, filters: np.ndarray, offset: np.ndarray) -> Iterator[Float[np.ndarray, "film row column atom"]]:
    """How far each patch exceeds each atom's threshold, averaged over two by two patches; some films at a time."""
    for start in range(0, len(films), _AT_ONCE):
        said = _patches(films[start : start + _AT_ONCE]) @ filters
        said -= offset
        np.maximum(said, 0.0, out=said)
        n, side, _, n_atoms = said.shape
        yield said.reshape(n, side // 2, 2, side // 2, 2, n_atoms).mean(axis=(2, 4))


def _sampled(films: Films, rng: np.random.Generator, *, n: int) -> Float[np.ndarray, "patch pixel"]:
    """About `n` patches, as many of each film."""
    places = (films.shape[1] // 2) ** 2
    per_film = min(places, -(-n // len(films)))
    found = []
    for start in range(0, len(films), _AT_ONCE):
        for film in _patches(films[start : start + _AT_ONCE]).reshape(-1, places, PATCH**2):
            found.append(film[rng.choice(places, per_film, replace=False)])
    return np.concatenate(found)


def _gathered(patches: Float[np.ndarray, "patch pixel"], n_atoms: int, rng: np.random.Generator) -> np.ndarray:
    """Centres of k-means (Lloyd), of length 1. A centre that nothing is nearest to stays where it is."""
    centres = patches[rng.choice(len(patches), n_atoms, replace=len(patches) < n_atoms)].copy()
    for _ in range(_ROUNDS):
        nearest = (patches @ centres.T - 0.5 * (centres**2).sum(axis=1)).argmax(axis=1)
        counts = np.bincount(nearest, minlength=n_atoms)
        order = np.argsort(nearest, kind="stable")
        filled = np.flatnonzero(counts)
        sums = np.add.reduceat(patches[order], np.concatenate([[0], np.cumsum(counts[filled])[:-1]]), axis=0)
        centres[filled] = sums / counts[filled, None]
    return centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-6)


def _directions(said: Float[np.ndarray, "film row column atom"], n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean answer, and the main directions of standardised answers; the first of them has deviation 2."""
    flat = said.reshape(-1, said.shape[-1]).astype(float)
    mean, deviation = flat.mean(axis=0), flat.std(axis=0) + 1e-4
    spread, directions = np.linalg.eigh(np.cov(((flat - mean) / deviation).T))
    mixing = directions[:, ::-1][:, :n_features] / deviation[:, None] * (2.0 / np.sqrt(max(spread[-1], 1e-6)))
    return mean.astype(np.float32), mixing.astype(np.float32)
