"""T12: the same film or the same text under two patients, so that a test case may have been seen in training.

Films are compared exactly (a hash of their pixels) and as neighbours: small pictures, standardised, less the mean film, so that
common anatomy does not make strangers alike; mirrored and cropped by a sixteenth too. A neighbour counts only when its fine
detail agrees as well. Difference hashes are not used: they flood radiographs with false hits (design notes, trap T12). Films
of fewer than 64 pixels are compared exactly only, and crops are sought from 128 pixels on: below, strangers look alike.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy.ndimage import gaussian_filter

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import MOSTLY_WHITE, WHITE, Material
from attending.case import Note, Scan

_SIDE, _FINE_SIDE = 32, 64
_BLOCK = 512
_LEAST, _LEAST_CROPPED = 64, 128
"""Pixels of the shorter side below which strangers look alike, whole and cropped; smaller films are compared exactly."""
_EMPTY = 1e-3
"""Standard deviation of grey below which a film shows nothing; equal empty films say nothing about patients,
nor do films that are `MOSTLY_WHITE`."""
_EFFECT = "a test case may have been seen in training, so that results are too good; twins also count twice"


@dataclass(frozen=True, kw_only=True)
class RepeatsCheck(Check):
    """`alike` and `fine`: correlations of small pictures and of their fine detail from which on two films are one; `crop_*`
    those for cropped ones. `shortest_text`: equal texts of at least this many characters are one.
    """

    name: str = "repeats"
    traps: tuple[str, ...] = ("T12",)
    alike: float = 0.97
    fine: float = 0.95
    crop_alike: float = 0.95
    crop_fine: float = 0.85
    shortest_text: int = 150

    def look(self, material: Material) -> tuple[Finding, ...]:
        """Pairs of cases of different patients, films first."""
        films = [
            (case, scan.pixels)
            for case, chart in enumerate(material.charts)
            for scan in chart.of(Scan)
            if scan.pixels.std() > _EMPTY and (scan.pixels >= WHITE).mean() < MOSTLY_WHITE
        ]
        exact = _equal([(case, hashlib.sha256(pixels.tobytes()).hexdigest()) for case, pixels in films])
        near = self._neighbours(films) - exact
        texts = _equal(
            [
                (case, " ".join(note.text.casefold().split()))
                for case, chart in enumerate(material.charts)
                for note in chart.of(Note)
                if len(note.text) >= self.shortest_text
            ]
        )
        columns = tuple(dict.fromkeys(scan.field_name for chart in material.charts for scan in chart.of(Scan)))
        found = [self._films(material, exact, near, columns, is_parted=is_parted) for is_parted in (True, False)]
        notes = tuple(dict.fromkeys(note.field_name for chart in material.charts for note in chart.of(Note)))
        found.append(self._texts(material, texts, notes))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.severity.rank))

    def _films(
        self,
        material: Material,
        exact: set[tuple[int, int]],
        near: set[tuple[int, int]],
        columns: tuple[str, ...],
        *,
        is_parted: bool,
    ) -> Finding | None:
        """Equal films of different patients: of different groups, or of one group (where they only count twice)."""

        def chosen(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
            groups, patients = material.groups, material.patients
            return {(a, b) for a, b in pairs if patients[a] != patients[b] and (groups[a] != groups[b]) == is_parted}

        same, alike = chosen(exact), chosen(near)
        pairs = same | alike
        if not pairs:
            return None
        cases = np.unique([case for pair in pairs for case in pair])
        agreeing = sum(dict(material.charts[a].truth) == dict(material.charts[b].truth) for a, b in pairs)
        where = "different groups" if is_parted else "one group"
        return Finding(
            trap="T12",
            check=self.name,
            severity=Severity.BLOCK if is_parted else Severity.WARN,
            told=f"the same film stands under different patients of {where}",
            evidence=f"{len(pairs)} pairs of films ({len(same)} equal, {len(alike)} nearly so, brighter, mirrored or cropped); "
            f"{agreeing} pairs agree in their labels{_parted(material, pairs)}",
            effect=_EFFECT if is_parted else "the same film counts twice; it cannot part, because its patients share a group",
            remedy="give both patients one value in a column of their own and name it (--group COLUMN), "
            "or leave one of each pair out (--where)",
            columns=material.columns_of(columns),
            rows=material.named(cases),
        )

    def _texts(self, material: Material, pairs: set[tuple[int, int]], columns: tuple[str, ...]) -> Finding | None:
        parted = {(a, b) for a, b in pairs if material.groups[a] != material.groups[b]}
        if not parted:
            return None
        cases = np.unique([case for pair in parted for case in pair])
        return Finding(
            trap="T12",
            check=self.name,
            severity=Severity.WARN,
            told="the same long text stands under different patients",
            evidence=f"{len(cases)} cases share a text of {self.shortest_text} characters or more with another group's case"
            f"{_parted(material, parted)}",
            effect=_EFFECT,
            remedy="give patients who share a text one value in a column of their own and name it (--group COLUMN)",
            columns=material.columns_of(columns),
            rows=material.named(cases),
        )

    def _neighbours(self, films: list[tuple[int, np.ndarray]]) -> set[tuple[int, int]]:
        """Pairs of cases whose films are nearly one."""
        if len(films) < 2:
            return set()
        plain = np.stack([_small(pixels) for _, pixels in films])
        mean = plain.mean(axis=0) if len(films) >= 20 else np.zeros_like(plain[0])
        reference = _directions(plain, mean)
        pairs = set()
        for is_mirrored in (False, True):
            for margin in (0.0, 1 / 16):
                seen = np.stack([_small(pixels, margin=margin, is_mirrored=is_mirrored) for _, pixels in films])
                alike, fine = (self.alike, self.fine) if not margin else (self.crop_alike, self.crop_fine)
                pairs |= self._confirmed(
                    films, reference, _directions(seen, mean), margin=margin, is_mirrored=is_mirrored, alike=alike, fine=fine
                )
        return pairs

    def _confirmed(
        self,
        films: list[tuple[int, np.ndarray]],
        reference: np.ndarray,
        seen: np.ndarray,
        *,
        margin: float,
        is_mirrored: bool,
        alike: float,
        fine: float,
    ) -> set[tuple[int, int]]:
        pairs = set()
        for start in range(0, len(films), _BLOCK):
            near = reference[start : start + _BLOCK] @ seen.T >= alike
            for at, other in np.argwhere(near).tolist():
                (a, one), (b, two) = films[start + at], films[other]
                if (
                    a == b
                    or (min(a, b), max(a, b)) in pairs
                    or min(*one.shape, *two.shape) < (_LEAST_CROPPED if margin else _LEAST)
                ):
                    continue
                detail = float((_detail(one) * _detail(two, margin=margin, is_mirrored=is_mirrored)).sum())
                if detail >= fine:
                    pairs.add((min(a, b), max(a, b)))
        return pairs


def _parted(material: Material, pairs: set[tuple[int, int]]) -> str:
    """What the protocol does with the pairs, where there is one."""
    return "" if material.protocol is None else f"; the split parts {material.n_parted(pairs)} of {len(pairs)} pairs"


def _equal(held: list[tuple[int, str]]) -> set[tuple[int, int]]:
    """Pairs of cases that hold the same."""
    cases: dict[str, set[int]] = defaultdict(set)
    for case, content in held:
        cases[content].add(case)
    # Of a content that very many share, neighbours in the list are enough to name them all.
    return {
        pair
        for same in cases.values()
        for pair in (combinations(sorted(same), 2) if len(same) <= 30 else zip(sorted(same), sorted(same)[1:], strict=False))
    }


def _small(
    pixels: np.ndarray, *, margin: float = 0.0, is_mirrored: bool = False, side: int = _SIDE
) -> Float[np.ndarray, "side side"]:
    """The film, without a margin, mirrored or not, as a square of area averages."""
    height, width = pixels.shape
    top, left = round(height * margin), round(width * margin)
    cut = pixels[top : height - top, left : width - left]
    turned = cut[:, ::-1] if is_mirrored else cut
    picture = Image.fromarray(np.ascontiguousarray(turned, dtype=np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=np.float32)


def _directions(pictures: np.ndarray, mean: np.ndarray) -> Float[np.ndarray, "film pixel"]:
    """Standardised pictures less the mean film, as directions, so that a product of two is their correlation."""
    shift = mean - mean.mean()
    flat = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    flat = flat / (flat.std(axis=(1, 2), keepdims=True) + 1e-6) - shift / (shift.std() + 1e-6)
    rows = flat.reshape(len(flat), -1).astype(np.float32)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12)


def _detail(pixels: np.ndarray, *, margin: float = 0.0, is_mirrored: bool = False) -> Float[np.ndarray, "side side"]:
    """What is finer than two pixels of a picture of 64, as a direction."""
    picture = _small(pixels, margin=margin, is_mirrored=is_mirrored, side=_FINE_SIDE).astype(np.float64)
    fine = picture - gaussian_filter(picture, 2.0)
    fine -= fine.mean()
    return fine / (np.linalg.norm(fine) + 1e-12)
