"""Targets: binary, classes and lists; unknown is never negative."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from attending.records import SchemaError, Target, TargetKind, read_table
from attending.records.targets import infer_targets, read_truth

Write = Callable[..., Path]


def _infer(csv: Write, cells: Sequence[str], positive: str | None = None) -> Target:
    rows = "\n".join(f"{i},{cell}" for i, cell in enumerate(cells))
    return infer_targets(read_table(csv(f"id,t\n{rows}")), ["t"], positive=positive)[0]


def test_the_rarer_value_is_positive(csv: Write) -> None:
    assert _infer(csv, ["0", "1", "1", "?", ""]).positive == "0"
    assert _infer(csv, ["no", "yes", "no"]).positive == "yes"
    assert _infer(csv, ["no", "yes"]).positive == "yes"  # a tie goes to the affirmative
    assert _infer(csv, ["ill", "well", "well"], positive="well").positive == "well"


def test_positive_makes_many_values_binary(csv: Write) -> None:
    target = _infer(csv, ["a", "b", "c", "a"], positive="a")
    assert (target.kind, target.findings) == (TargetKind.BINARY, ("t",))
    assert [read_truth(target, cell) for cell in ("a", "b", None, "unknown", "new")] == [
        {"t": True},
        {"t": False},
        {},
        {},
        None,
    ]


def test_classes_exclude_each_other(csv: Write) -> None:
    target = _infer(csv, ["a", "b", "c", "a"])
    assert (target.kind, target.findings) == (TargetKind.CLASSES, ("a", "b", "c"))
    assert read_truth(target, " b ") == {"a": False, "b": True, "c": False}
    assert read_truth(target, "?") == {}


def test_lists_are_several_findings(csv: Write) -> None:
    target = _infer(csv, ["a; b", "b", "none", "", "c;a"])
    assert (target.kind, target.findings) == (TargetKind.LIST, ("a", "b", "c"))
    assert read_truth(target, "b;a") == {"a": True, "b": True, "c": False}
    assert read_truth(target, "none") == {"a": False, "b": False, "c": False}
    assert read_truth(target, None) == {}
    assert read_truth(target, "a;new") is None


def test_several_columns_take_their_affirmative_value(csv: Write) -> None:
    table = read_table(csv("id,x,y\n1,1,no\n2,1,yes\n3,0,yes"))
    assert [target.positive for target in infer_targets(table, ["x", "y"], positive=None)] == ["1", "yes"]


@pytest.mark.parametrize(
    ("cells", "positive", "expected"),
    [
        (["a", "a", "?"], None, "has 1 class among 2 known rows"),
        (["", "?"], None, "has 0 class"),
        (["a;b", "b"], "a", "lists of labels, so --positive does not apply"),
        (["a longish sentence about Mrs Secret", "a second one that is at least forty letters"], "A1", "expected one of 2.$"),
        (["a", "b"], "A1", 'no row has the positive value "A1"'),
        ([str(i) for i in range(40)], None, "numbers and free text are no target"),
    ],
)
def test_what_is_no_target_is_refused(csv: Write, cells: list[str], positive: str | None, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        _infer(csv, cells, positive)
