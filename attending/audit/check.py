"""The contract of a check: it looks at the material and gives the findings of its traps.

It changes nothing and knows no other check.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from attending.audit.finding import Finding
from attending.audit.material import Material
from attending.audit.shortcut import Shortcut


class AuditError(ValueError):
    """An audit cannot be held as asked; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Check(ABC):
    """One question put to the data. `name` is how reports call it, `traps` what its findings may be of."""

    name: str
    traps: tuple[str, ...]

    @abstractmethod
    def look(self, material: Material) -> tuple[Finding, ...]:
        """What it found, the gravest first; nothing where nothing is wrong or where nothing can be said."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What shortcut models reach, alarm or none, and what follows."""

    shortcuts: tuple[Shortcut, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShortcutCheck(Check):
    """A check that trains models on one circumstance alone: it tells what each reaches, also where nothing is wrong."""

    @abstractmethod
    def examine(self, material: Material) -> Examined:
        """What it asked, and its findings, the gravest first; nothing where nothing can be asked."""

    def look(self, material: Material) -> tuple[Finding, ...]:
        """The findings alone."""
        return self.examine(material).findings
