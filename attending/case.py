"""What comes in: a patient's evidence, as a chart (identified) and as a case (de-identified).

`Chart` and `Case` are different types on purpose. Only `attending.privacy` turns the first into the second, and the model
accepts nothing but the second, so "the model never saw a name" is a fact of the type checker.
Nothing here reads files, knows torch, or fills in what is absent.
"""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import NewType, TypeVar

import numpy as np
from jaxtyping import Float

CaseId = NewType("CaseId", str)
"""Name of one case; before privacy the table's own id, after it a keyed hash."""
PatientId = NewType("PatientId", str)
"""Name of a person; several cases (visits) may share it."""
GroupId = NewType("GroupId", str)
"""Name of the widest group a case belongs to (patient, family, article); cases of one group never part."""
Hours = float
"""Hours relative to the moment the question is asked; negative is before it, and nothing may be after it."""


@dataclass(frozen=True)
class Unit:
    """A unit of measurement, by the symbol in which values are held. `UNSTATED` where nobody wrote one down."""

    symbol: str

    def __post_init__(self) -> None:
        if not self.symbol.strip():
            raise ValueError('a unit needs a symbol; write Unit("1") for a pure number or UNSTATED for an unknown unit')

    def __str__(self) -> str:
        return self.symbol


UNSTATED = Unit("unstated")


class Censoring(Enum):
    """Where the true value lies relative to the one written down: `<5` is BELOW 5."""

    NONE = "none"
    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, kw_only=True)
class Evidence(ABC):  # noqa: B024 -- abstract by meaning: nobody holds "some evidence"
    """One thing known about a patient, and when it was known.

    Raises `ValueError` when it is later than the question: what was not yet known may not help to answer.
    """

    at: Hours = 0.0

    def __post_init__(self) -> None:
        if not self.at <= 0.0:
            raise ValueError(
                f"{type(self).__name__} lies {self.at:g} hours after the question; "
                "only evidence known when the question is asked may be used"
            )


@dataclass(frozen=True, kw_only=True)
class Note(Evidence):
    """Free text, in full. `field_name` is the column it came from (indication, history, …)."""

    text: str = field(repr=False)
    field_name: str = "note"
    author_role: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan(Evidence):
    """One grey-scale picture. Pixels are luminance in [0, 1] (0 black), rows from the top."""

    pixels: Float[np.ndarray, "height width"] = field(repr=False)
    field_name: str = "image"
    spacing_mm: float | None = None
    view: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixels.ndim != 2 or 0 in self.pixels.shape:
            raise ValueError(f"a scan is a picture of height × width, found shape {self.pixels.shape}")


@dataclass(frozen=True, kw_only=True)
class Lab(Evidence):
    """One measured number with its unit. `reference` is the (low, high) range printed beside it, in the same unit."""

    code: str
    value: float
    unit: Unit = UNSTATED
    reference: tuple[float, float] | None = None
    censoring: Censoring = Censoring.NONE

    def __post_init__(self) -> None:
        super().__post_init__()
        if not np.isfinite(self.value):
            raise ValueError(f"{self.code}: a laboratory value is a finite number; an unknown one is no evidence at all")


@dataclass(frozen=True, kw_only=True)
class Sign(Evidence):
    """One finding of history or examination: a category out of the levels the schema lists."""

    name: str
    value: str
    levels: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value not in self.levels:
            raise ValueError(f"{self.name}: a sign takes one of its {len(self.levels)} levels")


@dataclass(frozen=True, kw_only=True)
class Demographics(Evidence):
    """Age in years and sex: evidence like any other, so either may be absent (None) or the whole removed."""

    age_years: float | None = None
    sex: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding(Evidence):
    """A vector that somebody else's encoder computed from evidence we do not hold."""

    name: str
    vector: Float[np.ndarray, " dim"] = field(repr=False)


EvidenceT = TypeVar("EvidenceT", bound=Evidence)
KINDS: tuple[type[Evidence], ...] = (Note, Scan, Lab, Sign, Demographics, Embedding)


def kind_name(kind: type[Evidence]) -> str:
    """What patterns, results and answers call a kind of evidence: `note`, `image`, `lab`, as the command line does."""
    return "image" if kind is Scan else kind.__name__.lower()


@dataclass(frozen=True)
class Characters:
    """Characters `start` to `stop` (exclusive) of a note."""

    start: int
    stop: int


@dataclass(frozen=True)
class Box:
    """A rectangle of a scan in pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Whole:
    """All of one piece of evidence."""


@dataclass(frozen=True)
class Place:
    """Where a token came from: a part of the evidence with this index in `Case.evidence`.

    Index −1 is no evidence at all: a learned token, such as the register or a field made visible as missing.
    """

    evidence: int
    part: Characters | Box | Whole = Whole()


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Evidence that was expected and could not be had, with the reason in words (never the content)."""

    kind: type[Evidence]
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What names a person in the table: column → the row's own value. Leaves with the chart."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Patient(ABC):
    id: CaseId
    patient: PatientId
    group: GroupId
    evidence: tuple[Evidence, ...]
    truth: Mapping[str, bool] = field(default_factory=dict)
    site: str | None = None
    strata: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[Absence, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "truth", dict(self.truth))
        object.__setattr__(self, "strata", dict(self.strata))

    def of(self, kind: type[EvidenceT]) -> tuple[EvidenceT, ...]:
        """All evidence of one kind, in order."""
        return tuple(e for e in self.evidence if isinstance(e, kind))


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart(_Patient):
    """One patient at one moment, with identity. A finding missing from `truth` is unknown, never false."""

    identity: Identity = field(default_factory=Identity, repr=False)
    asked_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Case(_Patient):
    """One de-identified patient at one moment: all that a model may see.

    `site`, `strata` and `truth` are for judging, not for predicting: blanking them changes no prediction (tested).
    Constructed by `attending.privacy` alone.
    """

    def without(self, kind: type[Evidence]) -> "Case":
        """The same case as if no evidence of this kind had ever been there."""
        return replace(self, evidence=tuple(e for e in self.evidence if not isinstance(e, kind)))
