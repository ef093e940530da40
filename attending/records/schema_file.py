"""A schema as a TOML file that a person reads and edits.

Loading refuses what it does not know and what is left out: a number without `unit`, an input without `time`. Writing goes
through `artefacts`; what is written reads back equal.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

import tomli_w

from attending import artefacts
from attending.records.column import AT_QUESTION, INPUTS, UNRECORDED_TIME, UNSTATED, Column, Role, Rule, ValueRules
from attending.records.error import SchemaError, did_you_mean
from attending.records.schema import EACH_ROW, Companion, Primary, Sampling, Schema, Target, TargetKind, Threshold

FORMAT = 1
_HEAD = """\
# What the columns of the table mean. Written by attending; edit it and pass it with --schema: it wins over inference.
# Roles: {roles}.
# "{unstated}" and "{unrecorded}" say that nobody declared it; --strict refuses them.
# A time is a column, or "{at_question}" where you know that the value was known when the question is asked.
# warning heads the report (warning = "shows confounding, not performance"); cautions are sentences for its first screen
# (cautions = ["label partly composed of inputs; differential verification"]). Both may stay empty.
# sampling is one of {samplings}. In the table of a number,
# rules = {{ below = "censored", above = "unknown", infinite = "refused", misfit = "refused" }} says what becomes of <5, >5, inf
# and a unit that does not convert; is_missingness_visible = true lets the model see that a value is absent.
# masks_label_words = true takes words that name a label out of all notes, in training and in use.
# What else may be declared, here and at the end of the file, without the first sign of each line:
#look_back_hours = 48.0  # how far back timed values and companions are read
#patient_rows = "{each_row}"  # instead of a patient column: no patient has two rows
#decision_range = [0.05, 0.6]  # the lowest and the highest risk at which anybody would act: the ends of the decision curve

# [primary]  # the one comparison, fixed before results are opened
# finding = {example}
# metric = "auroc"
# against = "best baseline"
# [thresholds]  # by sensitivity, specificity, risk or harm_benefit
# {example} = {{ sensitivity = 0.95 }}
# [target_prevalence]  # where the model would be used
# {example} = 0.03
# [waivers]  # why a trap of `attending audit` does not apply
# T6 = "reason"
"""


def write_schema(schema: Schema, path: str | Path) -> None:
    """Write a schema as TOML, whole or not at all."""
    artefacts.write_text(Path(path), to_toml(schema))


def load_schema(path: str | Path) -> Schema:
    """The schema in a TOML file. Raises `SchemaError` naming file, table and key for anything left out or left over."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: cannot be read ({type(error).__name__}); expected a schema in TOML, UTF-8") from None
    return from_toml(text, name=path.name)


