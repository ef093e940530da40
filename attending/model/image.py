"""Films: a token per cell of a grid over each film.

What is found where is told by atoms learned from the training films without labels (`atoms.py`); a small network makes tokens
of it. Each film is standardised by itself, so exposure carries no information. Cells know their row and column, so side and
height do. Not a pretrained network: none may be fetched here. A film seen by somebody else's encoder comes as an `Embedding`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attending.case import Box, Case, Evidence, Place, Scan
from attending.evaluation.gate import Trait
from attending.model.atoms import COARSENING, FILMS, Atoms
from attending.model.modality import Encoder, ModalityConfig, Sketch, Tokenizer
from attending.model.tokens import Inputs, Tokens

STRIDE = 2 * COARSENING
"""Pixels of the resized film per cell of the grid: two by two places of the atoms."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig(ModalityConfig):
    """Films are fitted into a square of `side` pixels (a multiple of 8); of several films the latest `n_latest` are read.

    `n_features` numbers say which of `n_atoms` atoms are found at a place, and a network of width `hidden` reads them. In
    training what was found is shifted, scaled and turned by up to `jitter` of the film's side.
    """

    kind: ClassVar[type[Evidence]] = Scan
    side: int = 64
    n_latest: int = 2
    n_atoms: int = 100
    n_features: int = 64
    hidden: int = 128
    jitter: float = 0.06

    def __post_init__(self) -> None:
        if self.side % STRIDE or self.side <= 0:
            raise ValueError(f"side={self.side}: the side of a film is a positive multiple of {STRIDE} pixels")

    def fit(self, cases: Sequence[Case]) -> "ImageTokenizer | None":
        """The tokenizer; None when no case has a film."""
        counts = [len(case.of(Scan)) for case in cases]
        if not any(counts):
            return None
        scans = [scan for case in cases for scan in case.of(Scan)]
        names = {scan.field_name for scan in scans}
        films = np.stack([self.fitted(scan.pixels)[0] for scan in scans[:: -(-len(scans) // FILMS)]])
        return ImageTokenizer(
            config=self,
            atoms=Atoms.learn(films, n_atoms=self.n_atoms, n_features=self.n_features),
            n_films=min(max(counts), self.n_latest),
            is_visible=any(name in self.visible for name in names),
        )

    def restore(self, state: Mapping[str, Any]) -> "ImageTokenizer":
        """The tokenizer as it was fitted."""
        return ImageTokenizer(
            config=self,
            atoms=Atoms.restore(state["atoms"]),
            n_films=int(state["n_films"]),
            is_visible=bool(state["is_visible"]),
        )

    def fitted(self, pixels: Float[np.ndarray, "height width"]) -> tuple[np.ndarray, np.ndarray]:
        """A film resized, centred in the square, mean 0 and deviation 1 over the film; and which cells it covers."""
        fit = _fit_into(self.side, pixels.shape)
        raw = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))[None, None]
        small = nn.functional.interpolate(raw, (fit.height, fit.width), mode="bilinear", antialias=True)[0, 0].numpy()
        rows, columns = slice(fit.top, fit.top + fit.height), slice(fit.left, fit.left + fit.width)
        square, where = np.zeros((self.side, self.side), dtype=np.float32), np.zeros((self.side, self.side), dtype=bool)
        square[rows, columns] = (small - small.mean()) / max(float(small.std()), 1e-3)
        where[rows, columns] = True
        n = self.side // STRIDE
        return square, where.reshape(n, STRIDE, n, STRIDE).any(axis=(1, 3)).ravel()


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageInputs(Inputs):
    """What atoms are found where on each film, the cells that the film covers, and whether the film is there."""

    found: Float[Tensor, "case film feature row column"]
    covered: Bool[Tensor, "case film cell"]
    present: Bool[Tensor, "case film"]


@dataclass(frozen=True)
class _Fit:
    """How a film lies in its square: scale from film to square, and the offset of its corner in the square."""

    scale: float
    top: int
    left: int
    height: int
    width: int


def _fit_into(side: int, shape: tuple[int, ...]) -> _Fit:
    height, width = shape[:2]
    scale = side / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    return _Fit(scale, (side - new_height) // 2, (side - new_width) // 2, new_height, new_width)


class ImageTokenizer(Tokenizer):
    """Cells row by row, the latest film first."""

    def __init__(self, *, config: ImageConfig, atoms: Atoms, n_films: int, is_visible: bool) -> None:
        self.config, self.atoms, self.n_films, self.is_visible = config, atoms, n_films, is_visible
        self._n_cells = (config.side // STRIDE) ** 2

    def state(self) -> Mapping[str, Any]:
        """Films per case, and the atoms."""
        return {"n_films": self.n_films, "is_visible": self.is_visible, "atoms": self.atoms.state()}

    def _latest(self, case: Case) -> list[tuple[int, Scan]]:
        films = [(index, e) for index, e in enumerate(case.evidence) if isinstance(e, Scan)]
        return sorted(films, key=lambda entry: -entry[1].at)[: self.n_films]

    def read(self, cases: Sequence[Case]) -> ImageInputs:
        """What atoms are found on each film."""
        shape = (len(cases), self.n_films)
        fine = self.config.side // COARSENING
        found = np.zeros((*shape, self.atoms.mixing.shape[1], fine, fine), dtype=np.float16)
        covered, present = np.zeros((*shape, self._n_cells), dtype=bool), np.zeros(shape, dtype=bool)
        films, owners = [], []
        for row, case in enumerate(cases):
            for film, (_, scan) in enumerate(self._latest(case)):
                square, covered[row, film] = self.config.fitted(scan.pixels)
                present[row, film] = True
                films.append(square)
                owners.append((row, film))
        if films:
            found[tuple(np.transpose(owners))] = self.atoms.features(np.stack(films))
        return ImageInputs(found=torch.from_numpy(found), covered=torch.from_numpy(covered), present=torch.from_numpy(present))

    def places(self, case: Case) -> tuple[Place | None, ...]:
        """The box of each cell, in pixels of the film as it was given."""
        places: list[Place | None] = []
        for index, scan in self._latest(case):
            fit = _fit_into(self.config.side, scan.pixels.shape)
            height, width = scan.pixels.shape
            for top in range(0, self.config.side, STRIDE):
                for left in range(0, self.config.side, STRIDE):
                    box = Box(
                        top=int(np.clip((top - fit.top) / fit.scale, 0, height)),
                        left=int(np.clip((left - fit.left) / fit.scale, 0, width)),
                        bottom=int(np.clip(np.ceil((top + STRIDE - fit.top) / fit.scale), 0, height)),
                        right=int(np.clip(np.ceil((left + STRIDE - fit.left) / fit.scale), 0, width)),
                    )
                    is_empty = box.top >= box.bottom or box.left >= box.right
                    places.append(None if is_empty else Place(index, box))
        places += [None] * (self.n_films * self._n_cells - len(places))
        if self.is_visible:
            places.append(None if self._latest(case) else Place(-1))
        return tuple(places)

    def sketch(self, inputs: Inputs) -> Sketch:
        """What is found in each quarter of the latest film, and the most of it anywhere."""
        assert isinstance(inputs, ImageInputs)
        latest = inputs.found[:, 0].float()
        quarters = nn.functional.adaptive_avg_pool2d(latest, 2).flatten(start_dim=1)
        values = torch.cat([quarters, latest.amax(dim=(2, 3))], dim=1)
        there = inputs.present[:, 0]
        return Sketch(values=(values * there.unsqueeze(-1)).numpy(), there=there.numpy())

    def traits(self, cases: Sequence[Case], inputs: Inputs) -> Mapping[str, Trait]:
        """The latest film, by its sketch."""
        sketch = self.sketch(inputs)
        return {"image": Trait(values=sketch.values, there=sketch.there)}

    def build(self, dim: int) -> "ImageEncoder":
        """A network for each cell, grid positions and, where absence is visible, its token."""
        return ImageEncoder(dim=dim, n_features=self.atoms.mixing.shape[1], config=self.config, is_visible=self.is_visible)


class ImageEncoder(Encoder):
    """What is found on a film → grid of tokens."""

    def __init__(self, *, dim: int, n_features: int, config: ImageConfig, is_visible: bool) -> None:
        super().__init__()
        self.jitter, self.is_visible = config.jitter, is_visible
        self.cells = nn.Sequential(
            nn.Conv2d(n_features, config.hidden, 1), nn.GELU(), nn.AvgPool2d(2), nn.Conv2d(config.hidden, dim, 1)
        )
        n = config.side // STRIDE
        self.row = nn.Parameter(torch.randn(n, 1, dim) * 0.3 * dim**-0.5)
        self.column = nn.Parameter(torch.randn(1, n, dim) * 0.3 * dim**-0.5)
        self.missing = nn.Parameter(torch.randn(dim) * dim**-0.5)

    def forward(self, inputs: Inputs) -> Tokens:
        """Cells of each film in turn; a film that is not there gives tokens that are not seen."""
        assert isinstance(inputs, ImageInputs)
        n_films = inputs.found.shape[1]
        films = rearrange(inputs.found, "c f d h w -> (c f) d h w").float()
        if self.training and self.jitter:
            films = _jittered(films, self.jitter)
        grid = rearrange(self.cells(films), "b d h w -> b h w d") + self.row + self.column
        values = rearrange(grid, "(c f) h w d -> c (f h w) d", f=n_films)
        seen = rearrange(inputs.present.unsqueeze(-1) & inputs.covered, "c f s -> c (f s)")
        if self.is_visible:
            nothing = ~inputs.present.any(dim=1, keepdim=True)
            values = torch.cat([values, self.missing.expand(len(values), 1, -1)], dim=1)
            seen = torch.cat([seen, nothing], dim=1)
        return Tokens(values=values, seen=seen)

    def summary(self, tokens: Tokens) -> Float[Tensor, "case dim"]:
        """The mean cell."""
        return super().summary(tokens) / tokens.seen.sum(dim=1, keepdim=True).clamp(min=1)


def _jittered(films: Float[Tensor, "film feature row column"], amount: float) -> Float[Tensor, "film feature row column"]:
    """Each film shifted by up to `amount` of its side, scaled and turned a little: never mirrored, side is a finding."""
    n = len(films)
    angle, scale = (torch.rand(2, n, device=films.device) * 2 - 1) * amount
    shift = (torch.rand(n, 2, device=films.device) * 2 - 1) * 2 * amount
    cos, sin = torch.cos(angle) * (1 + scale), torch.sin(angle) * (1 + scale)
    turn = torch.stack([torch.stack([cos, -sin, shift[:, 0]], -1), torch.stack([sin, cos, shift[:, 1]], -1)], dim=1)
    grid = nn.functional.affine_grid(turn, list(films.shape), align_corners=False)
    return nn.functional.grid_sample(films, grid, align_corners=False, padding_mode="border")
