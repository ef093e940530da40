"""The pointing game where reasons are known, which is on the synthetic clinic alone: is the heaviest place where the reason is?

A question is one modality of one case, and the disease for which that modality holds its weightiest reason. A hit: the centre
of the place with the largest absolute weight in that modality lies in that reason's shadow, words or value (Zhang et al. 2018,
"Top-down neural attention by excitation backprop", section 5.1). Chance is a place drawn at random.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from attending.case import Box, Case, Characters, Evidence, Lab, Note, Place, Scan, Sign
from attending.diagnosis import Explanation
from attending.records.clinic.reasons import Reason
from attending.records.clinic.world import SHADOWS

MODALITIES: Mapping[str, tuple[type[Evidence], ...]] = {"film": (Scan,), "note": (Note,), "value": (Lab,), "sign": (Sign,)}
"""What is asked about, and the kinds of evidence it lies in."""
REASONS = "truth/reasons.json"
"""What lies beside a table of the synthetic clinic, and beside no other."""
_OF = {"film": "film", "note": "note", "labs": "value", "signs": "sign"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """Where one reason lies in a case: pieces of evidence, and within them characters or pixels (None: the whole).

    `level` is what it says: "present", "high", or that it is not so.
    """

    finding: str
    disease: str
    modality: str
    level: str
    log_odds: float
    evidence: frozenset[int]
    span: Characters | None = None
    mask: Bool[np.ndarray, "height width"] | None = None

    def holds(self, place: Place) -> bool:
        """Whether the centre of the place lies in it."""
        if place.evidence not in self.evidence:
            return False
        if self.mask is not None and isinstance(place.part, Box):
            row, column = (place.part.top + place.part.bottom) // 2, (place.part.left + place.part.right) // 2
            return bool(self.mask[min(row, self.mask.shape[0] - 1), min(column, self.mask.shape[1] - 1)])
        if self.span is not None and isinstance(place.part, Characters):
            return self.span.start <= (place.part.start + place.part.stop) / 2 < self.span.stop
        return True


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """One answer of the game: whether it was a hit, and how often a random place would have been."""

    target: Target
    is_hit: bool
    chance: float


def targets_of(case: Case, reasons: Mapping[str, Sequence[Reason]], *, carry: Callable[[Place], Place]) -> tuple[Target, ...]:
    """Where the reasons of a case lie in it, by the names of its evidence; `carry` takes places of the chart to the case.

    A reason whose evidence the case lacks is left out.
    """
    found = []
    for disease, each in reasons.items():
        for reason in each:
            modality = _OF[reason.modality]
            pieces = frozenset(
                index for index, evidence in enumerate(case.evidence) if _is_of(evidence, reason.modality, reason.finding)
            )
            if not pieces:
                continue
            part = reason.place.part
            span = carry(Place(min(pieces), part)).part if isinstance(part, Characters) else None
            found.append(
                Target(
                    finding=reason.finding,
                    disease=disease,
                    modality=modality,
                    level=reason.level,
                    log_odds=reason.log_odds,
                    evidence=pieces,
                    span=span if isinstance(span, Characters) else None,
                    mask=reason.mask,
                )
            )
    return tuple(found)


def questions(targets: Sequence[Target]) -> dict[str, Target]:
    """Modality → its weightiest reason, over all diseases."""
    chosen: dict[str, Target] = {}
    for target in targets:
        held = chosen.get(target.modality)
        if held is None or abs(target.log_odds) > abs(held.log_odds):
            chosen[target.modality] = target
    return chosen


def says_absent(target: Target) -> bool:
    """Whether the words of a note say that something is not there: a symptom denied, or a list of drugs without steroids.

    A model may tell the same from a note without these words, and then there is no place to point at. In the clinic it mostly
    does: a note passes over most symptoms that are not there, and nearly every note without the one drug has another.
    """
    return target.modality == "note" and target.level == "absent"


def point(case: Case, explanation: Explanation, target: Target) -> Pointing | None:
    """Whether the explanation, which must be of the target's disease, points at it; None where it weighs nothing there."""
    assert explanation.finding == target.disease
    kinds = MODALITIES[target.modality]
    among = [(place, weight) for place, weight in explanation.weights if isinstance(case.evidence[place.evidence], kinds)]
    if not among or all(weight == 0.0 for _, weight in among):
        return None
    heaviest = max(among, key=lambda entry: abs(entry[1]))[0]
    chance = float(np.mean([target.holds(place) for place, _ in among]))
    return Pointing(target=target, is_hit=target.holds(heaviest), chance=chance)


class KnownReasons:
    """The reasons that `attending clinic` wrote beside its table, read once; there are none beside any other table."""

    def __init__(self, folder: Path) -> None:
        self._folder, path = folder, folder / REASONS
        self.are_there = path.is_file()
        self._held = json.loads(path.read_text(encoding="utf-8")) if self.are_there else {}

    def of(self, own_id: str) -> dict[str, tuple[Reason, ...]]:
        """Those of one visit; empty where there are none."""
        held = self._held.get(own_id, {})
        path = self._folder / "truth" / "masks" / f"{own_id}.png"
        flags = np.asarray(Image.open(path)) if held and path.is_file() else None
        return {disease: tuple(_reason(entry, flags) for entry in entries) for disease, entries in held.items()}


def _reason(entry: Mapping[str, Any], flags: np.ndarray | None) -> Reason:
    mask = None
    if entry["modality"] == "film" and flags is not None:
        mask = (flags >> SHADOWS.index(entry["finding"])) % 2 == 1
    part = Characters(*entry["characters"]) if "characters" in entry else None
    place = Place(entry["evidence"]) if part is None else Place(entry["evidence"], part)
    return Reason(
        finding=entry["finding"],
        modality=entry["modality"],
        level=entry["level"],
        place=place,
        log_odds=entry["log_odds"],
        mask=mask,
    )


def _is_of(evidence: Evidence, modality: str, finding: str) -> bool:
    if isinstance(evidence, Lab):
        return modality == "labs" and evidence.code == finding
    if isinstance(evidence, Sign):
        return modality == "signs" and evidence.name == finding
    return isinstance(evidence, Scan if modality == "film" else Note) and modality in ("film", "note")
