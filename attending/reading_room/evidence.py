"""One case's evidence as a page shows it: films, notes, values, signs, age and sex, and what is missing by name.

With an explanation it carries the marks as well, each kind of evidence tinted by its own heaviest place. Data only; the
templates say how it looks. Words of a note are plain text here and are escaped where they are written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from attending.case import Box, Case, Censoring, Characters, Demographics, Embedding, Evidence, Lab, Note, Scan, Sign, kind_name
from attending.diagnosis import Explanation
from attending.drawing.contributions import signed
from attending.drawing.marked_words import Piece, pieces_of
from attending.explanation.drawn import NAMES
from attending.reading_room.change import shown
from attending.reading_room.drawings import bar, marks_on_film

TOLD: Mapping[str, str] = {kind_name(kind): name for kind, name in NAMES.items()}
"""Kinds of evidence as pages call them, by the names that answers have for them."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """What one whole piece of evidence weighs: a bar, and the number."""

    drawn: Markup
    told: str


@dataclass(frozen=True, kw_only=True)
class FilmView:
    """One film; its pixels are fetched by `number`. `marks` lie over it."""

    number: int
    name: str
    when: str
    height: int
    width: int
    marks: Markup | None


@dataclass(frozen=True, kw_only=True)
class NoteView:
    """One note in pieces, marked where an explanation weighs them."""

    number: int
    name: str
    when: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class ValueView:
    """One measured value. `standing` says where it lies in its reference range, if it has one."""

    number: int
    code: str
    written: str
    unit: str
    reference: str
    standing: str
    when: str
    form_value: str
    weight: Weight | None


@dataclass(frozen=True, kw_only=True)
class SignView:
    """One finding of history or examination."""

    number: int
    name: str
    level: str
    levels: tuple[str, ...]
    when: str
    weight: Weight | None


@dataclass(frozen=True, kw_only=True)
class PersonView:
    """Age and sex, whichever is known. `age` as the form shows it."""

    number: int
    age: str
    sex: str
    weight: Weight | None


@dataclass(frozen=True, kw_only=True)
class EvidenceView:
    """All of a case's evidence. `others` are embeddings, by name and length; `missing` names what the model reads and lacks."""

    films: tuple[FilmView, ...]
    notes: tuple[NoteView, ...]
    values: tuple[ValueView, ...]
    signs: tuple[SignView, ...]
    persons: tuple[PersonView, ...]
    others: tuple[tuple[int, str], ...]
    missing: tuple[str, ...]
    has_marks: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.films or self.notes or self.values or self.signs or self.persons or self.others)


def evidence_view(case: Case, *, missing: Sequence[str], explanation: Explanation | None = None) -> EvidenceView:
    """The evidence of a case, marked by an explanation if there is one."""
    weighed = _Weighed(case, explanation)
    films, notes, values, signs, persons, others = [], [], [], [], [], []
    for number, evidence in enumerate(case.evidence):
        when = _when(evidence)
        match evidence:
            case Scan():
                films.append(_film(evidence, number, when, weighed))
            case Note():
                pieces = pieces_of(evidence.text, weighed.words(number))
                notes.append(NoteView(number=number, name=evidence.field_name, when=when, pieces=pieces))
            case Lab():
                values.append(_value(evidence, number, when, weighed.whole(number, evidence.code)))
            case Sign():
                weight = weighed.whole(number, evidence.name)
                signs.append(
                    SignView(
                        number=number,
                        name=evidence.name,
                        level=evidence.value,
                        levels=evidence.levels,
                        when=when,
                        weight=weight,
                    )
                )
            case Demographics():
                age = "" if evidence.age_years is None else shown(evidence.age_years)
                weight = weighed.whole(number, "age and sex")
                persons.append(PersonView(number=number, age=age, sex=evidence.sex or "", weight=weight))
            case Embedding():
                others.append((number, f"{evidence.name}, {len(evidence.vector)} numbers of another encoder"))
    return EvidenceView(
        films=tuple(films),
        notes=tuple(notes),
        values=tuple(values),
        signs=tuple(signs),
        persons=tuple(persons),
        others=tuple(others),
        missing=tuple(TOLD.get(name, name) for name in missing),
        has_marks=explanation is not None,
    )


class _Weighed:
    """The weights of an explanation by the piece of evidence they lie in; none without one."""

    def __init__(self, case: Case, explanation: Explanation | None) -> None:
        self.explanation = explanation
        self._boxes: dict[int, list[tuple[Box, float]]] = {}
        self._words: dict[int, list[tuple[Characters, float]]] = {}
        self._whole: dict[int, float] = {}
        for place, weight in () if explanation is None else explanation.weights:
            match place.part:
                case Box() as part:
                    self._boxes.setdefault(place.evidence, []).append((part, weight))
                case Characters() as part:
                    self._words.setdefault(place.evidence, []).append((part, weight))
                case _ if not isinstance(case.evidence[place.evidence], Scan | Note):
                    self._whole[place.evidence] = self._whole.get(place.evidence, 0.0) + weight
        self._reach = max(map(abs, self._whole.values()), default=0.0)

    def boxes(self, number: int) -> Sequence[tuple[Box, float]] | None:
        """None where nothing was weighed: a film that no explanation looked at has no overlay, not an empty one."""
        return self._boxes.get(number)

    def words(self, number: int) -> Sequence[tuple[Characters, float]]:
        return self._words.get(number, ())

    def whole(self, number: int, name: str) -> Weight | None:
        value = self._whole.get(number)
        return None if value is None else Weight(drawn=bar(value, reach=self._reach, name=name), told=signed(value))


def _film(scan: Scan, number: int, when: str, weighed: _Weighed) -> FilmView:
    height, width = scan.pixels.shape
    boxes, explanation = weighed.boxes(number), weighed.explanation
    marks = None
    if boxes is not None and explanation is not None:
        title = f"What was weighed on the film {scan.field_name} for {explanation.finding}"
        marks = marks_on_film((height, width), boxes, title=title)
    return FilmView(number=number, name=scan.field_name, when=when, height=height, width=width, marks=marks)


def _value(lab: Lab, number: int, when: str, weight: Weight | None) -> ValueView:
    limit = {Censoring.BELOW: "< ", Censoring.ABOVE: "> ", Censoring.NONE: ""}[lab.censoring]
    reference, standing = "", ""
    if lab.reference is not None:
        low, high = lab.reference
        reference = f"{low:g} to {high:g}"
        standing = "below range" if lab.value < low else "above range" if lab.value > high else "in range"
    return ValueView(
        number=number,
        code=lab.code,
        written=f"{limit}{lab.value:.4g}",
        unit="" if str(lab.unit) == "unstated" else str(lab.unit),
        reference=reference,
        standing=standing,
        when=when,
        form_value=shown(lab.value),
        weight=weight,
    )


def _when(evidence: Evidence) -> str:
    """How long before the question, in hours or days."""
    hours = -evidence.at
    if hours < 0.05:
        return "at the question"
    if hours < 2:
        return f"{60 * hours:.0f} min before"
    return f"{hours:.0f} h before" if hours < 72 else f"{hours / 24:.0f} days before"
