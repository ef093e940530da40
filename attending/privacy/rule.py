"""The contract of a privacy rule: one per kind of evidence, identified evidence in, evidence fit for a case out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta

from attending.case import Evidence
from attending.privacy.spans import OffsetMap

UNMOVED = OffsetMap()


@dataclass(frozen=True, kw_only=True)
class Person:
    """What a rule may know of the patient: the identity values of all their rows, and the offset of their dates."""

    identity: frozenset[str] = field(repr=False)
    shift: timedelta = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Evidence after its rule, where its characters went (notes only), and each thing done, by its name in the manifest."""

    evidence: Evidence
    offsets: OffsetMap = UNMOVED
    done: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrivacyRule(ABC):
    """What happens to one kind of evidence on its way from chart to case."""

    @property
    @abstractmethod
    def promise(self) -> str:
        """What the rule does, in one sentence for the manifest."""

    @abstractmethod
    def keep(self, evidence: Evidence, person: Person) -> Kept:
        """The evidence without what the rule takes out; its place in the case stays the same."""
