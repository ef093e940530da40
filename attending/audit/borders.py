"""T7 in pictures: the rim of a film, with its frames, letters and burned-in text, tells the answer without any anatomy.

Looks at the outermost strips and corners alone; what they tell is where a film comes from, not illness (DeGrave 2021). Asked of
the answer, and of the source where the source tells the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attending.audit.check import Examined, ShortcutCheck
from attending.audit.finding import Finding, Severity
from attending.audit.material import Material, Truth
from attending.audit.ranking import LEAST_AREA, Ranking, indicators, rank_learned
from attending.audit.shortcut import shortcut_of
from attending.case import Scan

_STRIP, _CORNER = 1 / 24, 1 / 8
_BINS = 4


@dataclass(frozen=True, kw_only=True)
class BordersCheck(ShortcutCheck):
    """`least`: the AUROC of the rim alone from which on it warns."""

    name: str = "borders"
    traps: tuple[str, ...] = ("T7",)
    least: float = LEAST_AREA

    def examine(self, material: Material) -> Examined:
        """What the rim of the first film of each case reaches, and one finding where that tells the answer or its source."""
        first = [next(iter(chart.of(Scan)), None) for chart in material.charts]
        has_film = np.array([scan is not None for scan in first])
        if has_film.sum() < 2:
            return Examined()
        numbers = np.array([rim(scan.pixels) for scan in first if scan is not None])
        edges = np.quantile(numbers, np.arange(1, _BINS) / _BINS, axis=0)
        bins = (numbers[:, None, :] > edges[None]).sum(axis=1)
        features = np.zeros((len(first), bins.shape[1] * _BINS))
        features[has_film] = np.concatenate([bins == level for level in range(_BINS)], axis=1)
        asked = _ranked(material, material.truths, features, has_film)
        alarms = [found for found in asked if found.alarms(self.least)]
        sources = _ranked(material, self._telling_sources(material), features, has_film)
        betrayed = [found for found in sources if found.alarms(self.least)]
        columns = material.columns_of(dict.fromkeys(scan.field_name for scan in first if scan is not None))
        return Examined(
            shortcuts=tuple(
                shortcut_of(found, trap="T7", check=self.name, input="the rims of the films", least=self.least)
                for found in asked
            ),
            findings=(self._found(material, alarms, betrayed, columns),) if alarms or betrayed else (),
        )

    def _found(
        self, material: Material, alarms: Sequence[Ranking], betrayed: Sequence[Ranking], columns: tuple[str, ...]
    ) -> Finding:
        worst = max(alarms or betrayed, key=lambda found: found.low)
        what = "the answer" if alarms else "the source, and the source tells the answer,"
        return Finding(
            trap="T7",
            check=self.name,
            severity=Severity.WARN,
            told=f"the rims of the films tell {what} without any anatomy: they reach {worst.told}",
            evidence="; ".join(str(found) for found in (*alarms, *betrayed)),
            effect="a model can answer by frames, letters and burned-in text, which go with the source of a film",
            remedy=f"crop films to the anatomy or blank their rims, or {material.leaving_out(columns)}; "
            "restrict to matched sources where T6 or T7 names them (--where)",
            columns=columns,
        )

    def _telling_sources(self, material: Material) -> tuple[Truth, ...]:
        """The levels of the site, as findings, where the site alone ranks the answer."""
        sites = [chart.site for chart in material.charts]
        levels = sorted({site for site in sites if site is not None})
        if len(levels) < 2 or len(levels) > len(sites) / 5:
            return ()
        asked = (rank_learned(material, truth, indicators(sites), tests=len(material.truths)) for truth in material.truths)
        if not any(found is not None and found.alarms(self.least) for found in asked):
            return ()
        cases = np.flatnonzero([site is not None for site in sites])
        return tuple(
            Truth(finding=level, cases=cases, is_event=np.array([sites[case] == level for case in cases])) for level in levels
        )


def _ranked(material: Material, truths: Sequence[Truth], features: np.ndarray, has_film: np.ndarray) -> list[Ranking]:
    asked = (rank_learned(material, truth, features, tests=len(truths), chosen=has_film[truth.cases]) for truth in truths)
    return [found for found in asked if found is not None]


def rim(pixels: Float[np.ndarray, "height width"]) -> list[float]:
    """Mean and spread of the four outermost strips; mean, brightest and share of white of the four corners."""
    height, width = pixels.shape
    down, right = max(1, round(height * _STRIP)), max(1, round(width * _STRIP))
    low, wide = max(2, round(height * _CORNER)), max(2, round(width * _CORNER))
    strips = (pixels[:down], pixels[-down:], pixels[:, :right], pixels[:, -right:])
    corners = (pixels[:low, :wide], pixels[:low, -wide:], pixels[-low:, :wide], pixels[-low:, -wide:])
    numbers = [number for strip in strips for number in (strip.mean(), strip.std())]
    numbers += [number for corner in corners for number in (corner.mean(), corner.max(), (corner > 0.9).mean())]
    return [float(number) for number in numbers]
