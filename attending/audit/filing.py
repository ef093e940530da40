"""T8: how a film was taken or filed tells the answer: folder, file name, format, bit depth, size, projection.

Reads paths and headers, no pixel. A path never becomes evidence here, but a film keeps its shape and depth on the way to a
model, and a projection shows in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from attending.audit.check import Examined, ShortcutCheck
from attending.audit.finding import Finding, Severity, quoted
from attending.audit.material import Material, Truth
from attending.audit.ranking import LEAST_AREA, Ranking, indicators, rank, rank_learned
from attending.audit.shortcut import shortcut_of
from attending.records import RecordError, names, rows_where
from attending.records.column import Role
from attending.records.images import FORMATS, locate
from attending.records.schema import Companion
from attending.records.values import is_unknown, read_number

_PROJECTION = "the projection"
_SIZES = frozenset({"width", "height", "bits", "dpi", "columns", "rows", "pixels", "pixel", "size", "bytes"})
_WORDS = frozenset({"file", "filename", "filepath", "path", "folder", "directory"})


@dataclass(frozen=True, kw_only=True)
class FilingCheck(ShortcutCheck):
    """`least`: the AUROC of one such fact alone from which on it warns."""

    name: str = "filing"
    traps: tuple[str, ...] = ("T8",)
    least: float = LEAST_AREA
    most_levels: int = 50
    most_told: int = 6

    def examine(self, material: Material) -> Examined:
        """What each fact of filing reaches, and one finding for all that rank the answer."""
        facts = self._facts(material)
        tests = max(1, len(facts) * len(material.truths))
        asked = [
            (found, column, fact)
            for (column, fact), values in facts.items()
            for truth in material.truths
            if (found := _rank(material, truth, values, tests=tests)) is not None
        ]
        alarms = sorted((one for one in asked if one[0].alarms(self.least)), key=lambda alarm: -alarm[0].low)
        return Examined(
            shortcuts=tuple(
                shortcut_of(found, trap="T8", check=self.name, input=f'{fact} of "{column}"', least=self.least)
                for found, column, fact in asked
            ),
            findings=(self._found(material, alarms, facts),) if alarms else (),
        )

    def _found(
        self, material: Material, alarms: list[tuple[Ranking, str, str]], facts: Mapping[tuple[str, str], np.ndarray]
    ) -> Finding:
        worst, column, fact = alarms[0]
        columns = tuple(dict.fromkeys(column for _, column, _ in alarms))
        return Finding(
            trap="T8",
            check=self.name,
            severity=Severity.WARN,
            told=f'how films were taken or filed tells the answer: {fact} of "{column}" alone reaches {worst.told}',
            evidence="; ".join(f'{fact} of "{column}": {found}' for found, column, fact in alarms[: self.most_told]),
            effect="a model can answer by the kind of file or view instead of by what the film shows",
            remedy=self._remedy(material, [(column, fact) for _, column, fact in alarms], facts),
            columns=columns,
        )

    def _remedy(self, material: Material, telling: list[tuple[str, str]], facts: Mapping[tuple[str, str], np.ndarray]) -> str:
        """One projection alone where it is a projection that tells, else films that are all filed alike."""
        for column, fact in telling:
            if fact == _PROJECTION:
                held = [str(value) for value in facts[column, fact] if value is not None]
                most = max(sorted(set(held)), key=held.count)
                return f"judge within one projection (--where {quoted(rows_where(material.table, column, [most]))})"
        columns = tuple(dict.fromkeys(column for column, _ in telling))
        return f"write all films in one format, size and depth, in one folder, or {material.leaving_out(columns)}"

    def _facts(self, material: Material) -> dict[tuple[str, str], np.ndarray]:
        """(column, fact) → a value per case: texts (None: no film) or numbers (NaN); constants left out."""
        facts: dict[tuple[str, str], np.ndarray] = {}
        for column in material.schema.of(Role.IMAGE):
            cells = material.cells(column.name)
            first = [None if cell is None or is_unknown(cell) else cell.split(column.separator or "\0")[0] for cell in cells]
            for fact, held in _of_files(first, material.folder).items():
                facts[column.name, fact] = held
        for spec in material.schema.companions:
            if spec.kind == "images" and spec.kind in material.companions:
                for fact, held in _of_files(_first_beside(material, spec), material.folder).items():
                    facts[spec.value, fact] = held
        for column in material.schema.columns:
            words = set(names.words(column.name))
            cells = material.cells(column.name)
            known = [None if cell is None or is_unknown(cell) else cell for cell in cells]
            if column.role is Role.VIEW:
                facts[column.name, _PROJECTION] = np.array(known, dtype=object)
            elif column.role in (Role.BOOKKEEPING, Role.OUTCOME) and words & _SIZES and not words & _WORDS:
                plain = (np.nan if cell is None else read_number(cell, column.rules).value for cell in known)
                facts[column.name, "the value"] = np.array(list(plain), dtype=float)
        return {key: values for key, values in facts.items() if self._varies(values)}

    def _varies(self, values: np.ndarray) -> bool:
        if values.dtype != object:
            return len(np.unique(values[np.isfinite(values)])) > 1
        held = [value for value in values if value is not None]
        return 2 <= len(set(held)) <= min(self.most_levels, len(held) / 5)


def _rank(material: Material, truth: Truth, values: np.ndarray, *, tests: int) -> Ranking | None:
    """How well a fact ranks a finding: numbers as they are, texts as learned on other groups; only cases that have one."""
    if values.dtype != object:
        return rank(material, truth, values[truth.cases], tests=tests)
    present = np.array([values[case] is not None for case in truth.cases])
    return rank_learned(material, truth, indicators(values.tolist()), tests=tests, chosen=present)


def _first_beside(material: Material, spec: Companion) -> list[str | None]:
    """The path of each case's first film in a companion, by the id that the table shares with it; None for no film."""
    companion = material.companions[spec.kind]
    first: dict[str, str] = {}
    for id, path in zip(companion.cells(spec.id), companion.cells(spec.value), strict=True):
        if id is not None and path is not None and not is_unknown(path):
            first.setdefault(id.strip(), path)
    return [None if id is None else first.get(id) for id in material.cells(spec.id)]


def _of_files(paths: list[str | None], folder: Path) -> Mapping[str, np.ndarray]:
    """What path and header say of each film."""
    n = len(paths)
    texts = {
        fact: np.full(n, None, dtype=object) for fact in ("the folder", "the ending", "the beginning of the name", "the depth")
    }
    sizes = {fact: np.full(n, np.nan) for fact in ("the height", "the width")}
    for case, path in enumerate(paths):
        if path is None:
            continue
        pure = Path(path.strip())
        texts["the folder"][case] = pure.parent.as_posix()
        texts["the ending"][case] = pure.suffix.lower()
        texts["the beginning of the name"][case] = re.match(r"[^\d]*", pure.stem)[0]  # type: ignore[index]
        header = _header(path, folder)
        if header is not None:
            texts["the depth"][case], sizes["the width"][case], sizes["the height"][case] = header
    return {**texts, **sizes}


def _header(path: str, folder: Path) -> tuple[str, int, int] | None:
    try:
        with Image.open(locate(path, folder), formats=FORMATS) as picture:
            return f"{picture.format} {picture.mode}", *picture.size
    except (OSError, SyntaxError, ValueError, RecordError, Image.DecompressionBombError):
        return None
