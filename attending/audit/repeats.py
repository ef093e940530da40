"""T12: the same film, text or vector under two patients, so that a test case may have been seen in training.

Films are compared exactly (a hash of their pixels) and by their looks (`twins`): brighter, mirrored, and, from 128 pixels on,
cropped by up to a fifth of each side: evenly, on one side, at a corner or on two sides that face each other. Where each side
lost a share of its own, up to a tenth is found nearly always and up to a fifth less than every second time; what was turned,
or cropped further, is not found. Embeddings that somebody computed are compared by their cosine.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np

from attending.audit.check import Check
from attending.audit.finding import Finding, Severity
from attending.audit.material import MOSTLY_WHITE, WHITE, Material
from attending.audit.twins import Likeness, film_twins
from attending.case import Embedding, Note, Scan

_EMPTY = 1e-3
"""Standard deviation of grey below which a film shows nothing; equal empty films say nothing about patients,
nor do films that are `MOSTLY_WHITE`."""
_BLOCK = 512
_MOST_TOGETHER = 30
"""Of a content that more cases share, neighbours in the list are paired: enough to name them all."""
_EFFECT = "a test case may have been seen in training, so that results are too good; twins also count twice"

Pairs = set[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class RepeatsCheck(Check):
    """`likeness`: from which correlations on two films are one. `shortest_text`: equal texts of at least this many characters
    are one. `cosine`: of two embeddings less their mean, from which on they are one, and `numbers` the least of their length.
    """

    name: str = "repeats"
    traps: tuple[str, ...] = ("T12",)
    likeness: Likeness = field(default_factory=Likeness)
    shortest_text: int = 150
    cosine: float = 0.9995
    numbers: int = 16

    def look(self, material: Material) -> tuple[Finding, ...]:
        """Pairs of cases of different patients, films first."""
        films = [
            (case, scan.pixels)
            for case, chart in enumerate(material.charts)
            for scan in chart.of(Scan)
            if scan.pixels.std() > _EMPTY and (scan.pixels >= WHITE).mean() < MOSTLY_WHITE
        ]
        cases, first = _by_content(films)
        exact = _pairs_within(cases)
        near = _near(cases, film_twins(list(first.values()), self.likeness)) - exact
        texts = _pairs_within(
            _cases_by_content(
                (case, " ".join(note.text.casefold().split()))
                for case, chart in enumerate(material.charts)
                for note in chart.of(Note)
                if len(note.text) >= self.shortest_text
            )
        )
        columns = tuple(dict.fromkeys(scan.field_name for chart in material.charts for scan in chart.of(Scan)))
        found = [self._films(material, exact, near, columns, is_parted=is_parted) for is_parted in (True, False)]
        notes = tuple(dict.fromkeys(note.field_name for chart in material.charts for note in chart.of(Note)))
        found.append(self._texts(material, texts, notes))
        found.append(self._embeddings(material))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.severity.rank))

    def _films(
        self,
        material: Material,
        exact: Pairs,
        near: Pairs,
        columns: tuple[str, ...],
        *,
        is_parted: bool,
    ) -> Finding | None:
        """Equal films of different patients: of different groups, or of one group (where they only count twice)."""

        def chosen(pairs: Pairs) -> Pairs:
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

    def _texts(self, material: Material, pairs: Pairs, columns: tuple[str, ...]) -> Finding | None:
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

    def _embeddings(self, material: Material) -> Finding | None:
        """Neighbours among vectors. They warn: equal short texts, too, have equal vectors."""
        pairs: Pairs = set()
        columns = []
        for name in dict.fromkeys(one.name for chart in material.charts for one in chart.of(Embedding)):
            held = [
                (case, np.asarray(one.vector, dtype=np.float64))
                for case, chart in enumerate(material.charts)
                for one in chart.of(Embedding)
                if one.name == name and len(one.vector) >= self.numbers
            ]
            found = {(a, b) for a, b in self._neighbours(held) if material.groups[a] != material.groups[b]}
            pairs |= found
            columns += [name] if found else []
        if not pairs:
            return None
        cases = np.unique([case for pair in pairs for case in pair])
        return Finding(
            trap="T12",
            check=self.name,
            severity=Severity.WARN,
            told=f"{', '.join(columns)}: vectors of different groups are one, so what they were computed from may be too",
            evidence=f"{len(cases)} cases, {len(pairs)} pairs with a cosine of at least {self.cosine:g} less the mean vector"
            f"{_parted(material, pairs)}",
            effect=_EFFECT,
            remedy="look at what these vectors were computed from; where it is the same, give the patients one value in a "
            "column of their own and name it (--group COLUMN), or leave one of each pair out (--where)",
            columns=material.columns_of(columns),
            rows=material.named(cases),
        )

    def _neighbours(self, held: list[tuple[int, np.ndarray]]) -> Pairs:
        cases, first = _by_content(held)
        pairs = _pairs_within(cases)
        if len({len(vector) for vector in first.values()}) != 1:
            return pairs
        together = np.stack(list(first.values()))
        together = together - together.mean(axis=0)
        lengths = np.linalg.norm(together, axis=1, keepdims=True)
        together = np.divide(together, lengths, out=np.zeros_like(together), where=lengths > 0.0)
        near: Pairs = set()
        for start in range(0, len(together), _BLOCK):
            alike = np.argwhere(together[start : start + _BLOCK] @ together.T >= self.cosine)
            near |= {(start + at, other) for at, other in alike.tolist() if start + at < other}
        return pairs | _near(cases, near)


def _parted(material: Material, pairs: Pairs) -> str:
    """What the protocol does with the pairs, where there is one."""
    return "" if material.protocol is None else f"; the split parts {material.n_parted(pairs)} of {len(pairs)} pairs"


def _by_content(held: Iterable[tuple[int, np.ndarray]]) -> tuple[dict[str, set[int]], dict[str, np.ndarray]]:
    """The cases that hold each content, and the content itself, in one order."""
    hashed = [(case, hashlib.sha256(numbers.tobytes()).hexdigest(), numbers) for case, numbers in held]
    first = {digest: numbers for _, digest, numbers in reversed(hashed)}
    cases = _cases_by_content((case, digest) for case, digest, _ in hashed)
    return cases, {digest: first[digest] for digest in cases}


def _near(cases: Mapping[str, set[int]], pairs: Iterable[tuple[int, int]]) -> Pairs:
    """Pairs of cases, from pairs of places among the contents."""
    held = list(cases.values())
    return {pair for a, b in pairs for pair in _across(held[a], held[b])}


def _cases_by_content(held: Iterable[tuple[int, str]]) -> dict[str, set[int]]:
    cases: dict[str, set[int]] = defaultdict(set)
    for case, content in held:
        cases[content].add(case)
    return dict(cases)


def _pairs_within(by_content: Mapping[str, set[int]]) -> Pairs:
    """Pairs of cases that hold the same."""
    return {
        pair
        for same in by_content.values()
        for pair in (
            combinations(sorted(same), 2) if len(same) <= _MOST_TOGETHER else zip(sorted(same), sorted(same)[1:], strict=False)
        )
    }


def _across(one: set[int], other: set[int]) -> Pairs:
    """Pairs of a case of the one with a case of the other; of very many enough to name them all."""
    ours, theirs = sorted(one), sorted(other)
    if len(ours) * len(theirs) > _MOST_TOGETHER:
        ours, theirs = (ours[:1], theirs) if len(ours) > len(theirs) else (ours, theirs[:1])
    return {(min(a, b), max(a, b)) for a, b in product(ours, theirs) if a != b}
