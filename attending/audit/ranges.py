"""Values that cannot be: beyond what a living body has, zeros that stand for unknown, and columns in two units.

A wide table of limits, not of reference ranges: what lies outside is a typing error or another unit, never an illness.
"""

import shlex
from dataclasses import dataclass

import numpy as np

from attending.audit.check import Check
from attending.audit.finding import DATA, Finding, Severity
from attending.audit.material import Material
from attending.audit.mixture import Mixture, mixture
from attending.case import Demographics, Lab
from attending.records import names
from attending.records.units import UnitError, convert

LIMITS: tuple[tuple[tuple[str, ...], str, float, float], ...] = (
    (("spo2", "sao2", "saturation", "o2sat"), "%", 20.0, 100.0),
    (("temperature", "temp"), "°C", 28.0, 44.0),
    (("heart", "pulse", "hr"), "bpm", 15.0, 350.0),
    (("respiratory", "respiration", "rr"), "1/min", 2.0, 120.0),
    (("systolic", "sbp"), "mmHg", 30.0, 320.0),
    (("diastolic", "dbp"), "mmHg", 10.0, 220.0),
    (("ph",), "1", 6.3, 8.0),
    (("sodium",), "mmol/L", 85.0, 210.0),
    (("potassium",), "mmol/L", 1.0, 14.0),
    (("hemoglobin", "haemoglobin", "hb", "hgb"), "g/dL", 1.0, 28.0),
    (("hematocrit", "haematocrit", "hct"), "%", 3.0, 85.0),
    (("neutrophil", "lymphocyte", "segmented", "eosinophil", "monocyte", "basophil"), "%", 0.0, 100.0),
    (("height",), "cm", 25.0, 260.0),
    (("weight",), "kg", 0.2, 500.0),
    (("bmi",), "kg/m^2", 5.0, 120.0),
    (("crp",), "mg/L", 0.0, 1500.0),
    (("po2", "pao2"), "mmHg", 10.0, 760.0),
    (("pco2", "paco2"), "mmHg", 5.0, 250.0),
)
"""Words of a name, the unit, and the limits of the possible in it. A number without unit is held against them as it stands."""
_EFFECT = "the model learns from typing errors, and a column in two units tells the place that writes the other one"


@dataclass(frozen=True, kw_only=True)
class RangesCheck(Check):
    """Two units: a gap of this factor (less where the name tells the units, see `mixture`) with at least this share of the
    values, and `distinct` different ones, on either side.
    """

    name: str = "ranges"
    traps: tuple[str, ...] = (DATA,)
    gap: float = 5.0
    share: float = 0.05
    distinct: int = 5

    def look(self, material: Material) -> tuple[Finding, ...]:
        """One finding for impossible values, one for columns in two units."""
        held = _numbers(material)
        columns = {column.field_name: column for column in material.schema.inputs}
        impossible: dict[str, tuple[str, np.ndarray]] = {}
        mixed: dict[str, Mixture] = {}
        for field, (cases, values, unit) in held.items():
            name = columns[field].name if field in columns else field
            wrong, why = _impossible(name, values, unit)
            if wrong.any():
                impossible[name] = (why, cases[wrong])
            found = mixture(name, values, gap=self.gap, share=self.share, distinct=self.distinct)
            if found is not None:
                mixed[name] = found
        return tuple(one for one in (self._two_units(mixed), self._outside(material, impossible)) if one is not None)

    def _two_units(self, mixed: dict[str, Mixture]) -> Finding | None:
        if not mixed:
            return None
        return Finding(
            trap=DATA,
            check=self.name,
            severity=Severity.WARN,
            told=f"{', '.join(mixed)}: values fall apart as if written in two units",
            evidence="; ".join(f'"{name}": {found}' for name, found in mixed.items()),
            effect=_EFFECT,
            remedy="write the unit of each value into a column of its own: "
            + "; ".join(f'"{name}": {found.suggestion}' for name, found in mixed.items())
            + "; then name it, and values are converted ("
            + " ".join(f"--unit-column {_argument(name)}" for name in mixed)
            + f"); where nobody knows leave {'it' if len(mixed) == 1 else 'them'} out (--ignore {','.join(mixed)})",
            columns=tuple(mixed),
        )

    def _outside(self, material: Material, impossible: dict[str, tuple[str, np.ndarray]]) -> Finding | None:
        if not impossible:
            return None
        cases = np.unique(np.concatenate([held for _, held in impossible.values()]))
        return Finding(
            trap=DATA,
            check=self.name,
            severity=Severity.WARN,
            told=f"impossible values in {', '.join(impossible)}",
            evidence="; ".join(f'"{name}": {len(held)} {why}' for name, (why, held) in impossible.items()),
            effect=_EFFECT,
            remedy="correct or blank the cells; where all values are of another unit, declare it "
            f"(--unit {next(iter(impossible))}=UNIT)",
            columns=tuple(impossible),
            rows=material.named(cases),
        )


def _argument(name: str) -> str:
    """`name=COLUMN` as one word of a shell."""
    return shlex.quote(f"{name}=COLUMN")


def _numbers(material: Material) -> dict[str, tuple[np.ndarray, np.ndarray, str | None]]:
    """Field → cases, values and unit of all its numbers; ages under `age_years`."""
    found: dict[str, tuple[list[int], list[float], str | None]] = {}
    for case, chart in enumerate(material.charts):
        for evidence in chart.evidence:
            match evidence:
                case Lab(code=name, value=value, unit=unit):
                    held = found.setdefault(name, ([], [], str(unit)))
                case Demographics(age_years=float() as value):
                    held = found.setdefault("age_years", ([], [], "a"))
                case _:
                    continue
            held[0].append(case)
            held[1].append(value)
    return {name: (np.array(cases), np.array(values, dtype=float), unit) for name, (cases, values, unit) in found.items()}


def _impossible(name: str, values: np.ndarray, unit: str | None) -> tuple[np.ndarray, str]:
    """Which values cannot be, and why."""
    words = names.words(name)
    for known, held_in, low, high in LIMITS:
        if not any(word.rstrip("s") in known for word in words):
            continue
        try:
            ends = [
                limit if unit in (None, "unstated") else convert(limit, held_in, str(unit), code=words[0])
                for limit in (low, high)
            ]
        except UnitError:
            continue  # a count where the limit is of a share, say
        wrong = (values < min(ends)) | (values > max(ends))
        return wrong, f"outside {min(ends):g} to {max(ends):g}{'' if unit in (None, 'unstated') else f' {unit}'}"
    others = np.sort(values[values > 0.0])
    is_zero = values == 0.0
    stands_apart = len(others) >= 40 and 0 < is_zero.sum() <= 0.02 * len(values) and others[0] > 0.1 * np.median(others)
    return is_zero & stands_apart, "zeros far from all other values"
