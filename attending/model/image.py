"""Films: a token per cell of a grid over each film.

A small convolutional stem that starts from fixed edge and blob filters, because a few hundred films do not teach those; each
film is standardised by itself, so exposure carries no information. Cells know their row and column, so side and height do.
Not a pretrained network: none may be fetched here. A film seen by somebody else's encoder comes as an `Embedding`.
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
from attending.model.modality import Encoder, ModalityConfig, Tokenizer
from attending.model.tokens import Inputs, Tokens

STRIDE = 8
"""Pixels of the resized film per cell of the grid: three convolutions of stride 2."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig(ModalityConfig):
    """Films are fitted into a square of `side` pixels (a multiple of 8); of several films the latest `n_latest` are read.

    `channels` is the width of the stem, `depth` the residual convolutions after each of its strides. In training a film is
    shifted, scaled and turned by up to `jitter` of its side.
    """

    kind: ClassVar[type[Evidence]] = Scan
    side: int = 64
    n_latest: int = 2
    channels: int = 32
    depth: int = 0
    jitter: float = 0.06

    def __post_init__(self) -> None:
        if self.side % STRIDE or self.side <= 0:
            raise ValueError(f"side={self.side}: the side of a film is a positive multiple of {STRIDE} pixels")

    def fit(self, cases: Sequence[Case]) -> "ImageTokenizer | None":
        """The tokenizer; None when no case has a film."""
        counts = [len(case.of(Scan)) for case in cases]
        if not any(counts):
            return None
        names = {scan.field_name for case in cases for scan in case.of(Scan)}
        return ImageTokenizer(
            config=self, n_films=min(max(counts), self.n_latest), is_visible=any(name in self.visible for name in names)
        )

    def restore(self, state: Mapping[str, Any]) -> "ImageTokenizer":
        """The tokenizer as it was fitted."""
        return ImageTokenizer(config=self, n_films=int(state["n_films"]), is_visible=bool(state["is_visible"]))


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageInputs(Inputs):
    """Standardised films, the part of each square that film covers, and whether the film is there."""

    pixels: Float[Tensor, "case film side side"]
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

    def __init__(self, *, config: ImageConfig, n_films: int, is_visible: bool) -> None:
        self.config, self.n_films, self.is_visible = config, n_films, is_visible
        self._n_cells = (config.side // STRIDE) ** 2

    def state(self) -> Mapping[str, Any]:
        """Films per case."""
        return {"n_films": self.n_films, "is_visible": self.is_visible}

    def _latest(self, case: Case) -> list[tuple[int, Scan]]:
        films = [(index, e) for index, e in enumerate(case.evidence) if isinstance(e, Scan)]
        return sorted(films, key=lambda entry: -entry[1].at)[: self.n_films]

    def read(self, cases: Sequence[Case]) -> ImageInputs:
        """Films resized, centred in the square, mean 0 and deviation 1 over the film."""
        side, n = self.config.side, self.n_films
        pixels = torch.zeros(len(cases), n, side, side)
        covered = torch.zeros(len(cases), n, self._n_cells, dtype=torch.bool)
        present = torch.zeros(len(cases), n, dtype=torch.bool)
        for row, case in enumerate(cases):
            for film, (_, scan) in enumerate(self._latest(case)):
                fit = _fit_into(side, scan.pixels.shape)
                raw = torch.from_numpy(np.ascontiguousarray(scan.pixels, dtype=np.float32))[None, None]
                small = nn.functional.interpolate(raw, (fit.height, fit.width), mode="bilinear", antialias=True)[0, 0]
                small = (small - small.mean()) / small.std(correction=0).clamp(min=1e-3)
                rows, columns = slice(fit.top, fit.top + fit.height), slice(fit.left, fit.left + fit.width)
                pixels[row, film, rows, columns] = small
                where = torch.zeros(1, 1, side, side)
                where[0, 0, rows, columns] = 1.0
                covered[row, film] = (nn.functional.avg_pool2d(where, STRIDE) > 0).flatten()
                present[row, film] = True
        return ImageInputs(pixels=pixels, covered=covered, present=present)

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

    def build(self, dim: int) -> "ImageEncoder":
        """Stem, grid positions and, where absence is visible, its token."""
        return ImageEncoder(dim=dim, config=self.config, is_visible=self.is_visible)


class ImageEncoder(Encoder):
    """Film → grid of tokens."""

    def __init__(self, *, dim: int, config: ImageConfig, is_visible: bool) -> None:
        super().__init__()
        self.jitter, self.is_visible = config.jitter, is_visible
        c = config.channels
        first = nn.Conv2d(1, c, 5, stride=2, padding=2)
        _start_from_edges(first)
        self.stem = nn.Sequential(
            first,
            nn.GroupNorm(4, c),
            nn.GELU(),
            *(_Residual(c) for _ in range(config.depth)),
            nn.Conv2d(c, c, 3, stride=2, padding=1),
            nn.GroupNorm(4, c),
            nn.GELU(),
            *(_Residual(c) for _ in range(config.depth)),
            nn.Conv2d(c, 2 * c, 3, stride=2, padding=1),
            nn.GroupNorm(4, 2 * c),
            nn.GELU(),
            *(_Residual(2 * c) for _ in range(config.depth)),
            nn.Conv2d(2 * c, dim, 1),
        )
        self.stem.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on a CPU
        cells = config.side // STRIDE
        self.row = nn.Parameter(torch.randn(cells, 1, dim) * 0.3 * dim**-0.5)
        self.column = nn.Parameter(torch.randn(1, cells, dim) * 0.3 * dim**-0.5)
        self.missing = nn.Parameter(torch.randn(dim) * dim**-0.5)

    def forward(self, inputs: Inputs) -> Tokens:
        """Cells of each film in turn; a film that is not there gives tokens that are not seen."""
        assert isinstance(inputs, ImageInputs)
        n_films = inputs.pixels.shape[1]
        films = rearrange(inputs.pixels, "c f h w -> (c f) 1 h w")
        if self.training and self.jitter:
            films = _jittered(films, self.jitter)
        cells = self.stem(films.contiguous(memory_format=torch.channels_last))
        grid = rearrange(cells, "b d h w -> b h w d") + self.row + self.column
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


class _Residual(nn.Module):
    """x + convolution of x, at the same size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(4, channels), nn.GELU(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Float[Tensor, "film channel row column"]) -> Float[Tensor, "film channel row column"]:
        """The same film features, refined."""
        return x + self.change(x)


def _start_from_edges(convolution: nn.Conv2d) -> None:
    """Start a first layer from oriented derivatives and blobs of Gaussians at two scales; training moves them freely."""
    y, x = np.mgrid[-2:3, -2:3].astype(float)
    filters = []
    for sigma in (0.8, 1.4):
        g = np.exp(-(x**2 + y**2) / (2 * sigma**2))
        filters += [(np.cos(t) * x + np.sin(t) * y) * g for t in np.linspace(0, np.pi, 4, endpoint=False)]
        filters += [g, g - g.mean(), (x**2 - sigma**2) * g, (y**2 - sigma**2) * g]
    with torch.no_grad():
        for channel in range(convolution.out_channels):
            chosen = filters[channel % len(filters)]
            sign = 1.0 if (channel // len(filters)) % 2 == 0 else -1.0
            scaled = torch.from_numpy(sign * chosen / np.linalg.norm(chosen)).float()
            convolution.weight[channel, 0] = scaled + 0.02 * torch.randn_like(scaled)


def _jittered(films: Float[Tensor, "film 1 side side"], amount: float) -> Float[Tensor, "film 1 side side"]:
    """Each film shifted by up to `amount` of its side, scaled and turned a little: never mirrored, side is a finding."""
    n = len(films)
    angle, scale = (torch.rand(2, n, device=films.device) * 2 - 1) * amount
    shift = (torch.rand(n, 2, device=films.device) * 2 - 1) * 2 * amount
    cos, sin = torch.cos(angle) * (1 + scale), torch.sin(angle) * (1 + scale)
    turn = torch.stack([torch.stack([cos, -sin, shift[:, 0]], -1), torch.stack([sin, cos, shift[:, 1]], -1)], dim=1)
    grid = nn.functional.affine_grid(turn, list(films.shape), align_corners=False)
    return nn.functional.grid_sample(films, grid, align_corners=False, padding_mode="border")
