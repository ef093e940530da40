"""The contract of a check: it looks at the material and gives the findings of its traps.

It changes nothing and knows no other check.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from attending.audit.finding import Finding
from attending.audit.material import Material


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
