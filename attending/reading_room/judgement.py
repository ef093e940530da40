"""How readers of a study judge a finding: by a number from 0 to 100, or by yes or no with how sure they are.

The scale is chosen once for a study. What a form sends becomes a judgement here, and a judgement the cells of a row. Knows no
HTTP and no file.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

YES, NO = "yes", "no"


class UnreadableError(ValueError):
    """What was sent is no judgement on the study's scale; the message tells the reader what to do."""


class Judgement(ABC):
    """What a reader holds of one finding."""

    @property
    @abstractmethod
    def told(self) -> str:
        """In words, for the page on which it is looked at again."""

    @abstractmethod
    def is_above(self, threshold: float) -> bool:
        """Whether it says that the finding is there, by a threshold on the estimated probability."""

    @abstractmethod
    def cells(self) -> Mapping[str, object]:
        """Its columns in the study's file."""


@dataclass(frozen=True, kw_only=True)
class Score(Judgement):
    """How likely the label is held, from 0 (surely not) to 100 (surely)."""

    value: int

    @property
    def told(self) -> str:
        return str(self.value)

    def is_above(self, threshold: float) -> bool:
        return self.value / 100 >= threshold

    def cells(self) -> Mapping[str, object]:
        return {"judgement": self.value}


@dataclass(frozen=True, kw_only=True)
class Decision(Judgement):
    """Whether the label is held to be there, and how sure, from 0 (a guess) to 100 (certain)."""

    is_yes: bool
    confidence: int

    @property
    def told(self) -> str:
        return f"{YES if self.is_yes else NO}, confidence {self.confidence}"

    def is_above(self, threshold: float) -> bool:
        """A decision needs no threshold: it was the reader's own."""
        return self.is_yes

    def cells(self) -> Mapping[str, object]:
        return {"judgement": YES if self.is_yes else NO, "confidence": self.confidence}


class Scale(ABC):
    """On what readers judge. `more_columns` stand behind `judgement` in the file of a study on this scale."""

    name: ClassVar[str]
    more_columns: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, judgement: str, confidence: str) -> Judgement:
        """What two fields of a form, or two cells of a row, say. Raises `UnreadableError`."""


class Scores(Scale):
    """A number from 0 to 100."""

    name: ClassVar[str] = "score"

    def read(self, judgement: str, confidence: str) -> Score:
        value = whole_number(judgement)
        if value is None:
            raise UnreadableError("write a whole number from 0 (surely not) to 100 (surely)")
        return Score(value=value)


class Decisions(Scale):
    """Yes or no, with a confidence."""

    name: ClassVar[str] = "yes-no"
    more_columns: ClassVar[tuple[str, ...]] = ("confidence",)

    def read(self, judgement: str, confidence: str) -> Decision:
        value = whole_number(confidence)
        if judgement not in (YES, NO):
            raise UnreadableError("choose yes or no")
        if value is None:
            raise UnreadableError("write how sure you are, a whole number from 0 (a guess) to 100 (certain)")
        return Decision(is_yes=judgement == YES, confidence=value)


SCORES, DECISIONS = Scores(), Decisions()
SCALES: Mapping[str, Scale] = {scale.name: scale for scale in (SCORES, DECISIONS)}
"""The scales by the names that they have on the command line."""


def whole_number(text: str) -> int | None:
    """A whole number from 0 to 100; None for anything else."""
    is_number = text.isascii() and text.isdecimal() and len(text) < 4 and int(text) <= 100
    return int(text) if is_number else None
