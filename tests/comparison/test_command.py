"""`attending limits` and `attending compare` as a person calls them: what is written, and what is refused in a sentence."""

import json
from pathlib import Path

import pytest

from attending.attention.limits import keep_limits, processor
from tests.command_line import call
from tests.comparison.test_comparison import LIMITS

QUICK = ("--lengths", "128", "--seeds", "1", "--steps", "2", "--threads", "1", "--dim", "16", "--heads", "2")


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    from dataclasses import replace

    keep_limits(replace(LIMITS, machine=processor(), threads=1), tmp_path / "limits.json")
    return tmp_path / "limits.json"


def test_a_comparison_is_printed_and_written(limits: Path, tmp_path: Path) -> None:
    rows, page = tmp_path / "rows.json", tmp_path / "new" / "page.html"
    said = call("compare", "mqa", "windowed:before=3", *QUICK, "--limits", limits, "--json", rows, "--page", page)
    assert said.code == 0, said.err
    assert "mqa" in said.out
    assert "windowed:before=3" in said.out
    assert "associative recall" in said.out
    assert {row["mechanism"] for row in json.loads(rows.read_text())["rows"]} == {"mqa", "windowed:before=3"}
    assert page.read_text().startswith("<!doctype html>")


def test_no_task_is_no_table_of_quality(limits: Path) -> None:
    said = call("compare", "mqa", *QUICK, "--limits", limits, "--tasks", "")
    assert said.code == 0, said.err
    assert "learned" not in said.out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("mha", "gpa"), "found 'gpa', known are mha"),
        (("mha", "mha"), "found mha twice"),
        (("--heads", "5"), "found 5 heads for a width of 64"),
        (("--lengths", "12"), "from 128 on"),
        (("--tasks", "chess"), "found 'chess', known are"),
        (("--dtype", "int4"), "found 'int4'"),
        (("--config", "missing.toml"), "missing.toml: no such file or directory"),
        (("--limits", "missing.json"), "missing.json: no such file or directory"),
        (("--seeds", "0"), "--seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(asked: tuple[str, ...], told: str) -> None:
    said = call("compare", *asked, "--threads", "1")
    assert said.code == 2
    assert "Traceback" not in said.err
    assert said.sentence.startswith("attending: ")
    assert told in said.sentence


def test_limits_of_another_machine_are_refused(tmp_path: Path) -> None:
    keep_limits(LIMITS, tmp_path / "limits.json")
    said = call("compare", "mqa", *QUICK, "--limits", tmp_path / "limits.json")
    assert said.code == 2
    assert "A machine <of tests>" in said.sentence


@pytest.mark.long
def test_limits_are_measured_printed_and_serve_a_comparison(tmp_path: Path) -> None:
    said = call("limits", "--out", tmp_path / "limits.json", "--threads", "1")
    assert said.code == 0, said.err
    assert "products of bfloat16" in said.out
    assert "(memory)" in said.out
    assert call("compare", "mqa", *QUICK, "--limits", tmp_path / "limits.json").code == 0


@pytest.mark.long
def test_kept_limits_of_another_machine_are_not_used_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "attending" / "limits.json"
    keep_limits(LIMITS, kept)
    said = call("compare", "mqa", *QUICK, "--tasks", "")
    assert said.code == 0
    assert "not used: " in said.err
    assert "A machine <of tests>" in said.err
    assert json.loads(kept.read_text())["machine"] == processor()
