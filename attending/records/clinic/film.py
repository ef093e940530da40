"""Chest films, drawn: lungs, ribs, heart and diaphragm, and shadows whose masks are known.

Whole batches are drawn at once in coordinates from 0 to 1 (y down, x to the reader's right), so any film size shows the same
patient. Everything in a film is a pure function of its row of random numbers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.streams import Streams
from attending.records.clinic.world import SHADOWS

BATCH = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Films:
    """Grey values in whole 255ths, and where each shadow of `SHADOWS` lies (empty where it is not there)."""

    pixels: Float[np.ndarray, "case height width"]
    masks: Bool[np.ndarray, "case shadow height width"]


def draw_films(
    config: ClinicConfig,
    streams: Streams,
    *,
    rows: Int[np.ndarray, " case"],
    shadows: Bool[np.ndarray, "case shadow"],
    site: Int[np.ndarray, " case"],
) -> Films:
    """One film per row with the shadows asked for."""
    size = config.film_size
    pixels = np.zeros((len(rows), size, size), dtype=np.float32)
    masks = np.zeros((len(rows), len(SHADOWS), size, size), dtype=bool)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        pixels[part], masks[part] = _draw(config, streams, rows[part], shadows[part], site[part])
    return Films(pixels=pixels, masks=masks)


def _draw(
    config: ClinicConfig, streams: Streams, rows: np.ndarray, shadows: np.ndarray, site: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    size = config.film_size
    body = streams.uniform("film body", rows, 16).astype(np.float32)[:, :, None, None]
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    page_y, page_x = grid[None, :, None], grid[None, None, :]
    # Each patient stands a little differently: shifted, turned and scaled.
    turn = (body[:, 0] - 0.5) * 0.12
    scale = 1.0 + (body[:, 1] - 0.5) * 0.16
    x0, y0 = page_x - 0.5 - (body[:, 2] - 0.5) * 0.10, page_y - 0.5 - (body[:, 3] - 0.5) * 0.10
    x, y = (x0 + turn * y0) / scale, (y0 - turn * x0) / scale
    lung = np.maximum(_lung(x, y, -1.0), _lung(x, y, 1.0))
    film = 0.55 * _soft(1.0 - ((x / 0.47) ** 2 + ((y - 0.08) / 0.62) ** 2) ** 2, 0.3)
    film = film - 0.33 * lung
    ribs = np.cos((y + 0.55 * x**2 - 0.08 * body[:, 4]) * (2 * np.pi / (0.105 + 0.02 * body[:, 5])))
    film = film + (0.05 + 0.04 * body[:, 6]) * _soft(ribs - 0.2, 0.3) * _soft(0.42 - np.abs(x), 0.05)
    heart = _soft(1.0 - ((x - 0.06) / (0.13 + 0.03 * body[:, 7])) ** 2 - ((y - 0.16) / 0.17) ** 2, 0.25)
    spine = np.exp(-((x / 0.055) ** 2))
    film = film + 0.26 * heart + 0.16 * spine
    added, masks = _shadows(streams, rows, shadows, x, y)
    film = film + added
    film = film + _wires(streams, rows, x0, y0)
    grain = streams.normal("film grain", rows, size * size).astype(np.float32).reshape(-1, size, size)
    film = film + 0.018 * grain
    contrast = 0.8 + 0.4 * body[:, 8] + config.site_shift.contrast * np.array([0.0, 0.35, -0.25])[site][:, None, None]
    film = 0.5 + (film - 0.35) * contrast + (body[:, 9] - 0.5) * 0.16
    return (np.round(np.clip(film, 0.0, 1.0) * 255.0) / 255.0).astype(np.float32), masks


def _lung(x: np.ndarray, y: np.ndarray, side: float) -> np.ndarray:
    width = 0.155 - 0.05 * np.clip(-y / 0.35, 0.0, 1.0)
    floor = 0.30 + 0.10 * (np.abs(x) - 0.2)
    shape = 1.0 - ((x - side * 0.205) / width) ** 2 - ((y + 0.02) / 0.36) ** 2
    return _soft(shape, 0.15) * _soft(floor - y, 0.02)


def _shadows(
    streams: Streams, rows: np.ndarray, shadows: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    masks = np.zeros((len(rows), len(SHADOWS), *total.shape[1:]), dtype=bool)
    for place, (name, painter) in enumerate(_PAINTERS.items()):
        chosen = np.flatnonzero(shadows[:, place])
        if len(chosen):
            u = streams.uniform(f"shadow {name}", rows[chosen], 8).astype(np.float32)[:, :, None, None]
            density, extent = painter(x[chosen], y[chosen], u)
            total[chosen] += density * (0.20 + 0.10 * u[:, 7])
            masks[chosen, place] = extent > 0.0
    return total, masks


# A painter gives the density of a shadow and a field that is positive over its extent with a margin of about 2 hundredths.


def _spot(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A place inside a lung: (x, y) of shape [film, 1, 1]."""
    side = np.where(u[:, 0] < 0.5, -1.0, 1.0)
    return side * (0.20 + 0.10 * (u[:, 1] - 0.5)), -0.18 + 0.34 * u[:, 2]


