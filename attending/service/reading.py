"""Bytes → message → chart, in three steps that refuse with the field and the remedy, and never repeat what was sent.

A case is read as `attending predict` reads a row of a table: the same units, levels and label words. What a table leaves out
and counts (a value that cannot be read, a time after the question) is refused here, because somebody is there to mend it.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NoReturn

import numpy as np
from pydantic import BaseModel, ValidationError

from attending.case import (
    UNSTATED,
    CaseId,
    Censoring,
    Chart,
    Demographics,
    Embedding,
    Evidence,
    GroupId,
    Identity,
    Lab,
    Note,
    PatientId,
    Scan,
    Sign,
    Unit,
)
from attending.intake import LONGEST_SIDE
from attending.records.cells import sex_of
from attending.records.column import Rule
from attending.records.images import BombError, ImageError, pixels_of, pixels_told
from attending.records.label_words import without_label_words
from attending.records.units import UnitError, convert
from attending.records.values import is_unknown
from attending.service.fields import Fields
from attending.service.messages import (
    MOST_CHARACTERS,
    MOST_EXPLAINED_CHARACTERS,
    CaseIn,
    EmbeddingIn,
    ImageIn,
    NoteIn,
    RangeIn,
    SignIn,
    ValueIn,
)
from attending.service.problem import MOST_FAULTS, MOST_LOOKED_FOR, Fault, Problem, refused

MOST_PIXELS = 16 * 2**20
"""Largest picture decoded over the network: 4,096 × 4,096. Looked up in its header first."""
_HEADER_CHARACTERS = 2**20
"""Of a picture as base64, in which its header lies (a multiple of four)."""
_SHAPES = {
    "missing": ("is missing", "add it"),
    "string_too_long": ("is too long", "shorten it; GET /openapi.json gives the longest"),
    "too_long": ("has too many entries", "leave some out; GET /openapi.json gives the most"),
    "finite_number": ("is not a finite number", "leave an unknown value out"),
    "less_than_equal": ("is too large", "a time is 0 or below (hours before the question), an age at most 130 years"),
    "greater_than_equal": ("is too small", "check it; GET /openapi.json gives the least"),
    "literal_error": ("is not one of the words that are taken", "GET /openapi.json lists them"),
    "string_unicode": ("is not text that Unicode can hold", "send whole characters, not halves of surrogate pairs"),
}
_TYPED = ("is not of the type that is expected", "GET /openapi.json says which")


class _UnreadableJsonError(ValueError):
    """Says what, never which text."""


def message_of(body: bytes) -> CaseIn:
    """The case as it was sent. Raises `Problem` 400 for what is no JSON and 422 for what has another shape."""
    try:
        plain = json.loads(body.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Problem(400, "not-json", "the body is not UTF-8; send JSON (RFC 8259)") from None
    except _UnreadableJsonError as error:
        raise Problem(400, "not-json", f"the body is not readable as JSON: {error}; see RFC 8259") from None
    except RecursionError:
        raise Problem(400, "not-json", "the body is nested too deeply; a case is three levels deep") from None
    except ValueError as error:  # also numbers of thousands of digits
        where = f" (at character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise Problem(400, "not-json", f"the body is not readable as JSON{where}; see RFC 8259") from None
    try:
        return CaseIn.model_validate(plain)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        named, more = errors[:MOST_FAULTS], len(errors[MOST_FAULTS:])
        raise refused([_fault(each, plain) for each in named], more=more) from None


def chart_of(message: CaseIn, fields: Fields, *, request: str, pictures: Sequence[tuple[str | None, bytes]] = ()) -> Chart:
    """The chart that the message tells of. `pictures` are files that came beside it, each with its field.

    Raises `Problem` 422 with every field that the model's schema does not have or cannot read.
    """
    reader = _Reader(fields)
    evidence = [
        *reader.notes(message.notes, most=MOST_EXPLAINED_CHARACTERS if message.explanation else MOST_CHARACTERS),
        *reader.values(message.values),
        *reader.signs(message.signs),
        *reader.images(message.images, pictures),
        *reader.embeddings(message.embeddings),
        *reader.demographics(message.age_years, message.sex),
    ]
    if reader.faults:
        raise refused(reader.faults)
    return Chart(
        id=CaseId(request),
        patient=PatientId(request),
        group=GroupId(request),
        evidence=tuple(evidence),
        identity=Identity(values={str(number): text for number, text in enumerate(message.identity)}),
    )


def pixels_sent(message: CaseIn, pictures: Sequence[tuple[str | None, bytes]]) -> int:
    """How many pixels the headers of all pictures of a case name together; nothing is decoded for it."""
    sent = sum(pixels_told(content) for _, content in pictures)
    for image in message.images:
        with suppress(ValueError):  # what is not base64 is refused when it is read
            sent += pixels_told(base64.b64decode(image.data[:_HEADER_CHARACTERS].encode("ascii")))
    return sent


class _Reader:
    """The parts of a message as evidence. Faults gather, so that one answer names all of them."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.faults: list[Fault] = []

    def notes(self, notes: Sequence[NoteIn], *, most: int) -> Iterable[Evidence]:
        if sum(len(note.text) for note in notes) > most:
            remedy = "send the notes that matter" + (", or ask for no explanation" if most < MOST_CHARACTERS else "")
            self._refuse("/notes", f"hold more than {most} characters together", remedy)
            return
        known = self.fields.notes

        def place(entry: tuple[int, NoteIn]) -> int:
            """As a table has them, whatever the order in which they were sent: words are read with their neighbours."""
            return known.index(entry[1].field) if entry[1].field in known else 0

        for number, note in sorted(enumerate(notes), key=place):
            name = self._named(note.field, known, pointer=f"/notes/{number}/field", what="note")
            if name is None or not self._in_time(note.at_hours, f"/notes/{number}") or not note.text.strip():
                continue
            schema = self.fields.schema
            text = without_label_words(note.text, schema) if schema.masks_label_words else note.text
            yield Note(at=note.at_hours, text=text, field_name=name)

    def values(self, values: Sequence[ValueIn]) -> Iterable[Evidence]:
        for number, value in enumerate(values):
            pointer = f"/values/{number}"
            code = self._named(value.code, tuple(self.fields.values), pointer=f"{pointer}/code", what="code")
            if code is None or not self._in_time(value.at_hours, pointer):
                continue
            held = self.fields.values[code]
            rule = held.rules.below if value.limit == "below" else held.rules.above
            if value.limit is not None and rule is not Rule.CENSORED:
                self._refuse(f"{pointer}/limit", "is not used by the model's schema for this code", "leave the value out")
                continue
            found = self._in_unit(value, held.unit, code, pointer)
            if found is None:
                continue
            amount, reference = found
            yield Lab(
                at=value.at_hours,
                code=code,
                value=amount,
                unit=Unit(held.unit) if held.unit else UNSTATED,
                reference=reference,
                censoring=Censoring(value.limit) if value.limit else Censoring.NONE,
            )

    def _in_unit(
        self, value: ValueIn, expected: str | None, code: str, pointer: str
    ) -> tuple[float, tuple[float, float] | None] | None:
        """The number and its range in the unit of the schema, or None with a fault."""
        ends = () if value.reference is None else (value.reference.low, value.reference.high)
        if ends and ends[0] > ends[1]:
            self._refuse(f"{pointer}/reference", "has its low end above its high end", "exchange them")
            return None
        if expected is None and value.unit is not None:
            self._refuse(f"{pointer}/unit", "stands beside a code that is held in no unit", "leave the unit out")
            return None
        if expected is not None and value.unit is None and expected != "1":
            self._refuse(f"{pointer}/unit", "is missing", f'name the unit of this value; the model holds "{expected}"')
            return None
        try:
            unit = expected if value.unit is None else value.unit
            held = [
                number if expected is None else convert(number, str(unit), expected, code=code)
                for number in (value.value, *ends)
            ]
        except UnitError:
            self._refuse(f"{pointer}/unit", "does not measure the same", f'expected a unit that converts to "{expected}"')
            return None
        if not all(map(math.isfinite, held)):
            self._refuse(f"{pointer}/value", "is too large to hold in the model's unit", "check the value and its unit")
            return None
        return held[0], (held[1], held[2]) if ends else None

    def signs(self, signs: Sequence[SignIn]) -> Iterable[Evidence]:
        for number, sign in enumerate(signs):
            pointer = f"/signs/{number}"
            name = self._named(sign.name, tuple(self.fields.signs), pointer=f"{pointer}/name", what="sign")
            if name is None or not self._in_time(sign.at_hours, pointer):
                continue
            levels = self.fields.signs[name]
            level = self._level(sign.level, levels, f"{pointer}/level")
            if level is not None:
                yield Sign(at=sign.at_hours, name=name, value=level, levels=levels)

    def _level(self, text: str, levels: Sequence[str], pointer: str) -> str | None:
        """The level meant, without regard to case; None for a word that means "not known", or with a fault."""
        word = text.strip()
        found = next((level for level in (*levels,) if level == word), None)
        if found is None and not is_unknown(word):
            found = next((level for level in levels if level.lower() == word.lower()), None)
            if found is None:
                self._refuse(pointer, "is not a level of this sign", f"take one of {_listed(levels)}, or leave the sign out")
        return found

    def images(self, images: Sequence[ImageIn], pictures: Sequence[tuple[str | None, bytes]]) -> Iterable[Evidence]:
        for number, image in enumerate(images):
            pointer = f"/images/{number}"
            name = self._named(image.field, self.fields.images, pointer=f"{pointer}/field", what="image")
            if name is None or not self._in_time(image.at_hours, pointer):
                continue
            try:
                content = base64.b64decode(image.data.encode("ascii"), validate=True)
            except (binascii.Error, UnicodeEncodeError, ValueError):
                self._refuse(f"{pointer}/data", "is not base64", "encode the file as RFC 4648, section 4, has it")
                continue
            yield from self._scan(content, name, at=image.at_hours, pointer=f"{pointer}/data")
        for number, (field, content) in enumerate(pictures):
            name = self._named(field, self.fields.images, pointer=f"/files/{number}", what="image")
            if name is not None:
                yield from self._scan(content, name, at=0.0, pointer=f"/files/{number}")

    def _scan(self, content: bytes, name: str, *, at: float, pointer: str) -> Iterable[Evidence]:
        try:
            yield Scan(at=at, pixels=pixels_of(content, longest_side=LONGEST_SIDE, most_pixels=MOST_PIXELS), field_name=name)
        except BombError:
            self._refuse(pointer, f"has more than {MOST_PIXELS} pixels by its header", "shrink the picture")
        except ImageError:
            self._refuse(pointer, "is not a readable PNG or JPEG picture", "save the picture again, as PNG or JPEG")

    def embeddings(self, embeddings: Sequence[EmbeddingIn]) -> Iterable[Evidence]:
        for number, embedding in enumerate(embeddings):
            pointer = f"/embeddings/{number}"
            known = tuple(self.fields.embeddings)
            name = self._named(embedding.name, known, pointer=f"{pointer}/name", what="embedding")
            if name is None or not self._in_time(embedding.at_hours, pointer):
                continue
            with np.errstate(over="ignore"):
                vector = np.asarray(embedding.vector, dtype=np.float32)
            length = self.fields.embeddings[name]
            if len(vector) != length or not np.isfinite(vector).all():
                self._refuse(f"{pointer}/vector", "is not what the model's encoder gives", f"send {length} finite numbers")
                continue
            yield Embedding(at=embedding.at_hours, name=name, vector=vector)

    def demographics(self, age_years: float | None, sex: str | None) -> Iterable[Evidence]:
        known = None if sex is None or is_unknown(sex) or not sex.strip() else sex_of(sex)
        if age_years is not None and not self.fields.has_age:
            self._refuse("/age_years", "is no field of this model", "leave it out")
        if sex is not None and not self.fields.sexes:
            self._refuse("/sex", "is no field of this model", "leave it out")
        elif known is not None and known not in self.fields.sexes:
            self._refuse("/sex", "is not a word for it that the model knows", f"take one of {_listed(self.fields.sexes)}")
        elif age_years is not None or known is not None:
            yield Demographics(age_years=age_years, sex=known)

    def _named(self, name: str | None, known: Sequence[str], *, pointer: str, what: str) -> str | None:
        """The field meant. None stands for the only one there is."""
        if name is None and len(known) == 1:
            return known[0]
        if name in known:
            return name
        if not known:
            self._refuse(pointer, f"names a {what}, and this model has none", "leave it out")
        elif name is None:
            self._refuse(pointer, "is missing", f"take one of {_listed(known)}")
        else:
            near = get_close_matches(name, known, n=1, cutoff=0.6)
            meant = f'did you mean "{near[0]}"? GET /v1/model lists them' if near else f"take one of {_listed(known)}"
            self._refuse(pointer, f"is no {what} of this model", meant)
        return None

    def _in_time(self, at: float, pointer: str) -> bool:
        window = self.fields.schema.look_back_hours
        if window is None or at >= -window:
            return True
        self._refuse(
            f"{pointer}/at_hours", "lies before the look-back window", f"leave out what is older than {window:g} hours"
        )
        return False

    def _refuse(self, pointer: str, found: str, remedy: str) -> None:
        self.faults.append(Fault(pointer=pointer, found=found, remedy=remedy))
        if len(self.faults) == MOST_LOOKED_FOR:  # each of them costs a search for what was meant
            raise refused(self.faults)


