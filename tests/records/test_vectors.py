"""Embeddings that lie in many columns are one embedding, and vectors of another length are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attending.case import Embedding
from attending.records import (
    RecordError,
    Records,
    Role,
    Schema,
    SchemaError,
    from_toml,
    infer_schema,
    read_charts,
    read_table,
    to_toml,
)
from attending.records.values import Tally

Write = Callable[..., Path]
N = 12
VECTORS = np.random.default_rng(0).normal(size=(N, 3)).round(4)


def wide(csv: Write, *, change: Callable[[int, list[str]], list[str]] = lambda _, cells: cells, head: str = "emb_{}") -> Path:
    names = ",".join(head.format(number) for number in (0, 1, 2))
    lines = [f"p{n},{n % 2},{','.join(change(n, [str(v) for v in VECTORS[n]]))}" for n in range(N)]
    return csv(f"patient,dx,{names}\n" + "\n".join(lines))


def read(path: Path, schema: Schema | None = None, **options: bool) -> Records:
    table = read_table(path)
    return read_charts(table, schema or infer_schema(table, targets=["dx"]), **options)


def vectors(records: Records) -> list[np.ndarray]:
    return [one.vector for chart in records.charts for one in chart.of(Embedding)]


@pytest.mark.parametrize("head", ["emb_{}", "text_embedding{}", "vec.{}", "Embedding {}"])
def test_columns_that_count_on_are_one_embedding(csv: Write, head: str) -> None:
    path = wide(csv, head=head)
    schema = infer_schema(read_table(path), targets=["dx"])
    ((name, columns),) = schema.parts.items()
    assert [column.name for column in columns] == [head.format(number) for number in (0, 1, 2)]
    records = read(path)
    np.testing.assert_array_equal(np.stack(vectors(records)), VECTORS.astype(np.float32))
    assert {one.name for chart in records.charts for one in chart.of(Embedding)} == {name}
    assert {column.name for column in schema.shown} == {"patient", "dx", f"{head.format(0)} … {head.format(2)}"}


def test_the_same_vectors_in_lists_are_read_the_same(csv: Write) -> None:
    cells = "\n".join(f"p{n},{n % 2},{';'.join(str(v) for v in VECTORS[n])}" for n in range(N))
    listed = read(csv(f"patient,dx,emb\n{cells}", "lists.csv"))
    np.testing.assert_array_equal(np.stack(vectors(listed)), np.stack(vectors(read(wide(csv)))))


def test_a_row_without_all_parts_has_no_embedding(csv: Write) -> None:
    lacking = {0: ["", "", ""], 1: ["1.5", "", "2.5"], 2: ["?", "NA", ""], 3: ["1", "x", "2"]}
    inferred = infer_schema(read_table(wide(csv)), targets=["dx"])
    path = wide(csv, change=lacking.get)
    records = read(path, inferred)
    assert [bool(chart.of(Embedding)) for chart in records.charts] == [False] * 4 + [True] * (N - 4)
    assert dict(records.counts) == dict.fromkeys(("emb_0", "emb_1", "emb_2"), Tally(read=N - 4, blank=2, refused=2))
    assert dict(records.reasons["emb_0"]) == {"not a full list of finite numbers": 2}
    assert not records.reasons["emb_1"]


def test_decimal_commas_are_read_in_embeddings_too(csv: Write) -> None:
    path = wide(csv, change=lambda _, cells: [f'"{cell.replace(".", ",")}"' for cell in cells])
    np.testing.assert_array_equal(np.stack(vectors(read(path))), VECTORS.astype(np.float32))


@pytest.mark.parametrize("head", ["lab_{}", "emb_1{}x"])
def test_other_numbered_columns_stay_what_they_are(csv: Write, head: str) -> None:
    schema = infer_schema(read_table(wide(csv, head=head)), targets=["dx"])
    assert not schema.parts
    assert not schema.of(Role.EMBEDDING)


def test_an_embedding_is_chosen_missed_and_kept_under_its_own_name(csv: Write) -> None:
    table = read_table(wide(csv))
    assert not infer_schema(table, targets=["dx"], ignore=["emb"]).inputs
    assert len(infer_schema(table, targets=["dx"], only=["emb"]).inputs) == 3
    schema = infer_schema(table, targets=["dx"])
    assert from_toml(to_toml(schema)).parts == schema.parts
    lines = "\n".join(f"p{n},{n % 2}" for n in range(N))
    assert read(csv(f"patient,dx\n{lines}", "none.csv"), schema).missing == ("emb",)
    some = read(csv("patient,dx,emb_0,emb_2\n" + "\n".join(f"p{n},{n % 2},1,2" for n in range(N)), "some.csv"), schema)
    assert some.missing == ("emb_1",)
    assert not vectors(some)
    with pytest.raises(SchemaError, match='no column "emb_1", which was named as an input'):
        read(csv("patient,dx,emb_0,emb_2\na,1,1,2", "some.csv"), _timed(schema), is_strict=True)


def test_a_vector_of_another_length_is_no_embedding(csv: Write) -> None:
    lists = [f"{n};2;3;4" for n in range(60)]
    schema = infer_schema(read_table(csv(_listed(lists))), targets=["dx"])
    path = csv(_listed([*lists[:58], "1;2", "1;2;3"]))
    records = read(path, schema)
    assert sum(bool(chart.of(Embedding)) for chart in records.charts) == 58
    assert [chart.absent[0].name for chart in records.charts if chart.absent] == ["emb", "emb"]
    assert dict(records.reasons["emb"]) == {f"a vector of {n} numbers, where most have 4": 1 for n in (2, 3)}
    with pytest.raises(RecordError, match=r'row 60, column "emb" \(embedding\): a vector of 2 numbers, where most have 4'):
        read(path, _timed(schema), is_strict=True)


def _listed(cells: list[str]) -> str:
    return "patient,dx,emb\n" + "\n".join(f"p{n},{n % 2},{cell}" for n, cell in enumerate(cells))


def _timed(schema: Schema) -> Schema:
    return from_toml(to_toml(schema).replace("not recorded: taken at the question", "at the question"))
