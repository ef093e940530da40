"""`report.json`: frozen rows, numbers that add up, and the same bytes for the same report."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from attending.evaluation import Result
from attending.report import ReportError, write_report
from attending.report.record import record_of
from tests.report.evidence import N, report


def test_rows_in_are_rows_used_plus_rows_reported(tmp_path: Path):
    flow = json.loads(write_report(tmp_path, report())[1].read_text())["flow"]
    assert flow["rows"] == flow["cases"] + flow["rows_refused"] == N + 3


def test_result_rows_of_the_record_are_frozen(tmp_path: Path):
    record = json.loads(write_report(tmp_path, report())[1].read_text())
    assert list(record["results"][0]) == [
        *("target", "finding", "split", "model", "metric", "value", "low", "high", "n", "events", "comparator", "slice"),
        *("slice_value", "threshold", "level", "clusters", "prevalence", "method", "protocol", "repeats", "seed"),
        *("adjusted", "note"),
    ]
    assert list(record["results"][0]) == [field.name for field in fields(Result)]
    assert len(record["results"]) == len(report().results)
    assert all(row["value"] is not None or row["note"] for row in record["results"])
    assert set(record) >= {"disclaimer", "question", "flow", "audit", "protocol", "primary", "results", "provenance", "columns"}


def test_a_number_that_is_none_is_null_not_nan():
    rows = (*report().results, replace(report().results[0], value=float("nan"), note="not a number"))
    assert record_of(replace(report(), results=rows))["results"][-1]["value"] is None


def test_a_report_without_results_is_refused_in_words():
    with pytest.raises(ReportError, match="judge the predictions first"):
        replace(report(), results=())


def test_the_same_report_gives_the_same_bytes(tmp_path: Path):
    first = [path.read_bytes() for path in write_report(tmp_path / "a", report())]
    second = [path.read_bytes() for path in write_report(tmp_path / "b", report())]
    assert first == second
