"""What a person chooses on top of a schema: other targets, columns to leave out, the only inputs."""

from collections.abc import Sequence
from dataclasses import replace

from attending.records.column import INPUTS, Column, Role
from attending.records.error import SchemaError
from attending.records.schema import Schema
from attending.records.table import Table
from attending.records.targets import infer_targets


def restrict(schema: Schema, *, ignore: Sequence[str] = (), only: Sequence[str] = ()) -> Schema:
    """The schema with the columns of `ignore` left out and, where `only` is given, no other inputs than those.

    Raises `SchemaError` for columns that do not exist, for ignoring the patient, a group or a target, and for an `only`
    column that is no input. An embedding of several columns goes by its own name.
    """
    ignore = tuple(column for name in ignore for column in schema.named(name))
    only = tuple(column for name in only for column in schema.named(name))
    return replace(schema, columns=tuple(_choose(column, ignore=ignore, only=only) for column in schema.columns))


def _choose(column: Column, *, ignore: Sequence[str], only: Sequence[str]) -> Column:
    if column.name in ignore:
        if column.role in (Role.PATIENT, Role.GROUP, Role.CASE, Role.TARGET):
            raise SchemaError(
                f'"{column.name}" is the {column.role.value} and cannot be ignored; it is never an input, '
                "so there is nothing to leave out"
            )
        return Column(name=column.name, role=Role.IGNORED, why="left out by --ignore")
    if only and column.name not in only and column.role in INPUTS:
        return Column(name=column.name, role=Role.IGNORED, why="not named by --only")
    if column.name in only and column.role not in INPUTS:
        raise SchemaError(
            f'--only names "{column.name}", which cannot be an input: {column.role.value} ({column.why or "by the schema"}); '
            "give it another role in the schema file"
        )
    return column


def aim(schema: Schema, table: Table, *, targets: Sequence[str], positive: str | None = None) -> Schema:
    """The schema with these targets. Former targets become outcomes; what was declared of findings that remain is kept.

    A schema that already has exactly these targets is returned as it is, unless `positive` says otherwise.
    """
    table.require(targets, purpose="the target")
    former = {target.column: target for target in schema.targets}
    if set(former) == set(targets) and positive is None:
        return schema
    aimed = infer_targets(table, targets, positive=positive)
    aimed = tuple(former.get(target.column, target) if positive is None else target for target in aimed)
    columns = []
    for column in schema.columns:
        if column.name in targets:
            columns.append(Column(name=column.name, role=Role.TARGET, why="named as the target"))
        elif column.role is Role.TARGET:
            columns.append(Column(name=column.name, role=Role.OUTCOME, why="another target"))
        else:
            columns.append(column)
    known = {column.name for column in columns}
    columns += [Column(name=name, role=Role.TARGET, why="named as the target") for name in targets if name not in known]
    findings = {finding for target in aimed for finding in target.findings}
    return replace(
        schema,
        columns=tuple(columns),
        targets=aimed,
        thresholds={finding: rule for finding, rule in schema.thresholds.items() if finding in findings},
        target_prevalence={finding: share for finding, share in schema.target_prevalence.items() if finding in findings},
        primary=schema.primary if schema.primary is not None and schema.primary.finding in findings else None,
    )
