"""`Table` → `Schema`: the role of every column, and the reason for it in words.

Inference proposes; a person edits the schema, which wins. Rules are tried in a fixed order, structure first (who, where,
when), then what may never be an input, then the kind of evidence. A column nobody can place is left out, never let in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from attending.records import names, units
from attending.records.association import GIVEAWAY_AUROC, auroc_alone, determines
from attending.records.choice import restrict, with_unit_column
from attending.records.column import INPUTS, UNRECORDED_TIME, Column, Role, ValueRules
from attending.records.error import SchemaError
from attending.records.kinds import Evidence, find_kind, is_image
from attending.records.schema import EACH_ROW, Schema, Target, TargetKind
from attending.records.table import Table
from attending.records.targets import infer_targets, read_truth
from attending.records.times import read_moment, time_unit
from attending.records.values import decimal_mark, is_unknown, read_number
from attending.records.vectors import numbered_columns


@dataclass(frozen=True, kw_only=True, eq=False)
class _Context:
    """What every rule may look at."""

    table: Table
    targets: tuple[Target, ...]
    cells: dict[str, list[str]] = field(repr=False)  # filled and known cells per column
    roles: dict[str, Column]

    def is_free(self, role: Role) -> bool:
        return all(column.role is not role for column in self.roles.values())


def infer_schema(
    table: Table,
    *,
    targets: Sequence[str] = (),
    positive: str | None = None,
    ignore: Sequence[str] = (),
    only: Sequence[str] = (),
    patient: str | None = None,
) -> Schema:
    """The schema that the table's names and cells suggest, with a reason for every role.

    `targets` are the recorded labels; `positive` the value that counts as true (default: the rarer). Columns in `ignore` are
    left out; `only`, where given, names all inputs, also ones that inference alone would leave out. `patient` names the
    patient column, or is `EACH_ROW`. Raises `SchemaError` for a column that does not exist, a target with one class and a
    table without patient column.
    """
    table.require(targets, purpose="the target")
    vectors = numbered_columns(table)
    table.require([name for name in ignore if name not in vectors], purpose="a column to ignore")
    table.require([name for name in only if name not in vectors], purpose="an input (--only)")
    if patient not in (None, EACH_ROW):
        table.require([patient], purpose="the patient column")
    clash = [name for name in targets if name in {*ignore, *only}]
    if clash:
        raise SchemaError(f'{table.name}: "{clash[0]}" is the target and also named in --ignore or --only; name it once')
    filled = {name: _known_cells(table, name) for name in table.frame.columns}
    context = _Context(table=table, targets=infer_targets(table, targets, positive=positive), cells=filled, roles={})
    _place_ids(context, patient)
    _place_vectors(context, vectors)
    for name in table.frame.columns:
        if name not in context.roles:
            context.roles[name] = _place(name, context, only)
    _link_times(context)
    _leave_out_doubled_notes(context)
    _warn_of_giveaways(context)
    schema = Schema(
        columns=tuple(context.roles[name] for name in table.frame.columns),
        targets=context.targets,
        patient_rows=EACH_ROW if patient == EACH_ROW else None,
    )
    return restrict(schema, ignore=ignore, only=only)


def _known_cells(table: Table, name: str) -> list[str]:
    cells = table.frame[name].drop_nulls().to_list()
    unknown = {cell for cell in set(cells) if is_unknown(cell)}
    return [cell for cell in cells if cell not in unknown] if unknown else cells


def _place_ids(context: _Context, patient: str | None) -> None:
    """Who is who: patient first, because without it nothing can be split honestly."""
    columns, roles = context.table.frame.columns, context.roles
    for target in context.targets:
        why = f"named as the target; {target.kind.value}" + (f', true where "{target.positive}"' if target.positive else "")
        roles[target.column] = Column(name=target.column, role=Role.TARGET, why=why)
    by_name = {"_".join(names.words(name)): name for name in reversed(columns) if name not in roles}
    if patient is None:
        found = next((by_name[word] for word in names.PATIENT if word in by_name), None)
        why = "its name says patient"
        if found is None and "id" in by_name:
            found, why = by_name["id"], "the only id column: every value is taken as one person"
        if found is None:
            raise SchemaError(
                f"{context.table.name}: no column names the patient, so visits of one person could fall into training and "
                f'test; name it (--patient COLUMN), or declare that every row is another person (--patient "{EACH_ROW}")'
            )
        roles[found] = Column(name=found, role=Role.PATIENT, why=why)
    elif patient != EACH_ROW:
        roles[patient] = Column(name=patient, role=Role.PATIENT, why="named as the patient column")
    n_rows = len(context.table)
    for role, vocabulary in ((Role.GROUP, names.GROUP), (Role.ID, names.ID), (Role.VISIT, names.VISIT)):
        for name in (by_name[word] for word in vocabulary if word in by_name and by_name[word] not in roles):
            n_values = len(set(context.cells[name]))
            if role is Role.GROUP and n_values < min(10, n_rows / 4):
                continue  # an arm or a class: parting by it would leave nothing to part
            if role is Role.ID and n_values < 0.9 * n_rows:
                continue  # "case" may say case or control
            said = f"{n_values} values in {n_rows} rows"
            if role is Role.VISIT and n_values >= 0.9 * n_rows and context.is_free(Role.ID):
                # a few doubles are slips, to be refused by name; visits of several rows are declared with the role case
                roles[name] = Column(name=name, role=Role.ID, why=f"its name says visit and names the row: {said}")
            else:
                roles[name] = Column(name=name, role=role, why=f"its name says {role.value}: {said}")
            break


def _place_vectors(context: _Context, vectors: Mapping[str, Sequence[str]]) -> None:
    for name, columns in vectors.items():
        if any(column in context.roles for column in columns):
            continue
        place = f'{context.table.name} columns "{columns[0]}" to "{columns[-1]}"'
        rules = ValueRules(decimal=decimal_mark((cell for column in columns for cell in context.cells[column]), place=place))
        for at, column in enumerate(columns, start=1):
            why = f"{len(columns)} columns of numbers, one embedding" if at == 1 else f'number {at} of the embedding "{name}"'
            context.roles[column] = Column(
                name=column, role=Role.EMBEDDING, code=name, why=why, time=UNRECORDED_TIME, rules=rules
            )


def _place(name: str, context: _Context, only: Sequence[str]) -> Column:
    """The first rule that knows the column decides."""
    rules: tuple[Callable[[str, _Context], Column | None], ...] = (_companion_of_value, _empty, _structure, _never_input)
    reasons = ""
    for rule in rules:
        placed = rule(name, context)
        if placed is None:
            continue
        if name not in only or placed.role in INPUTS or rule in (_companion_of_value, _empty):
            return placed
        reasons = f"named as an input; by itself it would be left out: {placed.why}"
    evidence = find_kind(name, context.cells[name], n_rows=len(context.table), place=f'{context.table.name} column "{name}"')
    column = _as_column(name, evidence)
    if column.role in (Role.AGE, Role.SEX) and not context.is_free(column.role):
        return Column(name=name, role=Role.IGNORED, why=f"{column.role.value} stands in another column already")
    return replace(column, why=f"{column.why}; {reasons}") if reasons else column


def _as_column(name: str, evidence: Evidence) -> Column:
    is_input = evidence.role in INPUTS
    return Column(
        name=name,
        role=evidence.role,
        why=evidence.why,
        code=evidence.code,
        unit=evidence.unit,
        levels=evidence.levels,
        rules=evidence.rules,
        separator=evidence.separator,
        time=evidence.time or (UNRECORDED_TIME if is_input else None),
    )


def _empty(name: str, context: _Context) -> Column | None:
    if not context.cells[name]:
        return Column(name=name, role=Role.IGNORED, why="empty or unknown in every row")
    return None


def _stem(name: str, endings: tuple[str, ...], others: Sequence[str]) -> str | None:
    """The other column that this one's name extends by one of the endings: crp_mg_l for crp_mg_l_dayoffset."""
    for ending in endings:
        if name.lower().endswith("_" + ending):
            base = name[: -len(ending) - 1]
            found = next((other for other in others if other == base), None)
            found = found or next((other for other in others if units.from_column_name(other)[0] == base != other), None)
            if found is not None:
                return found
    return None


