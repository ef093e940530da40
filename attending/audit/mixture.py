"""Numbers of one column that fall apart as if written in two units: where they part, and which two units would do it.

Two heaps with nothing between them, or, for what laboratories write in two known ways, a smaller gap whose ratio is that of the
two units. Values of two units that overlap (a glucose of 40 mg/dL beside one of 40 mmol/L) cannot be told apart.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attending.records import names
from attending.records.units import UnitError, convert

PAIRS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("temperature", "temp"), "°C", "°F"),
    (("glucose", "urea", "bun", "lactate", "calcium", "magnesium", "phosphate"), "mmol/L", "mg/dL"),
    (("cholesterol", "hdl", "ldl", "triglycerides"), "mmol/L", "mg/dL"),
    (("creatinine", "bilirubin", "urate"), "mg/dL", "umol/L"),
    (("hemoglobin", "haemoglobin", "hb", "hgb", "albumin"), "g/dL", "g/L"),
    (("hemoglobin", "haemoglobin", "hb", "hgb"), "mmol/L", "g/dL"),
    (("cortisol",), "ug/dL", "nmol/L"),
    (("iron",), "umol/L", "ug/dL"),
    (("crp",), "mg/dL", "mg/L"),
    (("po2", "pao2", "pco2", "paco2"), "kPa", "mmHg"),
    (("height",), "m", "cm"),
)
"""Words of a name, and the two units it is written in: the one whose numbers are smaller first."""
_ALIKE = 1.25
"""Middles agree after conversion when one is at most this many times the other."""
_KNOWN_GAP = 0.25
"""Of the factor between two known units, on the scale of logs: the least gap between the heaps."""
_BY_CHANCE = 9.0
"""A gap among n values of one heap exceeds (log n + this) × their mean spacing with a chance of e^−9."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """`n_below` values up to `last`, `n_above` from `first` on, none between. `pair`: the two units, where they are known."""

    n_below: int
    n_above: int
    last: float
    first: float
    ratio: float
    pair: tuple[str, str] | None = None
    conversion: str = ""

    def __str__(self) -> str:
        return f"{self.n_below} values up to {self.last:g}, {self.n_above} from {self.first:g} on, none between"

    @property
    def between(self) -> float:
        """A round number between the heaps: nobody's value."""
        middle = float(np.sqrt(self.last * self.first))
        rounded = (float(f"{middle:.{digits}g}") for digits in (1, 2, 3, 6))
        return next((one for one in rounded if self.last < one < self.first), middle)

    @property
    def suggestion(self) -> str:
        """Which values are in which unit, and by what factor, as far as the numbers tell."""
        if self.pair is not None:
            return (
                f'"{self.pair[0]}" for values below {self.between:g} and "{self.pair[1]}" for those above ({self.conversion})'
            )
        power = round(float(np.log10(self.ratio)))
        about = f"10^{power}" if power > 1 else "10"
        is_power = power >= 1 and abs(np.log(self.ratio) - power * np.log(10.0)) <= np.log(_ALIKE)
        return f"values above {self.between:g} are about {about if is_power else f'{self.ratio:.3g}'} times the others"


def mixture(
    name: str, values: Float[np.ndarray, " value"], *, gap: float, share: float, distinct: int, fewest: int = 10
) -> Mixture | None:
    """The two heaps of a column, or None. `name` is the column's: it tells which units to think of.

    `gap` is the factor between heaps from which on nothing need be known of the units; either heap holds `share` of the values,
    `fewest` of them and `distinct` different ones. What can be negative comes near zero by itself: never a mixture.
    """
    positive = np.sort(values[values > 0.0])
    least = max(fewest, round(share * len(positive)))
    if len(positive) < 2 * max(least, 20) or values.min() < 0.0:
        return None
    steps = positive[least : len(positive) - least + 1] / positive[least - 1 : len(positive) - least]
    at = least - 1 + int(np.argmax(steps))
    below, above = positive[: at + 1], positive[at + 1 :]
    if min(len(np.unique(below)), len(np.unique(above))) < distinct:
        return None
    step, ratio = float(above[0] / below[-1]), float(np.median(above) / np.median(below))
    found = Mixture(n_below=len(below), n_above=len(above), last=float(below[-1]), first=float(above[0]), ratio=ratio)
    for words, small, large in PAIRS:
        word = next((word for word in names.words(name) if word in words), None)
        converted = None if word is None else _converted(float(np.median(below)), small, large, code=word)
        if converted is None:
            continue
        factor = converted / float(np.median(below))
        is_alike = max(converted / np.median(above), np.median(above) / converted) <= _ALIKE
        if is_alike and np.log(step) >= max(_KNOWN_GAP * np.log(factor), _widest_by_chance(below, above)):
            return Mixture(
                n_below=len(below),
                n_above=len(above),
                last=found.last,
                first=found.first,
                ratio=ratio,
                pair=(small, large),
                conversion=_told(small, large, code=str(word)),
            )
    return found if step >= gap else None


def _converted(value: float, small: str, large: str, *, code: str) -> float | None:
    try:
        return convert(value, small, large, code=code)
    except UnitError:
        return None


def _told(small: str, large: str, *, code: str) -> str:
    """`1 mmol/L is 18.02 mg/dL`."""
    at_zero, at_one = convert(0.0, small, large, code=code), convert(1.0, small, large, code=code)
    if at_zero:
        return f"{large} = {at_one - at_zero:.4g} × {small} + {at_zero:.4g}"
    return f"1 {small} is {at_one:.4g} {large}"


def _widest_by_chance(below: np.ndarray, above: np.ndarray) -> float:
    """The gap on the scale of logs that values spaced as those next to it would hardly ever leave."""
    tails = np.log(below[-max(5, len(below) // 3) :]), np.log(above[: max(5, len(above) // 3)])
    spacing = max(float(tail[-1] - tail[0]) / (len(tail) - 1) for tail in tails)
    return (float(np.log(len(below) + len(above))) + _BY_CHANCE) * spacing