def to_toml(schema: Schema) -> str:
    """The schema as TOML text with a head that explains the words."""
    head = _HEAD.format(
        roles=", ".join(f'"{role.value}"' for role in Role),
        samplings=", ".join(sampling.value for sampling in Sampling),
        each_row=EACH_ROW,
        example=json.dumps(schema.findings[0] if schema.findings else "finding", ensure_ascii=False),
        unstated=UNSTATED,
        unrecorded=UNRECORDED_TIME,
        at_question=AT_QUESTION,
    )
    content: dict[str, Any] = {"format": FORMAT}
    for each in fields(Schema):
        value = getattr(schema, each.name)
        if each.name == "columns":
            content["columns"] = {column.name: _column_table(column) for column in value}
        elif each.name == "targets":
            content["targets"] = {target.column: _table(target, without="column") for target in value}
        elif each.name == "companions":
            content["companions"] = {companion.kind: _companion_table(companion) for companion in value}
        elif each.name == "primary":
            if value is not None:
                content["primary"] = _table(value)
        elif each.name == "thresholds":
            content["thresholds"] = {finding: {rule.rule: rule.value} for finding, rule in value.items()}
        elif isinstance(value, Mapping):
            content[each.name] = dict(value)
        elif value is not None:
            content[each.name] = _plain(value)
    plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in content.items() if isinstance(value, dict) and value}
    return head + "\n" + tomli_w.dumps({**plain, **tables}, multiline_strings=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _table(thing: Any, *, without: str = "") -> dict[str, Any]:
    """The fields of a dataclass that are not None, as TOML values."""
    pairs = ((each.name, getattr(thing, each.name)) for each in fields(thing) if each.name != without)
    return {name: _plain(value) for name, value in pairs if value is not None}


def _column_table(column: Column) -> dict[str, Any]:
    """Only what differs from the default, except for what a reader must see: role, reason, unit and time."""
    table = _table(column, without="name")
    table.pop("rules")
    if not column.levels:
        table.pop("levels")
    if not column.is_missingness_visible:
        table.pop("is_missingness_visible")
    return table | _rules_table(column.rules)


def _companion_table(companion: Companion) -> dict[str, Any]:
    table = _table(companion, without="kind")
    table.pop("rules")
    table["units"] = dict(companion.units)
    return {name: value for name, value in table.items() if value != {}} | _rules_table(companion.rules)


def _rules_table(rules: ValueRules) -> dict[str, Any]:
    default = ValueRules()
    changed = {name: value for name, value in _table(rules).items() if value != _plain(getattr(default, name))}
    return {"rules": changed} if changed else {}


def from_toml(text: str, *, name: str = "schema") -> Schema:
    """The schema in TOML text; `name` is the file's name for errors."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SchemaError(f"{name}: not valid TOML ({error}); mend that line") from None
    found = content.pop("format", None)
    if found != FORMAT:
        raise SchemaError(f"{name}: format = {found!r}, expected {FORMAT}; write it again with `attending schema TABLE`")
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in {each.name for each in fields(Schema)}:
            raise SchemaError(f'{name}: unknown key "{key}".{did_you_mean(key, (each.name for each in fields(Schema)))}')
        values[key] = value
    if "columns" not in values:
        raise SchemaError(f"{name}: no [columns] table; write it again with `attending schema TABLE`")
    place = f"{name} [columns]"
    for own, table in _mapping(values.get("companions", {}), f"{name} [companions]").items():
        table["rules"] = _build(ValueRules, _mapping(table.pop("rules", {}), name), f"{name} [companions.{own}] rules")
    values["columns"] = tuple(_read_column(column, _mapping(table, place), name) for column, table in values["columns"].items())
    for key, kind, naming in (("targets", Target, "column"), ("companions", Companion, "kind")):
        tables = _mapping(values.get(key, {}), f"{name} [{key}]")
        values[key] = tuple(
            _build(kind, {**_mapping(table, name), naming: own}, f"{name} [{key}.{own}]") for own, table in tables.items()
        )
    values["thresholds"] = {
        finding: _read_threshold(rule, f"{name} [thresholds]") for finding, rule in values.get("thresholds", {}).items()
    }
    if "primary" in values:
        values["primary"] = _build(Primary, values["primary"], f"{name} [primary]")
    return _build(Schema, values, name)


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaError(f"{place}: found {type(value).__name__}, expected a table of keys")
    return value


def _read_column(column: str, table: dict[str, Any], name: str) -> Column:
    place = f'{name} column "{column}"'
    rules = _build(ValueRules, _mapping(table.pop("rules", {}), place), f"{place} rules")
    read = _build(Column, {"name": column, **table}, place)
    if read.role is Role.NUMBER and read.unit is None:
        raise SchemaError(
            f'{place}: a number without unit; write its unit, unit = "1" for a pure number, or unit = "{UNSTATED}"'
        )
    if read.role in INPUTS and read.time is None:
        raise SchemaError(
            f'{place}: an input without time; write the column that holds its time, time = "{AT_QUESTION}", '
            f'or time = "{UNRECORDED_TIME}"'
        )
    return _build(Column, {**{each.name: getattr(read, each.name) for each in fields(Column)}, "rules": rules}, place)


def _read_threshold(value: Any, place: str) -> Threshold:
    if not isinstance(value, dict) or len(value) != 1:
        raise SchemaError(f"{place}: found {value!r}, expected one rule such as {{ sensitivity = 0.95 }}")
    ((rule, number),) = value.items()
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SchemaError(f"{place}: {rule} = {number!r}, expected a number")
    return Threshold(rule=rule, value=float(number))


_ENUMS: dict[str, type[Enum]] = {
    "role": Role, "kind": TargetKind, "sampling": Sampling, "below": Rule, "above": Rule, "infinite": Rule,
}  # fmt: skip
_NUMBERS = ("detection_low", "detection_high", "look_back_hours")
_PAIRS = ("decision_range",)
_LISTS = ("levels", "classes", "unknown", "cautions")
_MAPPINGS = ("target_prevalence", "waivers", "thresholds", "units")
_BUILT = ("rules", "columns", "targets", "companions", "primary")
_FLAGS = (
    "is_missingness_visible",
    "masks_label_words",
)


def _build(kind: type, values: Mapping[str, Any], place: str) -> Any:
    """A dataclass from TOML values, each checked for its type; leftovers and gaps are refused."""
    known = {each.name: each for each in fields(kind)}
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise SchemaError(f'{place}: unknown key "{key}".{did_you_mean(key, known)}')
        checked[key] = _check(kind, key, value, place)
    try:
        return kind(**checked)
    except TypeError as error:
        raise SchemaError(f"{place}: {str(error).split(') ')[-1]}") from None
    except SchemaError as error:
        raise SchemaError(f"{place}: {error}") from None


def _check(kind: type, key: str, value: Any, place: str) -> Any:  # noqa: PLR0911 -- one return per kind of value
    if key in _BUILT or isinstance(value, Enum):
        return value
    if key in _ENUMS and kind is not Companion:
        words = [each.value for each in _ENUMS[key]]
        if value not in words:
            raise SchemaError(
                f"{place}: {key} = {value!r}, expected one of {', '.join(words)}.{did_you_mean(str(value), words)}"
            )
        return _ENUMS[key](value)
    if key in _NUMBERS and value is not None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SchemaError(f"{place}: {key} = {value!r}, expected a number")
        return float(value)
    if key in _PAIRS and value is not None:
        return _check_pair(key, value, place)
    if key in _LISTS:
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise SchemaError(f"{place}: {key} = {value!r}, expected a list of texts")
        return tuple(value)
    if key in _MAPPINGS:
        return _check_mapping(key, _mapping(dict(value) if isinstance(value, Mapping) else value, place), place)
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise SchemaError(f"{place}: {key} = {value!r}, expected true or false")
        return value
    if value is not None and not isinstance(value, str):
        raise SchemaError(f"{place}: {key} = {value!r}, expected text in quotes")
    return value


def _check_pair(key: str, value: Any, place: str) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(each) in (int, float) for each in value):
        raise SchemaError(f"{place}: {key} = {value!r}, expected two numbers, the lower first")
    return float(value[0]), float(value[1])


def _check_mapping(key: str, value: dict[str, Any], place: str) -> dict[str, Any]:
    if key == "target_prevalence":
        for finding, share in value.items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 < share < 1.0:
                raise SchemaError(f"{place}: {key} of {finding} = {share!r}, expected a number between 0 and 1")
    if key == "units" and not all(isinstance(unit, str) and unit for unit in value.values()):
        raise SchemaError(f'{place}: units = {value!r}, expected code = "unit"')
    if key == "waivers":
        for trap, reason in value.items():
            if not isinstance(reason, str) or not reason.strip():
                raise SchemaError(f"{place}: the waiver of {trap} has no reason; say in a sentence why it does not apply")
    return value
