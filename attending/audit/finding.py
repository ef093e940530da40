"""What a check has to say: one finding, of one trap, with its weight, its evidence and what to do.

Counts, column names and the table's own ids; never a cell's text. `told` alone is fit for a report that is passed on.
"""

import shlex
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

TRAPS = tuple(f"T{number}" for number in range(1, 13))
"""The traps of data, which the checks of the catalog look for in a table."""
PROCEDURE = tuple(f"T{number}" for number in range(13, 21))
"""The traps of code and procedure, which `attending.audit.procedure` looks for in what runs and in what it wrote."""
DATA = "data"
"""In place of a trap's number: a fault of the data themselves, such as mixed units."""


def quoted(condition: str) -> str:
    """A condition as one word of a shell."""
    return shlex.quote(condition) if set(condition) & set('"$`\\!') else f'"{condition}"'


class Severity(Enum):
    """What follows. BLOCK invalidates the result; WARN may explain a part of it; NOTE is for the reader."""

    BLOCK = "block"
    WARN = "warn"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return list(Severity).index(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault.

    `told` says what was found in a sentence without counts or ids. `evidence` holds the numbers, `effect` what the fault would
    do to the result, `remedy` what to do, with the option that does it. `rows` are ids of the cases it touches, as the table
    names them.
    """

    trap: str
    check: str
    severity: Severity
    told: str
    evidence: str
    effect: str
    remedy: str
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.trap not in (*TRAPS, *PROCEDURE, DATA):
            raise ValueError(f'a finding names one of {TRAPS[0]} to {PROCEDURE[-1]} or "{DATA}", found "{self.trap}"')
        if not all((self.told, self.evidence, self.effect, self.remedy)):
            raise ValueError(f"{self.check}: a finding says what was found, by what evidence, with what effect, and the remedy")

    def to_plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            **asdict(self),
            "severity": self.severity.value,
            "columns": list(self.columns),
            "rows": list(self.rows),
        }
