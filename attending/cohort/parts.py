"""The nouns of parting patients: a member, a split, a fold, a protocol. Names and sets of ids; nothing is drawn here.

Standard library only. Nobody's evidence is ever seen, only ids, groups, sites and what was recorded.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Part = Literal["train", "tune", "calibrate", "test"]
Kind = Literal["split", "cv", "site", "quick"]


class CohortError(ValueError):
    """The members cannot be parted as asked; the message says what can be done instead."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One case as a line in a list: no evidence. A finding missing from `truth` is unknown.

    `group` is the widest group (patient, family, article) and is never parted. `stratum` is anything else whose levels should
    be spread evenly. `Case` and `Chart` have the same first five fields.
    """

    id: str
    patient: str
    group: str
    truth: Mapping[str, bool] = field(default_factory=dict)
    site: str | None = None
    stratum: str = ""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Each id's part. Parts are whole groups."""

    parts: Mapping[str, Part]

    def ids(self, part: Part) -> tuple[str, ...]:
        """The ids of one part, in the order of the members."""
        return tuple(id for id, held in self.parts.items() if held == part)

    @property
    def hash(self) -> str:
        """SHA-256 of who is where; equal for equal assignments, whatever the order they were written in."""
        return _digest(sorted(self.parts.items()))


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One round: fit everything on `train`, predict `test`. They share no group."""

    repeat: int
    fold: int
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a procedure is judged, and why so (`reason`, in words for the report).

    `split` names all four parts under the kinds `split` and `quick` (whose single fold trains on everything but test); under
    `cv` and `site` it is None and tuning, calibration and thresholds are fitted inside each `Fold.train` (`nested_folds`).
    """

    kind: Kind
    folds: tuple[Fold, ...]
    repeats: int
    seed: int
    reason: str
    split: Split | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_exploratory(self) -> bool:
        """Nothing may be concluded: one quick split."""
        return self.kind == "quick"

    @property
    def hash(self) -> str:
        """SHA-256 of the whole assignment."""
        folds = [[fold.repeat, fold.fold, sorted(fold.train), sorted(fold.test)] for fold in self.folds]
        return _digest([self.kind, folds, None if self.split is None else self.split.hash])


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()
