"""Any rectangle of cells gives a schema and charts, or one clear error: nothing else ever comes out."""

import csv
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attending.records import EACH_ROW, RecordError, infer_schema, read_charts, read_table
from attending.records.schema_file import from_toml, to_toml

NAMES = [
    "patient_id", "id", "visit_id", "group_id", "case", "site", "date", "age", "sex", "note", "film", "crp_mg_l",
    "crp_unit", "crp_mg_l_time", "glucose (mmol/L)", "pain", "vector", "name", "outcome", "url", "view", "x", "dx",
    "finding_from", "height", "width",
]  # fmt: skip
CELLS = st.one_of(
    st.sampled_from(
        ["", "?", "0", "1", "1.5", "2,5", "<3", "inf", "yes", "no", "a.png", "2020-01-01", "[1,2]", "A;B", "mg/dL", "92"]
    ),
    st.text(max_size=8),
    st.floats().map(repr),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_any_table_is_read_or_refused_in_words(tmp_path: Path, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True))
    columns = [data.draw(st.lists(CELLS, min_size=1, max_size=3)) for _ in names]
    n_rows = data.draw(st.integers(1, 30))
    rows = [[column[(i * (at + 1)) % len(column)] for at, column in enumerate(columns)] for i in range(n_rows)]
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([names, *rows])
    targets = data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    try:
        table = read_table(path)
        schema = infer_schema(table, targets=targets, patient=data.draw(st.sampled_from([None, EACH_ROW])))
        assert from_toml(to_toml(schema)) == schema
        assert [column.name for column in schema.columns] == names
        assert all(column.why for column in schema.columns)
        assert not {column.name for column in schema.inputs} & set(targets)
        records = read_charts(table, schema)
    except RecordError as error:
        assert len(str(error)) > 20  # noqa: PT017 -- both ends are fine, and each is checked
        return
    assert records.n_rows == records.n_rows_used + len(records.refused)
    assert all(counts.rows == records.n_rows_used for counts in records.counts.values())
