"""Chest films: a healthy chest (`chest.py`), the shadows asked for with their masks, electrodes, and how it was exposed.

Whole batches are drawn at once, in coordinates that do not know the film's size, so any size shows the same patient. A film is
a pure function of its case's random numbers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.records.clinic import chest
from attending.records.clinic.chest import Field, soft_step
from attending.records.clinic.config import ClinicConfig, Style
from attending.records.clinic.cues import Cues
from attending.records.clinic.streams import Streams
from attending.records.clinic.world import SHADOWS

BATCH = 128
"""Films drawn at once; small enough that a field of them stays in the processor's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Films:
    """Grey values in whole 255ths, and where each shadow of `SHADOWS` lies (empty where it is not there)."""

    pixels: Float[np.ndarray, "case height width"]
    masks: Bool[np.ndarray, "case shadow height width"]


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """A way of making films: how ribs show, the curve of grey values, grain, and the fall of light from one edge."""

    rib_contrast: float
    gamma: float
    grain: float
    fall_x: float = 0.0
    fall_y: float = 0.0
    frame: float = 0.0


EXPOSURES: dict[Style, tuple[Exposure, ...]] = {
    "development": (
        Exposure(rib_contrast=0.055, gamma=1.0, grain=0.016),
        Exposure(rib_contrast=0.040, gamma=1.2, grain=0.022, fall_y=0.06),
        Exposure(rib_contrast=0.070, gamma=0.9, grain=0.012, frame=0.02),
    ),
    "fresh": (
        Exposure(rib_contrast=0.048, gamma=1.1, grain=0.020, fall_x=0.07),
        Exposure(rib_contrast=0.062, gamma=0.85, grain=0.014, fall_x=-0.05, fall_y=-0.04, frame=0.03),
    ),
}


def draw_films(
    config: ClinicConfig,
    streams: Streams,
    *,
    rows: Int[np.ndarray, " case"],
    shadows: Bool[np.ndarray, "case shadow"],
    site: Int[np.ndarray, " case"],
    cues: Cues,
) -> Films:
    """One film per row with the shadows and cues asked for."""
    size = config.film_size
    pixels = np.zeros((len(rows), size, size), dtype=np.float32)
    masks = np.zeros((len(rows), len(SHADOWS), size, size), dtype=bool)
    ways = EXPOSURES[config.style]
    way = (streams.uniform(f"film style {config.style}", rows, 1)[:, 0] * len(ways)).astype(int)
    for number, exposure in enumerate(ways):
        chosen = np.flatnonzero(way == number)
        for start in range(0, len(chosen), BATCH):
            part = chosen[start : start + BATCH]
            sheet = _Sheet(streams, rows[part], size)
            film = chest.chest(sheet.x, sheet.y, sheet.uniform("film body", chest.DRAWS), rib_contrast=exposure.rib_contrast)
            masks[part] = _cast(film, sheet, shadows[part])
            film = film + _electrodes(sheet)
            site_contrast = config.site_shift.contrast * np.array([0.0, 0.35, -0.25])[site[part]]
            grey = _expose(film, exposure, sheet, site_contrast.astype(np.float32))
            grey = np.where(cues.mark[part][:, None, None], np.maximum(grey, _letter(sheet)), grey)
            grey = grey + cues.brightness[part][:, None, None]
            grey = grey * np.where(cues.saturated[part], 3.0, 1.0)[:, None, None]
            pixels[part] = np.round(np.clip(grey, 0.0, 1.0) * 255.0) / 255.0
    return Films(pixels=pixels, masks=masks)


class _Sheet:
    """A batch of films: its random numbers and the coordinates of each patient, who stands shifted, turned and scaled."""

    def __init__(self, streams: Streams, rows: Int[np.ndarray, " film"], size: int) -> None:
        self.streams, self.rows, self.size = streams, rows, size
        place = self.uniform("film place", 4)
        grid = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
        self.page_y, self.page_x = grid[None, :, None], grid[None, None, :]
        turn, scale = (place[:, 0] - 0.5) * 0.10, 1.0 + (place[:, 1] - 0.5) * 0.12
        x, y = self.page_x - (place[:, 2] - 0.5) * 0.08, self.page_y - (place[:, 3] - 0.5) * 0.08
        self.x, self.y = (x + turn * y) / scale, (y - turn * x) / scale

    def uniform(self, name: str, draws: int) -> Float[np.ndarray, "film draw 1 1"]:
        return self.streams.uniform(name, self.rows, draws).astype(np.float32)[:, :, None, None]


def _cast(film: Field, sheet: _Sheet, shadows: Bool[np.ndarray, "film shadow"]) -> Bool[np.ndarray, "film shadow height width"]:
    """Cast the shadows on the films (in place) and return where they lie. Where it is dense already, a shadow shows less."""
    masks = np.zeros((len(film), len(SHADOWS), *film.shape[1:]), dtype=bool)
    for place, name in enumerate(SHADOWS):
        chosen = np.flatnonzero(shadows[:, place])
        if len(chosen):
            u = sheet.uniform(f"shadow {name}", 8)[chosen]
            density, extent = _PAINTERS[name](sheet.x[chosen], sheet.y[chosen], u)
            covered = np.minimum(density * (0.75 + 0.25 * u[:, 7]), 0.95)
            film[chosen] += covered * np.clip(0.74 - film[chosen], 0.0, None)
            masks[chosen, place] = extent > 0.0
    return masks


