"""One number of a comparison: whose, at what, how large, between what, and how good it could be."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

Heard = Callable[[str, float], None]
"""Told what is done now, and which share of the work is done."""
LAYER = "layer"
"""The task of a row that is about one layer and not about anything learned."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """`low` and `high`: for times the fastest and slowest round, for quality a 95 % interval, None for what is exact.

    `limit`: for times the floor on this machine, for quality the best that anything could reach; None where there is none.
    """

    mechanism: str
    task: str
    quantity: str
    value: float
    length: int | None = None
    phase: str | None = None
    dtype: str | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None

    def as_json(self) -> dict[str, object]:
        """The ten fields, in the order in which files have them."""
        held = asdict(self)
        return {name: held[name] for name in FIELDS}


FIELDS = ("mechanism", "task", "length", "phase", "dtype", "quantity", "value", "low", "high", "limit")


class Ledger:
    """Rows that can be asked for."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def among(self, **wanted: object) -> tuple[Row, ...]:
        """The rows with these fields."""
        return tuple(row for row in self.rows if all(getattr(row, name) == value for name, value in wanted.items()))

    def one(self, **wanted: object) -> Row | None:
        """The only row with these fields, or None."""
        found = self.among(**wanted)
        assert len(found) <= 1, wanted
        return found[0] if found else None

    def distinct(self, name: str, **wanted: object) -> list[object]:
        """The values of a field among these rows, in order of appearance."""
        return list(dict.fromkeys(getattr(row, name) for row in self.among(**wanted)))


def as_text(rows: Sequence[Row], about: Mapping[str, object]) -> str:
    """The rows as JSON, beside what they are about (machine, settings)."""
    return json.dumps({"about": dict(about), "rows": [row.as_json() for row in rows]}, indent=1, allow_nan=False) + "\n"