def _companion_of_value(name: str, context: _Context) -> Column | None:
    """Unit and time columns: they belong to another column."""
    others = [other for other in context.table.frame.columns if other != name]
    base = _stem(name, names.UNIT_ENDINGS, others)
    if base is not None:
        return Column(name=name, role=Role.UNIT, why=f'unit of "{base}"')
    base = None if "_".join(names.words(name)) in names.ASKED_AT else _stem(name, names.TIME_ENDINGS, others)
    if base is None or not context.cells[name] or names.is_structural(base):
        return None
    unit = time_unit(name, context.cells[name])
    if unit is None:
        return None
    meaning = "moment" if unit == "datetime" else f"time relative to the question in {unit}, positive is after it,"
    return Column(name=name, role=Role.TIME, unit=unit, why=f'{meaning} of "{base}"')


def _structure(name: str, context: _Context) -> Column | None:
    key = "_".join(names.words(name))
    cells = context.cells[name]
    if key in names.ASKED_AT and context.is_free(Role.ASKED_AT) and all(read_moment(cell) for cell in cells):
        return Column(name=name, role=Role.ASKED_AT, why="its name and cells say when the patient was seen")
    if key in names.SITE:
        present = {"_".join(names.words(other)) for other in context.table.frame.columns}
        is_best = key == next(word for word in names.SITE if word in present)
        why = f"its name says where the row comes from: {len(set(cells))} values; for judging, never an input"
        if len(set(cells)) > max(10, len(cells) / 2):
            return Column(name=name, role=Role.BOOKKEEPING, why=f"{why}; too many to be sites")
        return Column(name=name, role=Role.SITE if is_best and context.is_free(Role.SITE) else Role.STRATUM, why=why)
    if key in names.VIEW:
        return Column(
            name=name, role=Role.VIEW, why="how the picture was taken, a known shortcut; kept for judging, not an input"
        )
    if names.has_word(name, names.IDENTITY) and not (names.outcome_word(name) or names.has_word(name, names.BOOKKEEPING)):
        return Column(
            name=name, role=Role.IDENTITY, why=f'"{names.has_word(name, names.IDENTITY)}" in its name identifies people'
        )
    return None