# A painter gives the density of a shadow, and a field that is positive over its extent with a margin of 2 hundredths of a film.


def _spot(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A place inside a lung and clear of the heart: (x, y) of shape [film, 1, 1]."""
    is_left = u[:, 0] < 0.5
    return np.where(is_left, 1.0, -1.0) * (0.23 + 0.08 * (u[:, 1] - 0.5)), -0.20 + np.where(is_left, 0.24, 0.32) * u[:, 2]


def _patch(x: Field, y: Field, u: np.ndarray) -> tuple[Field, Field]:
    """Airspace shadow: a soft, clotted cloud."""
    cx, cy = _spot(u)
    radius = 0.080 + 0.025 * u[:, 3]
    clots = sum(
        0.28
        * np.sin(k * (40 * x + 20 * u[:, 4]) + 5 * np.sin(19 * y + k))
        * np.sin(k * (43 * y + 20 * u[:, 5]) + 5 * np.sin(17 * x))
        for k in (1.0, 1.7, 2.6)
    )
    distance = ((x - cx) ** 2 + ((y - cy) / (0.8 + 0.4 * u[:, 6])) ** 2) / radius**2
    return np.exp(-(distance**2)) * (1.0 + clots), 1.6 - distance


def _nodule(x: Field, y: Field, u: np.ndarray) -> tuple[Field, Field]:
    """A round, sharp mass with a slightly bumpy edge."""
    cx, cy = _spot(u)
    radius = 0.062 + 0.018 * u[:, 3]
    angle = np.arctan2(y - cy, x - cx)
    distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2) / (
        1.0 + 0.04 * np.sin(3 * angle + 6 * u[:, 4]) + 0.03 * np.sin(7 * angle)
    )
    return 1.25 * soft_step(radius - distance, 0.012), radius + 0.025 - distance


def _mesh(x: Field, y: Field, u: np.ndarray) -> tuple[Field, Field]:
    """Reticular shadow: fine crossing lines with dark lung between them."""
    cx, cy = _spot(u)
    radius = 0.090 + 0.015 * u[:, 3]
    distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
    period = 0.062 + 0.008 * u[:, 4]
    lines = np.maximum(*(np.cos((x + way * y + 0.3 * u[:, 5]) * (2 * np.pi / (1.41 * period))) for way in (1.0, -1.0)))
    return 1.25 * (soft_step(lines - 0.55, 0.5) - 0.08) * soft_step(radius - distance, 0.02), radius + 0.02 - distance


def _band(x: Field, y: Field, u: np.ndarray) -> tuple[Field, Field]:
    """Three thin parallel lines across the lung."""
    cx, cy = _spot(u)
    along, across = x - cx, y - cy - (u[:, 3] - 0.5) * 0.5 * (x - cx)
    lines = np.exp(-(((np.mod(across + 0.0325, 0.065) - 0.0325) / 0.016) ** 2)) * soft_step(0.09 - np.abs(across), 0.01)
    return 1.35 * lines * soft_step(0.09 - np.abs(along), 0.015), np.minimum(0.105 - np.abs(along), 0.105 - np.abs(across))


_PAINTERS = {"patch": _patch, "mesh": _mesh, "band": _band, "nodule": _nodule}


def _electrodes(sheet: _Sheet) -> Field:
    """Rings with a wire, anywhere on the chest of most patients: bright, and no finding."""
    u = sheet.uniform("film electrodes", 8)
    total = np.zeros(sheet.x.shape, dtype=np.float32)
    for k in range(2):
        x, y = sheet.x - 0.7 * (u[:, 3 * k + 1] - 0.5), sheet.y - 0.6 * (u[:, 3 * k + 2] - 0.5)
        ring = np.exp(-(((np.sqrt(x**2 + y**2) - 0.028) / 0.009) ** 2))
        wire = np.exp(-(((y - 3.0 * x**2) / 0.006) ** 2)) * soft_step(x * (1 - 2 * k) - 0.03, 0.01) * 0.4
        total = total + (u[:, 3 * k] < 0.3) * 0.22 * (ring + wire)
    return total


def _expose(film: Field, exposure: Exposure, sheet: _Sheet, site_contrast: Float[np.ndarray, " film"]) -> Field:
    """Grey values of a density."""
    size = sheet.size
    v = sheet.uniform("film exposure", 2)
    grain = sheet.streams.normal("film grain", sheet.rows, size * size).astype(np.float32).reshape(-1, size, size)
    film = film + exposure.fall_x * sheet.page_x + exposure.fall_y * sheet.page_y + exposure.grain * grain
    contrast = 0.95 + 0.35 * (v[:, 0] - 0.5) + site_contrast[:, None, None]
    film = np.clip(0.42 + (film - 0.40) * contrast + (v[:, 1] - 0.5) * 0.14, 0.0, 1.0) ** exposure.gamma
    if exposure.frame:
        edge = np.minimum(0.5 - np.abs(sheet.page_x), 0.5 - np.abs(sheet.page_y))
        film = film * (edge > exposure.frame)
    return film


def _letter(sheet: _Sheet) -> Field:
    """A white L in the upper corner of the film, where no patient is."""
    x, y = sheet.page_x + 0.44, sheet.page_y + 0.44
    upright = (np.abs(x + 0.02) < 0.012) & (np.abs(y) < 0.04)
    foot = (np.abs(x) < 0.03) & (np.abs(y - 0.032) < 0.012)
    return (upright | foot).astype(np.float32)
