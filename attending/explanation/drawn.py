"""An explanation as pictures: its films, its notes and its values, by the kind of evidence that each place lies in.

Here, and only here, explanation knows how a kind of evidence looks. A new kind needs one more drawing. The pictures hold the
patient's film and words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attending.case import (
    Box,
    Case,
    Censoring,
    Characters,
    Demographics,
    Embedding,
    Evidence,
    Lab,
    Note,
    Place,
    Scan,
    Sign,
    kind_name,
)
from attending.diagnosis import Explanation
from attending.drawing.contributions import Contribution, contribution_bars, signed
from attending.drawing.marked_words import Piece, marked_words, pieces_of
from attending.drawing.overlay import film_overlay
from attending.explanation.shapley import Shares

NAMES: Mapping[type[Evidence], str] = {
    Note: "note",
    Scan: "film",
    Lab: "laboratory values",
    Sign: "signs",
    Demographics: "age and sex",
    Embedding: "embedding",
}
MOST_VALUES = 16
"""Values that are drawn, the heaviest."""


@dataclass(frozen=True, kw_only=True)
class DrawnNote:
    """One note: in pieces for a page, and as a picture."""

    name: str
    pieces: tuple[Piece, ...]
    svg: str


@dataclass(frozen=True, kw_only=True)
class DrawnFilm:
    """One film: alone, and under its weights."""

    name: str
    plain: str
    overlay: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """All pictures of one explanation. `values` is None where the case has none that are read."""

    films: tuple[DrawnFilm, ...]
    notes: tuple[DrawnNote, ...]
    values: str | None
    n_values_left_out: int = 0


def draw(case: Case, explanation: Explanation) -> Drawn:
    """Pictures of what the places of this case weigh. Each kind of evidence is tinted by its own heaviest weight."""
    by_evidence: dict[int, list[tuple[Place, float]]] = {}
    for place, weight in explanation.weights:
        by_evidence.setdefault(place.evidence, []).append((place, weight))
    films, notes, values = [], [], []
    for index, entries in sorted(by_evidence.items()):
        evidence = case.evidence[index]
        of = f"{explanation.method}, {explanation.finding}"
        if isinstance(evidence, Scan):
            boxes = [(place.part, weight) for place, weight in entries if isinstance(place.part, Box)]
            films.append(
                DrawnFilm(
                    name=evidence.field_name,
                    plain=film_overlay(evidence.pixels, (), title=f"The film {evidence.field_name}"),
                    overlay=film_overlay(evidence.pixels, boxes, title=f"The film {evidence.field_name}, weighed: {of}"),
                )
            )
        elif isinstance(evidence, Note):
            spans = [(place.part, weight) for place, weight in entries if isinstance(place.part, Characters)]
            notes.append(
                DrawnNote(
                    name=evidence.field_name,
                    pieces=pieces_of(evidence.text, spans),
                    svg=marked_words(evidence.text, spans, title=f"The note {evidence.field_name}, marked: {of}"),
                )
            )
        else:
            label, beside = named(evidence)
            values.append(Contribution(label=label, beside=beside, value=sum(weight for _, weight in entries)))
    values.sort(key=lambda row: -abs(row.value))
    return Drawn(
        films=tuple(films),
        notes=tuple(notes),
        values=_bars(values[:MOST_VALUES], explanation) if values else None,
        n_values_left_out=max(0, len(values) - MOST_VALUES),
    )


def draw_shares(shares: Shares, *, missing: Sequence[str] = ()) -> str:
    """Bars of what each modality adds; those that are missing are named with nothing."""
    rows = [Contribution(label=NAMES.get(kind, kind_name(kind)), value=value) for kind, value in shares.values.items()]
    rows.sort(key=lambda row: -abs(row.value))
    rows += [Contribution(label=name, value=0.0, beside="not there") for name in missing]
    axis = f"{shares.unit}, from {signed(shares.empty)} to {signed(shares.full)}"
    return contribution_bars(rows, title=f"What each modality adds to {shares.finding}", axis=axis)


def named(evidence: Evidence) -> tuple[str, str]:
    """What a piece of evidence is called, and what it says, with its reference range where it has one."""
    if isinstance(evidence, Lab):
        sign = {Censoring.BELOW: "< ", Censoring.ABOVE: "> ", Censoring.NONE: ""}[evidence.censoring]
        unit = "" if evidence.unit.symbol == "unstated" else f" {evidence.unit.symbol}"
        range_ = "" if evidence.reference is None else f" ({evidence.reference[0]:g} to {evidence.reference[1]:g})"
        return evidence.code, f"{sign}{evidence.value:.4g}{unit}{range_}"
    if isinstance(evidence, Sign):
        return evidence.name, evidence.value
    if isinstance(evidence, Demographics):
        age = "" if evidence.age_years is None else f"{evidence.age_years:g} years"
        return "age and sex", ", ".join(part for part in (age, evidence.sex or "") if part)
    return getattr(evidence, "name", kind_name(type(evidence))), ""


def _bars(rows: Sequence[Contribution], explanation: Explanation) -> str:
    return contribution_bars(rows, title=f"Values weighed: {explanation.method}, {explanation.finding}", axis="weight")
