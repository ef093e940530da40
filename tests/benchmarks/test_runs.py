"""The benchmark of whole runs, on small processes: it counts their children, and gives no number for what failed."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.runs import JOBS, Job, main

BUSY = """
import subprocess, sys, time
if len(sys.argv) == 1:
    subprocess.run([sys.executable, __file__, "child"], check=True)
else:
    held = bytearray(b"x") * 300_000_000
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
"""


def measured(tmp_path: Path, jobs: dict[str, Job], *arguments: str) -> tuple[int, dict[str, object]]:
    file = tmp_path / "rows.json"
    code = main(["--json", str(file), *arguments], jobs=jobs)
    content: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return code, content


def test_a_command_is_timed_with_its_children(tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(BUSY)
    job = Job(prepare=lambda folder: [sys.executable, tmp_path / "busy.py"], must_seconds=1e-3)
    code, content = measured(tmp_path, {"busy": job}, "--repeats", "2")
    rows = content["rows"]
    assert isinstance(rows, list)
    assert code == 0
    assert [row["repeat"] for row in rows] == [0, 1]
    for row in rows:
        assert {"job", "repeat", "seconds", "cpu_seconds", "largest_megabytes", "must_seconds"} <= row.keys()
        assert row["seconds"] >= 0.3
        assert row["cpu_seconds"] >= 0.3
        assert row["largest_megabytes"] >= 300
    assert content["threads"]
    assert content["commit"]
    assert content["machine"]


def test_what_fails_or_lacks_its_data_gives_no_number_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATTENDING_DATA", str(tmp_path / "nowhere"))
    failing = Job(prepare=lambda folder: [sys.executable, "-c", "import sys; sys.exit('the disk is full')"])
    code, content = measured(tmp_path, {"failing": failing, "covidcxr": JOBS["covidcxr"]})
    assert code == 1
    assert content["rows"] == []
    said = content["left_out"]
    assert isinstance(said, dict)
    assert said["failing"].startswith("ended with code 1 after")
    assert said["failing"].endswith("the disk is full")
    assert "no covidcxr/patients.csv" in said["covidcxr"]
    assert "left out" in capsys.readouterr().out


def test_help_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, content = measured(tmp_path, dict(JOBS), "--only", "help")
    assert code == 0
    (row,) = content["rows"]  # type: ignore[misc]
    assert (row["job"], row["must_seconds"]) == ("help", 0.4)
    assert row["seconds"] > 0.0
    assert "help" in capsys.readouterr().out
