"""What little there may be: no patient column, one site, ten events, a class that a part lacks. The report says what cannot be
estimated and why, and goes on with what can."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.command_line import ASKED, Said, call, refused
from tests.tables import rows, write_rows

FAST = ("--protocol", "split", "--seeds", "1", "--threads", "1")


def held(folder: Path, entries: list[dict[str, str]], *options: str | Path) -> tuple[Said, dict[str, Any], str]:
    """A run on these rows: what it said, its record and its page."""
    table = write_rows(folder / "table.csv", entries)
    said = call("run", table, *(options or (*ASKED, *FAST)), "--out", folder / "run")
    assert said.code == 0, said.err
    record: dict[str, Any] = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    return said, record, (folder / "run" / "report.html").read_text(encoding="utf-8")


def changed(change: Callable[[int, Mapping[str, str]], dict[str, str]], *, n: int = 60) -> list[dict[str, str]]:
    return [{**row, **change(number, row)} for number, row in enumerate(rows(n))]


def of(record: dict[str, Any], metric: str, *, model: str = "fused", finding: str = "sick") -> dict[str, Any]:
    """The row of a model on all its cases."""
    wanted = {"metric": metric, "model": model, "finding": finding, "slice": None, "comparator": None}
    (row,) = (row for row in record["results"] if all(row[name] == value for name, value in wanted.items()))
    return dict(row)


def test_without_a_patient_column_somebody_must_say_who_the_patients_are_and_the_report_repeats_it(tmp_path: Path) -> None:
    entries = [{name: cell for name, cell in row.items() if name != "patient_id"} for row in rows(60)]
    table = write_rows(tmp_path / "table.csv", entries)
    asked = ("run", table, *ASKED, *FAST, "--out", tmp_path / "run")
    refused(call(*asked), "no column names the patient", '--patient "each row"')
    assert not (tmp_path / "run").exists()
    _, record, page = held(tmp_path, entries, *ASKED, *FAST, "--patient", "each row")
    assert record["question"]["unit"] == "one row per patient"
    assert record["flow"]["patients"] == 60
    assert "one row per patient" in page
    assert of(record, "auroc")["value"] is not None


def test_one_site_says_that_sites_cannot_be_compared_and_is_judged_all_the_same(tmp_path: Path) -> None:
    entries = changed(lambda n, row: {"site": "Mitte"})
    table = write_rows(tmp_path / "alone.csv", entries)
    refused(call("run", table, *ASKED, "--protocol", "site", "--out", tmp_path / "left-out"), "site")
    _, record, page = held(tmp_path, entries)
    alone = "all cases are of one site"
    assert any(alone in told for told in record["may_not_be_concluded"])
    assert alone in page
    assert of(record, "auroc")["value"] is not None
    assert not [row for row in record["results"] if row["metric"].endswith(("_over_sites", "_at_new_site", "_local"))]
    assert "<h3>Each site</h3>" not in page


def test_ten_events_are_judged_with_wide_intervals_or_none_and_the_report_says_so(tmp_path: Path) -> None:
    entries = changed(lambda n, row: {"sick": "yes" if n % 12 == 0 else "no"}, n=120)
    planned = call("plan", write_rows(tmp_path / "planned.csv", entries), *ASKED)
    assert "cross-validation, because a four-way split would leave fewer than 5 patients" in planned.out
    assert "too few" in planned.out or "Too small to say anything about (sick): " in planned.out
    said, record, page = held(tmp_path, entries)
    assert record["flow"]["findings"] == [{"finding": "sick", "known": 120, "events": 10}]
    assert any("there are 10 events; the intervals are wide" in told for told in record["may_not_be_concluded"])
    area = of(record, "auroc")
    assert area["low"] is None
    assert "too few events" in area["note"]
    assert record["curves"] == []  # test holds under 5 events: a histogram would count them
    assert "no smooth curve" in page.lower()
    assert all(row["value"] is not None or row["note"] for row in record["results"])
    small = [row for row in record["results"] if row["slice"] == "sex" and row["metric"] == "auroc"]
    assert small
    assert all("too small to say" in row["note"] or "hidden for sharing" in row["note"] for row in small)
    assert "the difference cannot be estimated" in said.out


def test_a_class_that_the_test_part_lacks_leaves_its_finding_out_and_the_other_is_judged(tmp_path: Path) -> None:
    def change(number: int, row: Mapping[str, str]) -> dict[str, str]:
        return {"a": str(int(row["sick"] == "yes")), "b": str(int(number in (3, 30, 47)))}

    entries = changed(change)
    said, record, page = held(tmp_path, entries, "--target", "a,b", "--ignore", "kind,sick", *FAST)
    assert of(record, "auroc", finding="a")["value"] is not None
    rare = of(record, "auroc", finding="b")
    assert rare["low"] is None
    assert rare["note"]
    assert of(record, "auroc", finding="macro")["note"] == "no finding has 10 events"
    assert all(row["value"] is not None or row["note"] for row in record["results"])
    assert "few events" in page
    assert said.code == 0


def test_three_sites_left_out_in_turn_are_told_one_by_one_and_make_no_summary(tmp_path: Path) -> None:
    entries = changed(lambda n, row: {"site": ("Nord", "Mitte", "Ost")[n // 2 % 3]}, n=90)
    _, record, page = held(tmp_path, entries, *ASKED, "--protocol", "site", "--seeds", "1", "--threads", "1")
    assert (record["protocol"]["kind"], record["protocol"]["folds"]) == ("site", 3)
    assert "One site left out at a time" in page
    assert "Each site judged by models that never saw it" in page
    by_site = {row["slice_value"]: row for row in record["results"] if (row["slice"], row["metric"]) == ("site", "auroc")}
    assert set(by_site) == {"Nord", "Mitte", "Ost"}
    assert all((row["n"], row["events"]) == (30, 15) and row["low"] is not None for row in by_site.values())
    summary = of(record, "auroc_over_sites")
    assert summary["value"] is None
    assert "3 sites with at least 10 events and as many without, fewer than 5" in summary["note"]
    assert "fewer than 5" in page.split("<h3>Each site</h3>")[1].split("</section>")[0]
    assert of(record, "auroc_within_site")["value"] is not None
