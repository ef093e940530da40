"""One column of a table: what it is for, when and in which unit its values were known, and how its cells are read.

Only nouns. What is declared of the table as a whole stands in `schema`. A missing unit or time is written down as undeclared,
never silently filled in.
"""

from dataclasses import dataclass, field
from enum import Enum

from attending.records.error import SchemaError

UNSTATED = "unstated"
"""What stands in a schema where nobody declared a unit, a sampling or a reference standard."""
UNRECORDED_TIME = "not recorded: taken at the question"
"""Time of evidence for which the table has no time; an error under strict."""
AT_QUESTION = "at the question"
"""Time of evidence that a person has declared to be known when the question is asked."""


class Role(Enum):
    """What a column is for. Only the roles in `INPUTS` ever become evidence."""

    ID = "id"  # names the row; must be unique
    CASE = "case"  # rows that share it are one case and are joined
    IDENTITY = "identity"
    PATIENT = "patient"
    GROUP = "group"  # wider than the patient: family, article
    VISIT = "visit"
    SITE = "site"
    ASKED_AT = "prediction time"
    TIME = "time of a value"
    NOTE = "note"
    IMAGE = "image"
    VIEW = "view of the image"  # how the picture was taken: kept for judging, not an input
    NUMBER = "number"
    UNIT = "unit column"
    SIGN = "sign"
    AGE = "age"
    SEX = "sex"
    EMBEDDING = "embedding"
    TARGET = "target"
    REFERENCE = "reference standard"
    STRATUM = "stratum"  # a subgroup for judging, not an input
    OUTCOME = "outcome, never an input"
    BOOKKEEPING = "bookkeeping, never an input"
    IGNORED = "ignored"


INPUTS = frozenset({Role.NOTE, Role.IMAGE, Role.NUMBER, Role.SIGN, Role.AGE, Role.SEX, Role.EMBEDDING})


class Rule(Enum):
    """What becomes of a number that is not a plain one."""

    CENSORED = "censored"
    UNKNOWN = "unknown"
    REFUSED = "refused"


UNKNOWN_WORDS = (
    "?", "na", "n/a", "n.a.", "nan", "null", "unknown", "not known", "not stated", "not available", "not done", "missing", ".",
)  # fmt: skip
_UNKNOWN_NUMBERS = (*UNKNOWN_WORDS, "-", "--", "nd", "none")


@dataclass(frozen=True, kw_only=True)
class ValueRules:
    """How the cells of one number column are read.

    `below` is for `<5`, `above` for `>5`, `infinite` for `inf` and `-inf`, which stand for beyond the detection range: they
    are censored at `detection_high` or `detection_low`, and unknown where that limit is None. `unknown` are words that mean
    "not known" (compared without case). `misfit` is for a value whose unit does not convert to the column's: "error" stops,
    "refused" leaves the value out and counts it.
    """

    below: Rule = Rule.CENSORED
    above: Rule = Rule.CENSORED
    infinite: Rule = Rule.CENSORED
    detection_low: float | None = None
    detection_high: float | None = None
    decimal: str = "point"
    unknown: tuple[str, ...] = _UNKNOWN_NUMBERS
    misfit: str = "error"

    def __post_init__(self) -> None:
        if self.misfit not in ("error", "refused"):
            raise SchemaError(f'misfit = "{self.misfit}": expected "error" or "refused"')
        if self.decimal not in ("point", "comma"):
            raise SchemaError(f'decimal = "{self.decimal}": expected "point" or "comma"')


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column, its role, and why it has it.

    `code` names the evidence made of it (default: the column's name). `unit` is the unit in which numbers are held, of a
    time column "h", "d" or "datetime". `time` of an input is a time column, `AT_QUESTION` or `UNRECORDED_TIME`. `separator`
    splits a cell into several notes or images.
    """

    name: str
    role: Role
    why: str = ""
    code: str | None = None
    unit: str | None = None
    unit_column: str | None = None
    time: str | None = None
    levels: tuple[str, ...] = ()
    rules: ValueRules = field(default_factory=ValueRules)
    separator: str | None = None
    is_missingness_visible: bool = False

    @property
    def field_name(self) -> str:
        """The one name of its evidence in a case: `Lab.code`, `Sign.name`, `age_years`, …"""
        fixed = {Role.AGE: "age_years", Role.SEX: "sex"}
        return fixed.get(self.role) or self.code or self.name
