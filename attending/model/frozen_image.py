"""Films through somebody else's encoder, which stays as it is: a token per cell of a grid over each film.

The film is prepared as the encoder was trained (stretched to its square, its mean and deviation); the states of its patches are
averaged to a grid of at most `MOST_CELLS` a side. They are computed once per film and kept in float16, like those of notes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor, nn

from attending.case import Box, Case, Evidence, Place, Scan
from attending.evaluation.gate import Trait
from attending.model.embedding_cache import EmbeddingCache, States, one_thread
from attending.model.modality import Encoder, ModalityConfig, Tokenizer
from attending.model.pretrained import IMAGE_FILES, IMAGE_PREPARATION, EncoderError, find_encoder
from attending.model.tokens import Inputs, Tokens
from attending.model.vit import Vit, VitConfig

MOST_CELLS = 8


@dataclass(frozen=True, kw_only=True)
class FrozenImageConfig(ModalityConfig):
    """`encoder` is a local folder with a vision transformer; `digest` is what `find_encoder` says of it and must say again.

    Of several films the latest `n_latest` are read. `cache` is a folder for the states, which hold what the films show.
    """

    kind: ClassVar[type[Evidence]] = Scan
    encoder: str
    digest: str
    n_latest: int = 2
    cache: str | None = None

    def fit(self, cases: Sequence[Case]) -> "FrozenImageTokenizer | None":
        """The tokenizer; None when no case has a film."""
        counts = [len(case.of(Scan)) for case in cases]
        names = {scan.field_name for case in cases for scan in case.of(Scan)}
        if not names:
            return None
        is_visible = any(name in self.visible for name in names)
        return FrozenImageTokenizer(config=self, n_films=min(max(counts), self.n_latest), is_visible=is_visible)

    def restore(self, state: Mapping[str, Any]) -> "FrozenImageTokenizer":
        """The tokenizer as it was fitted. Raises `EncoderError` where the encoder is not there any more."""
        return FrozenImageTokenizer(config=self, n_films=int(state["n_films"]), is_visible=bool(state["is_visible"]))


class FrozenViewer:
    """An encoder that only looks."""

    def __init__(self, name: str, *, digest: str, cache: str | None) -> None:
        folder = find_encoder(name, needed=IMAGE_FILES, digest=digest)
        self.sizes = VitConfig.from_architecture(folder.architecture)
        try:
            prepared = folder.plain(IMAGE_PREPARATION)
            self._mean, self._deviation = (
                torch.tensor(prepared[key], dtype=torch.float32)[:, None, None] for key in ("image_mean", "image_std")
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise EncoderError(f"{name}: {IMAGE_PREPARATION} states no image_mean and image_std per channel") from error
        with torch.random.fork_rng(devices=[]):
            self._network = Vit(self.sizes).eval()
        self._network.load_hub_weights(folder.weights())
        self._pool = ceil(self.sizes.n_cells / MOST_CELLS)
        self.n_cells = ceil(self.sizes.n_cells / self._pool)
        self._cache = EmbeddingCache(encoder=digest, folder=None if cache is None else Path(cache))

    def states(self, scan: Scan) -> States:
        """A state per cell, row by row."""
        pixels = np.ascontiguousarray(scan.pixels, dtype=np.float32)
        return self._cache.states(str(pixels.shape).encode() + pixels.tobytes(), lambda: self._look(pixels))

    def _look(self, pixels: Float[np.ndarray, "height width"]) -> States:
        with one_thread():
            side = self.sizes.side
            square = nn.functional.interpolate(
                torch.from_numpy(pixels)[None, None], (side, side), mode="bilinear", antialias=True
            )[0]
            picture = (square.expand(self.sizes.n_channels, -1, -1) - self._mean) / self._deviation
            states = self._network(picture[None])
            grid = states.transpose(1, 2).unflatten(2, (self.sizes.n_cells, self.sizes.n_cells))
            pooled = nn.functional.avg_pool2d(grid, self._pool, ceil_mode=True)
            return pooled[0].flatten(1).T.numpy().astype(np.float16)

    def boxes(self, shape: tuple[int, ...]) -> list[Box]:
        """What each cell covers of a film of `shape` (height, width), in its pixels."""
        starts, stops = ([self._edges(length)[which] for length in shape] for which in (0, 1))
        return [
            Box(top=starts[0][row], left=starts[1][column], bottom=stops[0][row], right=stops[1][column])
            for row in range(self.n_cells)
            for column in range(self.n_cells)
        ]

    def _edges(self, length: int) -> tuple[list[int], list[int]]:
        """First and last pixel (exclusive) of each cell along a side of `length` pixels."""
        n = self.sizes.n_cells
        patches = [min(cell * self._pool, n) for cell in range(self.n_cells + 1)]
        return [edge * length // n for edge in patches[:-1]], [-(-edge * length // n) for edge in patches[1:]]


@lru_cache(maxsize=2)
def _viewer(name: str, digest: str, cache: str | None) -> FrozenViewer:
    """One per process: the weights are large and every fit asks for them."""
    return FrozenViewer(name, digest=digest, cache=cache)


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmStates(Inputs):
    """States of all films one after the other, and which of them are each case's (those not `present` point anywhere)."""

    states: Float16[Tensor, "film cell width"]
    film: Int[Tensor, "case slot"]
    present: Bool[Tensor, "case slot"]

    def rows(self, index: Tensor) -> "FilmStates":
        """The cases at `index`; the states stay where they are."""
        return replace(self, film=self.film[index], present=self.present[index])


