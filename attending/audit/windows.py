"""T3: how long, or how often, a patient was watched depends on the answer: the window is a shortcut."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material
from attending.audit.ranking import LEAST_AREA, rank
from attending.case import Chart, Lab

_WORDS = {"length": "how far back the evidence reaches", "number": "how often the same value was taken"}


@dataclass(frozen=True, kw_only=True)
class WindowsCheck(Check):
    """Asks the length of the window and the number of repeats for their AUROC, among cases that have such evidence."""

    name: str = "windows"
    traps: tuple[str, ...] = ("T3",)
    least: float = LEAST_AREA

    def look(self, material: Material) -> tuple[Finding, ...]:
        """One finding for the window's length and its number of values."""
        asked = {"length": _by_case(material, _length), "number": _by_case(material, _repeats)}
        alarms = []
        for truth in material.truths:
            for name, values in asked.items():
                found = rank(material, truth, values[truth.cases], tests=2 * len(material.truths))
                if found is not None and found.alarms(self.least):
                    alarms.append((found, name))
        if not alarms:
            return ()
        told = " and ".join(_WORDS[name] for name in dict.fromkeys(name for _, name in alarms))
        return (
            Finding(
                trap="T3",
                check=self.name,
                severity=Severity.WARN,
                told=f"{told} depends on the answer",
                evidence="; ".join(f"{_WORDS[name]}: {found}" for found, name in alarms),
                effect="a model can answer from how long the patient was watched, which nobody knows at the question",
                remedy=f"leave out what is older than what both classes have (--look-back {_shared(material, asked)}); "
                "who then has nothing left may still tell",
            ),
        )


def _shared(material: Material, asked: dict[str, np.ndarray]) -> str:
    """Hours that half of the cases of the class with the shorter windows are watched for."""
    lengths = [
        asked["length"][truth.cases[truth.is_event == is_event]] for truth in material.truths for is_event in (True, False)
    ]
    medians = [float(np.nanmedian(held)) for held in lengths if np.isfinite(held).any()]
    return f"{max(1.0, np.ceil(min(medians))):g}" if medians else "HOURS"


def _by_case(material: Material, measure: Callable[[Chart], float]) -> np.ndarray:
    return np.array([measure(chart) for chart in material.charts], dtype=float)


def _length(chart: Chart) -> float:
    times = [evidence.at for evidence in chart.evidence if evidence.at < 0.0]
    return -min(times) if times else np.nan


def _repeats(chart: Chart) -> float:
    counts = Counter(lab.code for lab in chart.of(Lab))
    return sum(counts.values()) / len(counts) if counts else np.nan