def _never_input(name: str, context: _Context) -> Column | None:  # noqa: PLR0911, PLR0912 -- one return per reason
    """Outcomes and bookkeeping, by name and by how the cells go with the target."""
    cells = context.cells[name]

    def outcome(why: str, role: Role = Role.OUTCOME) -> Column:
        return Column(name=name, role=role, why=why)

    for target in context.targets:
        if names.contains(name, target.column):
            return outcome(f'its name contains the target\'s name "{target.column}"')
        for value in target.classes:
            if len(value) >= 4 and not value.isdigit() and names.contains(name, value):
                return outcome("its name contains a value of the target")
    if names.words(name)[-1:] == ("from",) and names.outcome_word(name):
        return outcome("says where a recorded finding came from", Role.REFERENCE)
    spoken = names.outcome_word(name)
    if spoken:
        return outcome(f'"{spoken}" in its name: a diagnosis, a decision or something known only after the question')
    annotated = names.has_word(name, names.ANNOTATION)
    if annotated:
        return outcome(f'"{annotated}" in its name: somebody\'s reading of the picture, not known at the question')
    kept = names.has_word(name, names.BOOKKEEPING)
    if kept and not _is_picture_of_patient(name, cells, context):
        return outcome(f'"{kept}" in its name: how the data were kept, not what was found', Role.BOOKKEEPING)
    if "height" in names.words(name) and name.lower().replace("height", "width") in map(str.lower, context.table.frame.columns):
        return outcome("a height beside a width: the size of the picture", Role.BOOKKEEPING)
    if "_".join(names.words(name)) in names.PLACES:
        return outcome("where the patient or the picture comes from, not what was found", Role.BOOKKEEPING)
    if _is_moment(name, cells):
        return outcome("a date that belongs to no value: dates give away era and course", Role.BOOKKEEPING)
    if names.has_word(name, names.PROCESS):
        return outcome("says what was done, not what was found; tests are ordered for the sick", Role.BOOKKEEPING)
    if names.has_word(name, names.SCORE):
        return outcome("a score made of other columns, often part of the reference standard", Role.IGNORED)
    if names.has_word(name, names.KEY) and len(set(cells)) > max(20, 0.9 * len(cells)):
        return outcome(f"a key: {len(set(cells))} values in {len(cells)} filled rows", Role.IDENTITY)
    if _starts_like(cells, ("http://", "https://", "www.", "doi:", "10.1")):
        return outcome("its cells are links", Role.BOOKKEEPING)
    if len(set(cells)) == 1 and len(cells) == len(context.table):
        return outcome("the same value in every row", Role.IGNORED)
    return _determined(name, context)


