"""Files → charts: tables by a schema, with pictures, long-format companions and the synthetic clinic."""

from attending.records.charts import Records, Refused, read_charts, with_companions
from attending.records.choice import NOTHING_AMENDED, Amendments, aim, amend, restrict
from attending.records.column import Column, Role
from attending.records.error import RecordError, SchemaError
from attending.records.infer import infer_schema
from attending.records.schema import EACH_ROW, Companion, Sampling, Schema, Target, TargetKind
from attending.records.schema_file import from_toml, load_schema, to_toml, write_schema
from attending.records.table import Table, read_table, rows_where

__all__ = [
    "EACH_ROW",
    "NOTHING_AMENDED",
    "Amendments",
    "Column",
    "Companion",
    "RecordError",
    "Records",
    "Refused",
    "Role",
    "Sampling",
    "Schema",
    "SchemaError",
    "Table",
    "Target",
    "TargetKind",
    "aim",
    "amend",
    "from_toml",
    "infer_schema",
    "load_schema",
    "read_charts",
    "read_table",
    "restrict",
    "rows_where",
    "to_toml",
    "with_companions",
    "write_schema",
]