def _listed(words: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(f'"{word}"' for word in words[:most])
    return f"{shown} and {len(words) - most} more (GET /v1/model)" if len(words) > most else shown


def _fault(error: Mapping[str, Any], plain: Any) -> Fault:
    """What pydantic found, without the input. An unknown member is told by its place: its name is the client's own word."""
    path, kind = error["loc"], error["type"]
    found, remedy = _SHAPES.get(kind, _TYPED)
    if kind == "extra_forbidden":
        path, name = path[:-1], str(path[-1])
        holder = plain
        for step in path:
            holder = holder[step]
        known = _members(path)
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        found = f"holds a member that is not known, number {list(holder).index(name) + 1} of {len(holder)}"
        remedy = f'did you mean "{near[0]}"?' if near else f"leave it out; known are {_listed(known, most=20)}"
    return Fault(pointer="".join(f"/{step}" for step in path), found=found, remedy=remedy)


def _members(path: Sequence[str | int]) -> list[str]:
    """The members that the object at this path may have."""
    parts: dict[str, type[BaseModel]] = {
        "notes": NoteIn, "values": ValueIn, "signs": SignIn, "images": ImageIn, "embeddings": EmbeddingIn, "reference": RangeIn
    }  # fmt: skip
    named = [step for step in path if isinstance(step, str)]
    return list((parts[named[-1]] if named else CaseIn).model_fields)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # two readers of one body would otherwise read different cases
        raise _UnreadableJsonError("an object names a member twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise _UnreadableJsonError("a number is not finite; leave an unknown value out")
