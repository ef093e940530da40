"""A chest without disease, drawn in its own coordinates: x from -0.5 to 0.5 to the reader's right, y from -0.5 to 0.5 downward.

Brightness is density: air about 0.15, soft tissue 0.5, bone more. What varies from patient to patient varies here: build, ribs,
vessels, heart, breasts, the height of the diaphragm. Shapes were judged by eye; nothing is anatomy to scale.
"""

import numpy as np
from jaxtyping import Float

DRAWS = 24
"""Random numbers a chest is made of."""

Field = Float[np.ndarray, "film height width"]


def soft_step(distance: np.ndarray, width: float) -> np.ndarray:
    """A step from 0 to 1 around `distance` 0, smooth over `width`."""
    return 0.5 + 0.5 * np.tanh(distance * (2.0 / width))


def chest(x: Field, y: Field, u: Float[np.ndarray, "film draw 1 1"], *, rib_contrast: float) -> Field:
    """Density of a healthy chest. `u` are uniform numbers, one row per film."""
    lateral = np.abs(x)
    heart_size = 0.92 + 0.16 * u[:, 0]
    left, right = (_lung(x, y, u, side) for side in (1.0, -1.0))
    air = np.maximum(left, right)
    body = soft_step(0.13 + 0.34 * soft_step(y + 0.40, 0.10) - lateral, 0.03)
    density = body * (0.48 + 0.10 * soft_step(y - 0.25, 0.08)) - (0.30 + 0.04 * u[:, 1]) * air
    density = density + air * _vessels(x, y, u)
    density = density + air * _breasts(x, y, u) + (0.10 * (u[:, 2] - 0.5)) * x
    density = density + rib_contrast * body * _ribs(lateral, y, u)
    density = density + 0.10 * body * _collar_bones(lateral, y, u)
    middle = np.maximum(_heart(x, y, heart_size), _mediastinum(x, y))
    return density + body * (middle * np.clip(0.60 - density, 0.0, None) + _midline(x, y))


def _lung(x: Field, y: Field, u: np.ndarray, side: float) -> Field:
    """Air on one side: between chest wall, midline, apex and the dome of the diaphragm, which may stand high on either."""
    along = x * side
    raised = u[:, 3 if side > 0 else 21] ** 1.5
    floor = 0.26 - 0.05 * raised - (0.0 if side > 0 else 0.02)
    dome = floor - 0.055 * np.exp(-(((along - 0.19) / 0.10) ** 2)) + 0.05 * np.clip((along - 0.24) / 0.12, 0.0, 1.0)
    width = 0.165 + 0.015 * u[:, 4] - 0.03 * np.clip(-(y + 0.05) / 0.3, 0.0, 1.0)
    wall = 1.0 - np.abs((along - 0.205) / width) ** 2.6 - np.abs((y + 0.01) / 0.365) ** 2.6
    return soft_step(wall, 0.16) * soft_step(dome - y, 0.02)


def _heart(x: Field, y: Field, size: np.ndarray) -> Field:
    along, across = 0.86 * (x - 0.055) + 0.5 * (y - 0.13), -0.5 * (x - 0.055) + 0.86 * (y - 0.13)
    ventricle = 1.0 - (along / (0.165 * size)) ** 2 - (across / (0.115 * size)) ** 2
    atrium = 1.0 - ((x + 0.035) / (0.065 * size)) ** 2 - ((y - 0.12) / 0.10) ** 2
    return np.maximum(soft_step(ventricle, 0.35), soft_step(atrium, 0.5))


def _mediastinum(x: Field, y: Field) -> Field:
    """What lies between the lungs, with the arch of the aorta on the patient's left."""
    knob = 1.0 - ((x - 0.035) / 0.045) ** 2 - ((y + 0.13) / 0.055) ** 2
    return np.maximum(soft_step(0.052 - np.abs(x), 0.03), 0.9 * soft_step(knob, 0.7))


def _midline(x: Field, y: Field) -> Field:
    spine = 0.10 * np.exp(-((x / 0.045) ** 2)) * (1.0 + 0.25 * np.cos(y * (2 * np.pi / 0.085)))
    windpipe = 0.12 * np.exp(-((x / 0.020) ** 2)) * soft_step(-0.10 - y, 0.06)
    return 0.7 * spine - windpipe


def _ribs(lateral: Field, y: Field, u: np.ndarray) -> Field:
    """Posterior ribs fall away from the spine and turn; anterior ribs are fainter and slope the other way."""
    spacing = 0.088 + 0.012 * u[:, 5]
    behind = np.cos((y - 0.9 * (lateral - 0.16) ** 2 - 0.09 * u[:, 6]) * (2 * np.pi / spacing))
    front = np.cos((y - 0.45 * lateral - 0.1 * u[:, 7]) * (2 * np.pi / (1.25 * spacing)))
    inside = soft_step(0.42 - lateral, 0.03) * soft_step(0.30 - y, 0.05) * soft_step(y + 0.40, 0.05)
    return inside * (soft_step(behind - 0.25, 0.7) + 0.35 * soft_step(front - 0.3, 0.7) * soft_step(lateral - 0.12, 0.1))


def _collar_bones(lateral: Field, y: Field, u: np.ndarray) -> Field:
    height = -0.285 - 0.28 * (lateral - 0.05) + 0.35 * (lateral - 0.2) ** 2 + 0.03 * (u[:, 8] - 0.5)
    return np.exp(-(((y - height) / 0.015) ** 2)) * soft_step(lateral - 0.04, 0.02) * soft_step(0.40 - lateral, 0.04)


def _vessels(x: Field, y: Field, u: np.ndarray) -> Field:
    """The lung roots and four branches from each, thinning outward."""
    total: np.ndarray = np.zeros_like(x)
    for side, first in ((1.0, 9), (-1.0, 13)):
        along, down = x * side - 0.085, y + 0.005
        distance = np.sqrt(along**2 + down**2) + 1e-6
        total = total + 0.16 * np.exp(-((distance / 0.045) ** 2))
        for k, angle in enumerate((-1.0, -0.35, 0.35, 1.0)):
            turn = angle + 0.5 * (u[:, first + k] - 0.5)
            out, across = along * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - along * np.sin(turn)
            width = 0.013 - 0.03 * np.clip(out, 0.0, 0.3)
            reach = soft_step(out, 0.03) * np.exp(-np.clip(out, 0.0, None) / 0.10)
            total = total + 0.14 * reach * np.exp(-((across / width) ** 2))
    return total


def _breasts(x: Field, y: Field, u: np.ndarray) -> Field:
    """Soft tissue over the lower lungs, more on some and uneven."""
    total: np.ndarray = np.zeros_like(x)
    for side, draw in ((1.0, 17), (-1.0, 18)):
        inside = 1.0 - ((x * side - 0.22) / 0.15) ** 2 - ((y - 0.10 - 0.08 * (u[:, 19] - 0.5)) / 0.13) ** 2
        total = total + (0.16 * u[:, draw] * u[:, 20]) * soft_step(inside, 0.6)
    return total
