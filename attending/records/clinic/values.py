"""Laboratory values and signs as a laboratory and an examiner would write them down.

A marker is high or normal *against the reference range printed beside it*. Laboratories differ in their method, so ranges
differ from row to row by up to a factor, and the bare number says little. The level can always be read back exactly.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from attending.case import Hours, Lab, Unit
from attending.records.clinic.config import ClinicConfig
from attending.records.clinic.streams import Streams

_SPREAD = 6.0
"""Upper limits of one test lie within this factor of the usual one, up and down."""
_NORMAL_DEPTH = 0.8
"""Normal markers lie up to this far below the upper limit, in natural logarithms; every lower limit lies deeper."""
_RISE = 0.8
"""Raised markers lie up to this far above it."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """A laboratory test: its unit, its usual reference range, and a second unit that some sites use (factor)."""

    code: str
    unit: str
    reference: tuple[float, float]
    other_unit: str
    factor: float
    spread: float = _SPREAD


MARKER_TESTS = (
    Test(code="crp", unit="mg/L", reference=(0.5, 8.0), other_unit="mg/dL", factor=0.1),
    Test(code="nt_probnp", unit="ng/L", reference=(15.0, 300.0), other_unit="pmol/L", factor=0.1182),
    Test(code="d_dimer", unit="mg/L", reference=(0.05, 0.5), other_unit="ug/L", factor=1000.0),
    Test(code="ldh", unit="U/L", reference=(30.0, 240.0), other_unit="ukat/L", factor=0.01667),
)
OTHER_TESTS = (
    Test(code="sodium", unit="mmol/L", reference=(135.0, 145.0), other_unit="mmol/L", factor=1.0, spread=1.0),
    Test(code="haemoglobin", unit="g/L", reference=(125.0, 165.0), other_unit="g/dL", factor=0.1, spread=1.0),
    Test(code="creatinine", unit="umol/L", reference=(55.0, 105.0), other_unit="mg/dL", factor=0.01131, spread=1.2),
)
TESTS = MARKER_TESTS + OTHER_TESTS


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Values with their reference ranges, one column per test of `TESTS`; `other_unit` where the site writes that unit."""

    value: Float[np.ndarray, "case test"]
    low: Float[np.ndarray, "case test"]
    high: Float[np.ndarray, "case test"]
    other_unit: np.ndarray
    hours: Float[np.ndarray, " case"]


def measure(
    config: ClinicConfig,
    streams: Streams,
    *,
    rows: Int[np.ndarray, " case"],
    markers: Int[np.ndarray, "case marker"],
    site: Int[np.ndarray, " case"],
) -> Measured:
    """Numbers for the markers' levels (0 normal, 1 high) and for tests that mean nothing."""
    n = len(TESTS)
    method = streams.uniform("laboratory method", rows, n)
    spot = streams.uniform("laboratory value", rows, n)
    reference = np.array([test.reference for test in TESTS])
    spread = np.log([test.spread for test in TESTS])
    scale = np.exp((2.0 * method - 1.0) * spread)
    low, high = _round(reference[:, 0] * scale), _round(reference[:, 1] * scale)
    level = np.zeros((len(rows), n), dtype=int)
    level[:, : markers.shape[1]] = markers
    normal = high * np.exp(-_NORMAL_DEPTH * (0.05 + 0.95 * spot))
    raised = high * np.exp(_RISE * (0.1 + 0.9 * spot))
    other = streams.normal("other laboratory value", rows, n)
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    without_meaning = middle + 0.55 * half * other
    is_marker = np.arange(n) < markers.shape[1]
    value = _round(np.where(is_marker, np.where(level == 1, raised, normal), without_meaning))
    changes_unit = (
        streams.uniform("laboratory unit", rows, n) < np.array([0.0, 0.9, 0.5])[site][:, None] * config.site_shift.units
    )
    minutes = np.round(30.0 + 660.0 * streams.uniform("laboratory hour", rows, 1)[:, 0])
    return Measured(value=value, low=low, high=high, other_unit=changes_unit, hours=-minutes / 60.0)


def lab(measured: Measured, case: int, test: int, *, at: Hours) -> Lab:
    """The evidence of one value taken `at` this hour, in the unit of its site."""
    kind, factor = TESTS[test], 1.0
    unit = kind.unit
    if measured.other_unit[case, test]:
        unit, factor = kind.other_unit, kind.factor
    value, low, high = (float(f"{column[case, test] * factor:.4g}") for column in (measured.value, measured.low, measured.high))
    return Lab(code=kind.code, value=value, unit=Unit(unit), reference=(low, high), at=at)


def _round(values: np.ndarray) -> np.ndarray:
    """Three significant digits, as printed."""
    digits = 2 - np.floor(np.log10(np.maximum(np.abs(values), 1e-12)))
    power = 10.0**digits
    return np.round(values * power) / power
