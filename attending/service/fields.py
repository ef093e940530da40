"""What a model takes: the fields of its schema by the names that evidence has, with units, levels and rules.

From the schema that the model carries and, for long-format companions whose names no schema lists, from its tokenizers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from attending.case import Demographics, Embedding, Note, kind_name
from attending.intake import declared_by
from attending.model.trained import TrainedModel
from attending.records import Role, Schema
from attending.records.cells import sex_of
from attending.records.column import UNSTATED, ValueRules
from attending.service.messages import (
    MOST_CHARACTERS,
    MOST_EXPLAINED_CHARACTERS,
    MOST_IMAGES,
    EmbeddingField,
    LimitsOut,
    ModelOut,
    SignField,
    ValueField,
)


@dataclass(frozen=True, kw_only=True)
class Value:
    """How values of one code are held. `unit` None: none is stated."""

    unit: str | None
    rules: ValueRules


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Everything a case may hold. `sexes` empty: sex is no field of this schema."""

    schema: Schema
    notes: tuple[str, ...]
    values: Mapping[str, Value]
    signs: Mapping[str, tuple[str, ...]]
    images: tuple[str, ...]
    embeddings: Mapping[str, int]
    has_age: bool
    sexes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All fields, in the order in which a case has them."""
        demographics = (*(("age_years",) if self.has_age else ()), *(("sex",) if self.sexes else ()))
        return (*self.notes, *self.values, *self.signs, *self.images, *self.embeddings, *demographics)


def fields_of(model: TrainedModel) -> Fields:
    """What this model takes. Raises `SchemaError` where its schema cannot be read."""
    schema = declared_by(model.schema)
    states = {kind: tokenizer.state() for kind, tokenizer in model.tokenizers.by_kind.items()}
    values = {c.field_name: Value(unit=_stated(c.unit), rules=c.rules) for c in schema.of(Role.NUMBER)}
    notes = {c.field_name: None for c in schema.of(Role.NOTE)}
    images = {c.field_name: None for c in schema.of(Role.IMAGE)}
    for companion in schema.companions:
        if companion.kind == "labs":
            beside = {code: Value(unit=_stated(unit), rules=companion.rules) for code, unit in companion.units.items()}
            values = beside | values
        elif companion.kind == "notes":
            known = states.get(Note, {}).get("field_names", ()) if companion.code else ("note",)
            notes |= dict.fromkeys(known)
        else:
            images |= {"image": None}
    lengths = {name: len(mean) for name, (mean, _) in states.get(Embedding, {}).get("scales", {}).items()}
    sex = schema.one(Role.SEX)
    known_sexes = states.get(Demographics, {}).get("sexes", ("female", "male"))
    return Fields(
        schema=schema,
        notes=tuple(notes),
        values=values,
        signs={c.field_name: c.levels for c in schema.of(Role.SIGN)},
        images=tuple(images),
        embeddings={name: lengths[name] for c in schema.of(Role.EMBEDDING) if (name := c.field_name) in lengths},
        has_age=schema.one(Role.AGE) is not None,
        sexes=() if sex is None else tuple(dict.fromkeys(map(sex_of, sex.levels))) or tuple(known_sexes),
    )


def told(model: TrainedModel, fields: Fields, *, most_body_bytes: int, most_pixels: int) -> ModelOut:
    """The same for those who call."""
    conformal = model.settling.conformal
    return ModelOut(
        model=model.id,
        software=f"attending {version('attending')}",
        findings=list(model.task.findings),
        exclusive=model.task.exclusive,
        conformal_set=None if conformal is None else conformal.guarantee,
        reads=[kind_name(kind) for kind in model.tokenizers.by_kind],
        notes=list(fields.notes),
        values=[ValueField(code=code, unit=value.unit) for code, value in fields.values.items()],
        signs=[SignField(name=name, levels=list(levels)) for name, levels in fields.signs.items()],
        images=list(fields.images),
        embeddings=[EmbeddingField(name=name, length=length) for name, length in fields.embeddings.items()],
        age_years=fields.has_age,
        sex=list(fields.sexes),
        look_back_hours=fields.schema.look_back_hours,
        cautions=list(fields.schema.cautions),
        explanations=["shapley"],
        limits=LimitsOut(
            body_bytes=most_body_bytes,
            note_characters=MOST_CHARACTERS,
            note_characters_explained=MOST_EXPLAINED_CHARACTERS,
            image_pixels=most_pixels,
            images=MOST_IMAGES,
        ),
    )


def _stated(unit: str | None) -> str | None:
    return None if unit in (None, UNSTATED) else unit
