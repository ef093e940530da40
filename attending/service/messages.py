"""The JSON that goes in and comes out: shapes only. What a model's schema allows of it is checked in `reading`.

Strict: no member that is not listed, no text for a number, no number that is not finite.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from attending.service.words import COVERAGE, ESTIMATE, NOTICE, SHARES

MOST_CHARACTERS = 50_000
"""Of all notes of a case together; a discharge letter has some ten thousand."""
MOST_EXPLAINED_CHARACTERS = 20_000
"""The same where an explanation is asked for, which reads the notes once for every combination of the other modalities."""
MOST_ENTRIES = 2_000
MOST_NOTES, MOST_IMAGES, MOST_VECTORS, LONGEST_VECTOR = 100, 8, 16, 65_536
LONGEST_NAME = 400
Hours = Annotated[
    float, Field(le=0.0, ge=-1e7, description="Hours relative to the question; negative is before it, 0 at the question.")
]
Name = Annotated[str, Field(max_length=LONGEST_NAME)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class NoteIn(_In):
    """One free text."""

    field: Annotated[str | None, Field(max_length=LONGEST_NAME, description="May be left out where there is one.")] = None
    text: Annotated[str, Field(max_length=MOST_CHARACTERS)]
    at_hours: Hours = 0.0


class RangeIn(_In):
    """The reference range printed beside a value, in the value's unit."""

    low: float
    high: float


class ValueIn(_In):
    """One measured number. `unit` is required where the schema holds the code in a unit, and converted to it."""

    code: Name
    value: float
    unit: Annotated[str | None, Field(max_length=40)] = None
    limit: Annotated[
        Literal["below", "above"] | None, Field(description="`below` for a value written as <5, `above` for >5.")
    ] = None
    reference: RangeIn | None = None
    at_hours: Hours = 0.0


class SignIn(_In):
    """One finding of history or examination, by one of its levels."""

    name: Name
    level: Name
    at_hours: Hours = 0.0


class ImageIn(_In):
    """One picture, PNG or JPEG, as base64. Larger films go to the upload route."""

    field: Annotated[str | None, Field(max_length=LONGEST_NAME, description="May be left out where there is one.")] = None
    data: Annotated[str, Field(description="Base64 (RFC 4648, section 4) of a PNG or JPEG file.")]
    at_hours: Hours = 0.0


class EmbeddingIn(_In):
    """A vector that another encoder computed."""

    name: Name
    vector: Annotated[list[float], Field(max_length=LONGEST_VECTOR)]
    at_hours: Hours = 0.0


class CaseIn(_In):
    """One patient at one moment: whatever is known, nothing made up. All of it may be absent.

    `identity` are names and numbers of the patient that may stand in the notes: they are taken out of them before the model
    reads them and written nowhere. Send no other identifier.
    """

    notes: Annotated[list[NoteIn], Field(max_length=MOST_NOTES)] = []
    values: Annotated[list[ValueIn], Field(max_length=MOST_ENTRIES)] = []
    signs: Annotated[list[SignIn], Field(max_length=MOST_ENTRIES)] = []
    images: Annotated[list[ImageIn], Field(max_length=MOST_IMAGES)] = []
    embeddings: Annotated[list[EmbeddingIn], Field(max_length=MOST_VECTORS)] = []
    age_years: Annotated[float | None, Field(ge=0.0, le=130.0)] = None
    sex: Annotated[str | None, Field(max_length=40)] = None
    identity: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=20)] = []
    explanation: Annotated[
        Literal["shapley"] | None, Field(description="`shapley`: exact Shapley values over the modalities that are there.")
    ] = None


class EstimateOut(BaseModel):
    """One recorded label. All but its name are null where the model abstains.

    `presence_in_set`, `absence_in_set`: whether the conformal set holds that the label is present, and that it is absent;
    `absence_in_set` is null where findings exclude each other.
    """

    finding: str
    estimated_probability: Annotated[float | None, Field(ge=0.0, le=1.0, description=ESTIMATE)]
    presence_in_set: bool | None
    absence_in_set: bool | None


class ContributionOut(BaseModel):
    """What one modality adds to the answer."""

    modality: str
    value: float


class SharesOut(BaseModel):
    """The answer for one finding, shared among the modalities that are there, in `unit`."""

    finding: str
    unit: str
    without_evidence: float
    with_all_evidence: float
    contributions: list[ContributionOut]


class ExplanationOut(BaseModel):
    """Why the model answered so."""

    method: Literal["shapley"]
    meaning: str = SHARES
    findings: list[SharesOut]


class AnswerOut(BaseModel):
    """What the model answers for one case. `abstained` is the reason for giving no estimate."""

    notice: str = NOTICE
    request: str
    model: str
    abstained: str | None
    estimates: list[EstimateOut]
    exclusive: Annotated[bool, Field(description="Exactly one finding is true of every case.")]
    conformal_set: Annotated[str | None, Field(description="What the sets promise; null where none was fitted.")]
    missing: Annotated[list[str], Field(description="Kinds of evidence that the model reads and this case lacks.")]
    missing_fields: Annotated[list[str], Field(description="Fields of the schema that this case lacks.")]
    explanation: ExplanationOut | None = None


class ValueField(BaseModel):
    """A code, and the unit in which its values are held (null: none is stated, and none may be sent)."""

    code: str
    unit: str | None


class SignField(BaseModel):
    """A sign and its levels."""

    name: str
    levels: list[str]


class EmbeddingField(BaseModel):
    """An embedding and its length."""

    name: str
    length: int


class LimitsOut(BaseModel):
    """What is refused for its size."""

    body_bytes: int
    note_characters: int
    note_characters_explained: int
    image_pixels: int
    images: int


class ModelOut(BaseModel):
    """What the model reads and what it answers."""

    notice: str = NOTICE
    model: str
    software: str
    findings: list[str]
    exclusive: bool
    estimates: str = ESTIMATE
    conformal_set: str | None
    coverage: str = COVERAGE
    reads: Annotated[list[str], Field(description="Kinds of evidence that the model reads.")]
    notes: list[str]
    values: list[ValueField]
    signs: list[SignField]
    images: list[str]
    embeddings: list[EmbeddingField]
    age_years: bool
    sex: Annotated[list[str], Field(description="Words that are taken for the sex; empty: not a field of this model.")]
    look_back_hours: float | None
    cautions: list[str]
    explanations: list[str]
    limits: LimitsOut


class HealthOut(BaseModel):
    """The process runs, or is ready to answer."""

    notice: str = NOTICE
    status: Literal["ok", "ready"]


class FaultOut(BaseModel):
    """One field, what is wrong with it and what to do."""

    pointer: str
    found: str
    remedy: str


class ProblemOut(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    notice: str
    faults: list[FaultOut] = []
    more_faults: int = 0