def _patch(x: np.ndarray, y: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cx, cy = _spot(u)
    radius = 0.085 + 0.03 * u[:, 3]
    wobble = 0.35 * np.sin(70 * x + 20 * u[:, 4]) * np.sin(65 * y + 20 * u[:, 5])
    distance = ((x - cx) ** 2 + ((y - cy) / (0.8 + 0.4 * u[:, 6])) ** 2) / radius**2
    return np.exp(-(distance**1.5)) * (1.0 + wobble), 1.35 - distance


def _nodule(x: np.ndarray, y: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cx, cy = _spot(u)
    radius = 0.055 + 0.02 * u[:, 3]
    distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
    return 1.2 * _soft(radius - distance, 0.008), radius + 0.025 - distance


def _effusion(x: np.ndarray, y: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side = np.where(u[:, 0] < 0.5, -1.0, 1.0)
    lateral = np.clip((x * side - 0.08) / 0.25, 0.0, 1.2)
    surface = 0.22 - 0.04 * u[:, 1] - (0.06 + 0.06 * u[:, 2]) * lateral**2
    inner, outer = x * side - 0.07, 0.36 - x * side
    density = _soft(y - surface, 0.012) * _soft(0.32 - y, 0.02) * _soft(inner, 0.015) * _soft(outer, 0.015)
    extent = np.minimum(np.minimum(y - surface + 0.02, 0.34 - y), np.minimum(inner, outer))
    return 1.2 * density, extent


def _band(x: np.ndarray, y: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cx, cy = _spot(u)
    along, across = x - cx, y - cy - (u[:, 3] - 0.5) * 0.6 * (x - cx)
    lines = sum(np.exp(-(((across - shift) / 0.011) ** 2)) for shift in (-0.05, 0.0, 0.05))
    return lines * _soft(0.09 - np.abs(along), 0.01), np.minimum(0.11 - np.abs(along), 0.08 - np.abs(across))


_PAINTERS = {"patch": _patch, "effusion": _effusion, "band": _band, "nodule": _nodule}


def _wires(streams: Streams, rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Electrodes: small bright rings anywhere on the chest."""
    u = streams.uniform("film electrodes", rows, 8).astype(np.float32)[:, :, None, None]
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    for k in range(2):
        distance = np.sqrt((x - 0.7 * (u[:, 3 * k + 1] - 0.5)) ** 2 + (y - 0.6 * (u[:, 3 * k + 2] - 0.5)) ** 2)
        total = total + (u[:, 3 * k] < 0.4) * 0.3 * np.exp(-(((distance - 0.03) / 0.009) ** 2))
    return total


def _soft(distance: np.ndarray, width: float) -> np.ndarray:
    """A step from 0 to 1 around `distance` 0, smooth over `width`."""
    return 1.0 / (1.0 + np.exp(-np.clip(distance * (4.0 / width), -30.0, 30.0)))
