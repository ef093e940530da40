"""Small tables and schemas for the tests that read charts."""

from collections.abc import Callable
from pathlib import Path

from attending.records import Column, Records, Role, Schema, Target, TargetKind, read_charts, read_table
from attending.records.column import AT_QUESTION

Write = Callable[..., Path]
TARGET = Target(column="dx", kind=TargetKind.BINARY, classes=("0", "1"), positive="1")


def number(name: str, **rest: object) -> Column:
    """A column of numbers in mg/L."""
    return Column(**{"name": name, "role": Role.NUMBER, "unit": "mg/L", "time": AT_QUESTION, **rest})  # type: ignore[arg-type]


def schema_of(*columns: Column, **rest: object) -> Schema:
    """These columns beside patient and dx."""
    fixed = (Column(name="patient", role=Role.PATIENT), Column(name="dx", role=Role.TARGET))
    return Schema(columns=(*fixed, *columns), targets=(TARGET,), **rest)  # type: ignore[arg-type]


def read(path: Path, schema: Schema, **options: object) -> Records:
    """The charts of a file."""
    return read_charts(read_table(path), schema, **options)  # type: ignore[arg-type]
