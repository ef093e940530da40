"""One chart: the evidence of a case in order, and where in it each finding is told."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from attending.case import Box, Demographics, Evidence, Note, Place, Scan, Sign
from attending.records.clinic.film import Films
from attending.records.clinic.note import Written
from attending.records.clinic.oracle import Facts
from attending.records.clinic.people import People
from attending.records.clinic.reasons import Told
from attending.records.clinic.values import TESTS, Measured, lab
from attending.records.clinic.world import MODALITIES, SHADOWS, World

FILM, NOTE = "film", "note"


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Films and values as drawn. `film_of` maps a case to its film. Each value was taken `repeats` times since `hours`."""

    films: Films
    film_of: Mapping[int, int]
    measured: Measured
    hours: Float[np.ndarray, " case"]
    repeats: Int[np.ndarray, " case"]
    other_measured: Bool[np.ndarray, "case test"]


def assemble(
    case: int, *, world: World, people: People, facts: Facts, findings: Findings, note: Written | None
) -> tuple[tuple[Evidence, ...], tuple[Told, ...]]:
    """The evidence of one case, in the order in which `read_charts` finds it again, and where it tells each finding."""
    sex = "male" if people.male[case] else "female"
    evidence: list[Evidence] = []
    told: list[Told] = []

    def tell(place: int, where: Place, mask: Bool[np.ndarray, "height width"] | None = None) -> None:
        finding = world.findings[place]
        level = finding.levels[facts.level[case, place]]
        told.append(Told(finding=place, name=finding.name, modality=finding.modality, level=level, place=where, mask=mask))

    film = findings.film_of.get(case)
    if film is not None:
        evidence.append(Scan(pixels=findings.films.pixels[film], field_name=FILM))
        for shadow, name in enumerate(SHADOWS):
            mask = findings.films.masks[film, shadow]
            if mask.any():
                tell(world.place(name), Place(len(evidence) - 1, _box(mask)), mask)
    if note is not None:
        evidence.append(Note(text=note.text, field_name=NOTE))
        for name, span in note.spans.items():
            tell(world.place(name), Place(len(evidence) - 1, span))
    for place, finding in enumerate(world.findings):
        if finding.modality == "signs" and facts.expressed[case, place]:
            evidence.append(Sign(name=finding.name, value=finding.levels[facts.level[case, place]], levels=finding.levels))
            tell(place, Place(len(evidence) - 1))
    evidence.append(Demographics(age_years=float(people.age_years[case]), sex=sex))
    if facts.present[case, MODALITIES.index("labs")]:
        markers = {finding.name: place for place, finding in enumerate(world.findings) if finding.modality == "labs"}
        for column, test in enumerate(TESTS):
            marker = markers.get(test.code)
            if not (findings.other_measured[case, column] if marker is None else facts.expressed[case, marker]):
                continue
            for again in range(findings.repeats[case]):
                at = findings.hours[case] * (findings.repeats[case] - again) / findings.repeats[case]
                evidence.append(lab(findings.measured, case, column, at=round(at * 60.0) / 60.0))
                if marker is not None:
                    tell(marker, Place(len(evidence) - 1))
    return tuple(evidence), tuple(told)


def _box(mask: Bool[np.ndarray, "height width"]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(top=int(rows[0]), left=int(columns[0]), bottom=int(rows[-1]) + 1, right=int(columns[-1]) + 1)
