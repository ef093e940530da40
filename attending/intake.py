"""Taking patients in: a table and what was declared about it → de-identified cases, with everything that was left out counted.

The one way in for training, prediction, evaluation and audit, so that they cannot read the same table differently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from attending.case import Case, CaseId
from attending.diagnosis import Task
from attending.privacy import Deidentified, deidentify, project_key
from attending.records import (
    NOTHING_AMENDED,
    Amendments,
    Records,
    Schema,
    SchemaError,
    Table,
    aim,
    amend,
    from_toml,
    infer_schema,
    load_schema,
    read_charts,
    read_table,
    restrict,
    to_toml,
)

NO_COMPANIONS: Mapping[str, Path | Table] = MappingProxyType({})

LONGEST_SIDE = 512
"""Pixels to which larger films are shrunk on reading; no encoder here looks at more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Intake:
    """One table, taken in with its companions by kind.

    `own_id` names a case as the table does: it stays beside the data, never in a report.
    """

    table: Table
    records: Records
    deidentified: Deidentified
    companions: Mapping[str, Table] = field(default_factory=dict, repr=False)

    @property
    def schema(self) -> Schema:
        """The schema as used, with what the companions completed."""
        return self.records.schema

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
    patient: str | None = None,
    masks_label_words: bool = False,
    amendments: Amendments = NOTHING_AMENDED,
) -> Schema:
    """The schema of a file where one is given, otherwise what the table's names and cells suggest; options win over both.

    `amendments` are declared on top. `masks_label_words` declares it, whatever the file says. `patient` names the patient
    column for inference, or is `EACH_ROW`. Raises `SchemaError` for it beside a schema file.
    """

    def found() -> Schema:
        if schema is None:
            return infer_schema(table, targets=targets, positive=positive, ignore=ignore, only=only, patient=patient)
        if patient is not None:
            raise SchemaError(
                f"--patient {patient}: {schema.name} declares who the patient is; change it there and leave this out"
            )
        declared = restrict(load_schema(schema), ignore=ignore, only=only)
        return aim(declared, table, targets=targets, positive=positive) if targets or positive else declared

    declared = amend(found(), table, amendments)
    return replace(declared, masks_label_words=True) if masks_label_words else declared


def take_in(
    table: Table,
    schema: Schema,
    *,
    key_file: Path,
    companions: Mapping[str, Path | Table] = NO_COMPANIONS,
    is_strict: bool = False,
    needs_truth: bool = True,
) -> Intake:
    """Charts by the schema, cases by the privacy rules, hashed with the project's key (made on first use).

    `companions` are long-format files by kind (labs, notes, images), or the tables that were read from them.
    """
    beside = {kind: one if isinstance(one, Table) else read_table(one) for kind, one in companions.items()}
    records = read_charts(
        table,
        schema,
        companions=beside,
        longest_side=LONGEST_SIDE,
        is_strict=is_strict,
        needs_truth=needs_truth,
    )
    deidentified = deidentify(records.charts, key=project_key(key_file))
    return Intake(table=table, records=records, deidentified=deidentified, companions=beside)


def declared_by(model_schema: str) -> Schema:
    """The schema that a model carries."""
    return from_toml(model_schema, name="the model's schema")


__all__ = ["Intake", "declare", "declared_by", "read_table", "take_in", "to_toml"]
