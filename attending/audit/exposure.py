"""T9: films that can be read and show nothing: saturated, nearly black, of one grey, or with black and white exchanged."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import MOSTLY_WHITE, WHITE, Material
from attending.case import Scan

_SIDE = 32
_FEWEST_FOR_A_MEAN = 20


@dataclass(frozen=True, kw_only=True)
class ExposureCheck(Check):
    """A film is saturated from this share of white pixels on, and black where hardly a pixel is brighter than `dark`; inverted
    where it goes against the mean film by this correlation. `often`: from this share of films on it warns, below it notes.
    """

    name: str = "exposure"
    traps: tuple[str, ...] = ("T9",)
    saturated: float = MOSTLY_WHITE
    dark: float = 0.1
    flat: float = 0.002
    inverted: float = -0.3
    often: float = 0.01

    def look(self, material: Material) -> tuple[Finding, ...]:
        """One finding for all films at fault."""
        films = [(case, scan) for case, chart in enumerate(material.charts) for scan in chart.of(Scan)]
        if not films:
            return ()
        faults: dict[str, list[int]] = {}
        for (case, scan), correlation in zip(films, _with_mean([scan.pixels for _, scan in films]), strict=True):
            fault = self._fault(scan.pixels, correlation)
            if fault is not None:
                faults.setdefault(fault, []).append(case)
        if not faults:
            return ()
        n = sum(len(cases) for cases in faults.values())
        fields = tuple(dict.fromkeys(scan.field_name for _, scan in films))
        return (
            Finding(
                trap="T9",
                check=self.name,
                severity=Severity.WARN if n >= max(2, self.often * len(films)) else Severity.NOTE,
                told=f"some films are {' or '.join(faults)}",
                evidence=", ".join(f"{len(cases)} {fault}" for fault, cases in faults.items()) + f", of {len(films)} films",
                effect="a model sees nothing, or the wrong way round, and learns from the fault where it goes with a source",
                remedy="convert the films again from their originals with all their bits, or leave them out (--where)",
                columns=material.columns_of(fields),
                rows=material.named(np.unique([case for cases in faults.values() for case in cases])),
            ),
        )

    def _fault(self, pixels: np.ndarray, correlation: float) -> str | None:
        if pixels.std() < self.flat:
            return "of one grey"
        if (pixels >= WHITE).mean() > self.saturated:
            return "saturated"
        if np.quantile(pixels, 0.99) < self.dark:
            return "nearly black"
        return "inverted" if correlation < self.inverted else None


def _with_mean(films: list[np.ndarray]) -> np.ndarray:
    """Correlation of each film with the mean of all; 1 where there are too few for a mean."""
    if len(films) < _FEWEST_FOR_A_MEAN:
        return np.ones(len(films))
    small = [np.asarray(Image.fromarray(film).resize((_SIDE, _SIDE), Image.Resampling.BOX)).ravel() for film in films]
    rows = np.stack(small).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12)
    mean = rows.mean(axis=0)
    return rows @ mean / (np.linalg.norm(mean) + 1e-12)
