"""What a person chooses on top of a schema: other targets, columns to leave out, the only inputs, groups, units, the window."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from attending.records import units
from attending.records.column import INPUTS, UNSTATED, Column, Role
from attending.records.error import SchemaError
from attending.records.schema import Schema
from attending.records.table import Table
from attending.records.targets import infer_targets
from attending.records.values import is_unknown

_KEEPS_ITS_ROLE = (Role.PATIENT, Role.CASE, Role.ID, Role.TARGET, Role.ASKED_AT)


@dataclass(frozen=True, kw_only=True)
class Amendments:
    """What options declare of columns that the audit found fault with.

    `groups` are columns whose equal values keep patients in one part. `units` map a number column to the unit in which its
    values are held, `unit_columns` to the column that holds the unit of each value. `look_back_hours` is the window before
    the question; what is older is left out.
    """

    groups: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    unit_columns: Mapping[str, str] = field(default_factory=dict)
    look_back_hours: float | None = None

    def __post_init__(self) -> None:
        for name in ("units", "unit_columns"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if self.look_back_hours is not None and not self.look_back_hours > 0.0:
            raise SchemaError(f"--look-back {self.look_back_hours:g}: expected hours before the question, a positive number")


NOTHING_AMENDED = Amendments()


def amend(schema: Schema, table: Table, amendments: Amendments) -> Schema:
    """The schema with these groups, units and window declared.

    A column that becomes a group or holds units is no input any more. Raises `SchemaError` for columns that do not exist,
    for a group that has a role of its own already (patient, id, case, target, prediction time), and for units of columns
    that are no numbers.
    """
    columns = {column.name: column for column in schema.columns}
    for name in amendments.groups:
        _of(schema, name, option="--group")
        columns[name] = Column(name=name, role=Role.GROUP, why="named as a group")
    for name, holder in amendments.unit_columns.items():
        table.require([holder], purpose=f'the unit column of "{name}"')
        _of(schema, holder, option=f"--unit-column {name}={holder}")
        columns[name] = with_unit_column(_number(schema, name, option="--unit-column"), holder, table.cells(holder))
        columns[holder] = Column(name=holder, role=Role.UNIT, why=f'unit of "{name}", named as such')
    for name, unit in amendments.units.items():
        held = columns[_number(schema, name, option="--unit").name]
        columns[name] = replace(held, unit=unit, why=f'{held.why}; held in "{unit}", as declared'.removeprefix("; "))
    hours = schema.look_back_hours if amendments.look_back_hours is None else amendments.look_back_hours
    return replace(schema, columns=tuple(columns.values()), look_back_hours=hours)


def with_unit_column(column: Column, name: str, cells: Iterable[str | None]) -> Column:
    """A number column with the column `name` of units: held in the unit it has, else in the one written most often."""
    if column.unit not in (None, UNSTATED):
        return replace(column, unit_column=name)
    known = (cell for cell in cells if cell is not None and not is_unknown(cell))
    written = Counter(units.canonical(cell) for cell in known if units.is_unit(cell))
    if not written:
        return replace(column, unit_column=name, why=f'{column.why}; no unit that is known stands in "{name}"')
    unit = written.most_common(1)[0][0]
    return replace(column, unit_column=name, unit=unit, why=f'{column.why}; held in "{unit}", the unit written most often')


def _of(schema: Schema, name: str, *, option: str) -> Column:
    """A column that may be given another role."""
    column = schema.column(name)
    if column.role in _KEEPS_ITS_ROLE:
        raise SchemaError(f'{option}: "{name}" is the {column.role.value} already; name another column')
    return column


def _number(schema: Schema, name: str, *, option: str) -> Column:
    column = schema.column(name)
    if column.role not in (Role.NUMBER, Role.AGE) or (column.role is Role.AGE and option == "--unit-column"):
        raise SchemaError(
            f'{option} names "{name}", which is no number column: {column.role.value} ({column.why or "by the schema"}); '
            "give it another role in the schema file"
        )
    return column


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