def _is_picture_of_patient(name: str, cells: list[str], context: _Context) -> bool:
    """Whether "path" or "file" in the name speaks of pictures that are there: by its name, or because the first one exists."""
    if not is_image(cells):
        return False
    return names.has_word(name, names.IMAGE) is not None or (context.table.path.parent / cells[0].split(";")[0]).is_file()


def _is_moment(name: str, cells: list[str]) -> bool:
    share = sum(read_moment(cell) is not None for cell in cells) / len(cells)
    return share > 0.5 or (names.words(name)[-1:] in (("date",), ("datetime",)) and not _is_number_like(cells))


def _is_number_like(cells: list[str]) -> bool:
    return all(cell.strip().lstrip("-").replace(".", "", 1).isdigit() for cell in cells)


def _starts_like(cells: list[str], beginnings: tuple[str, ...]) -> bool:
    hits = sum(cell.lower().startswith(beginnings) and "/" in cell for cell in cells)
    return bool(cells) and hits >= 0.8 * len(cells)


def _determined(name: str, context: _Context) -> Column | None:
    for target in context.targets:
        why = determines(context.table.cells(name), context.table.cells(target.column), name=target.column)
        if why is not None:
            return Column(name=name, role=Role.OUTCOME, why=why)
    return None


def _warn_of_giveaways(context: _Context) -> None:
    """Say it in the reason where a number alone nearly tells a binary target; whether it may is for a person to know."""
    for target in context.targets:
        if target.kind is not TargetKind.BINARY:
            continue
        truths = [read_truth(target, cell) or {} for cell in context.table.cells(target.column)]
        for column in [column for column in context.roles.values() if column.role is Role.NUMBER]:
            values = [read_number(cell, column.rules).value for cell in context.table.cells(column.name)]
            reached = auroc_alone(values, [truth.get(target.column) for truth in truths])
            if reached is not None and reached >= GIVEAWAY_AUROC:
                said = f'alone it reaches AUROC {reached:.2f} for "{target.column}": make sure that the label is not made of it'
                context.roles[column.name] = replace(column, why=f"{column.why}; {said}")


def _link_times(context: _Context) -> None:
    """Tell values which column holds their time or unit, and keep a code unique among inputs."""
    roles = context.roles
    for name, column in list(roles.items()):
        if column.role not in (Role.TIME, Role.UNIT):
            continue
        endings = names.TIME_ENDINGS if column.role is Role.TIME else names.UNIT_ENDINGS
        base = _stem(name, endings, [other for other in roles if other != name])
        if base is None or roles[base].role not in INPUTS or (column.role is Role.UNIT and roles[base].role is not Role.NUMBER):
            kept = Role.OUTCOME if base is not None and roles[base].role in (Role.OUTCOME, Role.TARGET) else Role.BOOKKEEPING
            roles[name] = Column(name=name, role=kept, why=f"{column.why}, which is not an input")
        elif column.role is Role.TIME:
            roles[base] = replace(roles[base], time=name)
        else:
            roles[base] = with_unit_column(roles[base], name, context.cells[name])
    codes = [column.field_name for column in roles.values() if column.role in INPUTS]
    for name, column in list(roles.items()):
        if column.role in INPUTS - {Role.EMBEDDING} and column.code is not None and codes.count(column.field_name) > 1:
            roles[name] = replace(column, code=None)


def _leave_out_doubled_notes(context: _Context) -> None:
    """The same text twice is the same evidence once."""
    first: dict[tuple[str | None, ...], str] = {}
    for name in context.table.frame.columns:
        if context.roles[name].role is Role.NOTE:
            original = first.setdefault(tuple(context.table.cells(name)), name)
            if original != name:
                context.roles[name] = Column(name=name, role=Role.IGNORED, why=f'the same texts as "{original}"')
