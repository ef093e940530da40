"""Taking patients in: a table and what was declared about it → de-identified cases, with everything that was left out counted.

The one way in for training, prediction, evaluation and audit, so that they cannot read the same table differently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attending.case import Case, CaseId
from attending.diagnosis import Task
from attending.privacy import Deidentified, deidentify, project_key
from attending.records import Records, Schema, Table, from_toml, infer_schema, load_schema, read_charts, read_table, to_toml

LONGEST_SIDE = 512
"""Pixels to which larger films are shrunk on reading; no encoder here looks at more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Intake:
    """One table, taken in. `own_id` names a case as the table does: it stays beside the data, never in a report."""

    table: Table
    schema: Schema
    records: Records
    deidentified: Deidentified

    @property
    def cases(self) -> tuple[Case, ...]:
        """The de-identified cases, in table order."""
        return self.deidentified.cases

    @property
    def task(self) -> Task:
        """What is asked, by the schema's targets."""
        return Task(findings=self.schema.findings, exclusive=self.schema.exclusive)

    def own_ids(self) -> Mapping[CaseId, str]:
        """Case id → the id that the table gives it."""
        return {case.id: str(chart.id) for case, chart in zip(self.cases, self.records.charts, strict=True)}


def declare(
    table: Table,
    *,
    schema: Path | None,
    targets: Sequence[str],
    positive: str | None,
    ignore: Sequence[str],
    only: Sequence[str],
) -> Schema:
    """The schema of a file where one is given, otherwise what the table's names and cells suggest."""
    if schema is not None:
        return load_schema(schema)
    return infer_schema(table, targets=targets, positive=positive, ignore=ignore, only=only)


def take_in(table: Table, schema: Schema, *, key_file: Path, is_strict: bool, needs_truth: bool) -> Intake:
    """Charts by the schema, cases by the privacy rules, hashed with the project's key (made on first use)."""
    records = read_charts(table, schema, longest_side=LONGEST_SIDE, is_strict=is_strict, needs_truth=needs_truth)
    return Intake(
        table=table, schema=schema, records=records, deidentified=deidentify(records.charts, key=project_key(key_file))
    )


def take_in_as(
    schema_text: str, path: Path, *, where: str | None, key_file: Path, is_strict: bool, needs_truth: bool
) -> Intake:
    """A further table, read by the schema that a model carries."""
    schema = from_toml(schema_text, name="the model's schema")
    return take_in(read_table(path, where=where), schema, key_file=key_file, is_strict=is_strict, needs_truth=needs_truth)


__all__ = ["Intake", "declare", "read_table", "take_in", "take_in_as", "to_toml"]