class FrozenImageTokenizer(Tokenizer):
    """Cells row by row, the latest film first."""

    def __init__(self, *, config: FrozenImageConfig, n_films: int, is_visible: bool) -> None:
        self.config, self.n_films, self.is_visible = config, n_films, is_visible
        self.viewer = _viewer(config.encoder, config.digest, config.cache)

    def state(self) -> Mapping[str, Any]:
        """Films per case; the encoder is known by the config's digest."""
        return {"n_films": self.n_films, "is_visible": self.is_visible}

    def _latest(self, case: Case) -> list[tuple[int, Scan]]:
        films = [(index, e) for index, e in enumerate(case.evidence) if isinstance(e, Scan)]
        return sorted(films, key=lambda entry: -entry[1].at)[: self.n_films]

    def read(self, cases: Sequence[Case]) -> FilmStates:
        """The encoder's states of each film."""
        n_cells, width = self.viewer.n_cells**2, self.viewer.sizes.dim
        states = [np.zeros((n_cells, width), dtype=np.float16)]  # for those that are not there to point at
        film = torch.zeros(len(cases), self.n_films, dtype=torch.long)
        present = torch.zeros(len(cases), self.n_films, dtype=torch.bool)
        for row, case in enumerate(cases):
            for slot, (_, scan) in enumerate(self._latest(case)):
                film[row, slot], present[row, slot] = len(states), True
                states.append(self.viewer.states(scan))
        return FilmStates(states=torch.from_numpy(np.stack(states)), film=film, present=present)

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The box of each cell, in pixels of the film as it was given."""
        latest = self._latest(case)
        found: list[Place | None] = [
            Place(index, box) for index, scan in latest for box in self.viewer.boxes(scan.pixels.shape)
        ]
        found += [None] * (self.n_films * self.viewer.n_cells**2 - len(found))
        return (*found, *([None if latest else Place(-1)] if self.is_visible else []))

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """The mean state of the latest film."""
        assert isinstance(inputs, FilmStates)
        means = inputs.states.float().mean(dim=1).double().numpy()
        return {"image": Trait(values=means[inputs.film[:, 0].numpy()], there=inputs.present[:, 0].numpy())}

    def build(self, dim: int) -> "FrozenImageEncoder":
        """A map from the encoder's width to `dim`."""
        return FrozenImageEncoder(width=self.viewer.sizes.dim, dim=dim, is_visible=self.is_visible)


class FrozenImageEncoder(Encoder):
    """States → tokens; the encoder's states know their place in the film already."""

    def __init__(self, *, width: int, dim: int, is_visible: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dim)
        self.missing = nn.Parameter(torch.randn(dim) * dim**-0.5) if is_visible else None

    def forward(self, inputs: Inputs) -> Tokens:
        """Cells of each film in turn; a film that is not there gives tokens that are not seen."""
        assert isinstance(inputs, FilmStates)
        values = self.project(self.norm(inputs.states[inputs.film].float())).flatten(1, 2)
        seen = inputs.present.repeat_interleave(inputs.states.shape[1], dim=1)
        if self.missing is not None:
            values = torch.cat([values, self.missing.expand(len(values), 1, -1)], dim=1)
            seen = torch.cat([seen, ~inputs.present.any(dim=1, keepdim=True)], dim=1)
        return Tokens(values=values, seen=seen)

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """The mean cell."""
        return super().summary(tokens) / tokens.seen.sum(dim=1, keepdim=True).clamp(min=1)
