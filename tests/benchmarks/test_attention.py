"""The benchmark of attention: every job that needs no extra runs at short lengths, and its rows have the ten fields."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks.attention import main
from benchmarks.attention_rows.catalog import JOBS
from benchmarks.attention_rows.measuring import NO_HUB, Contest, Peer, Row, Run, Steps, timed

FIELDS = {"job", "peer", "shape", "dtype", "ours_us", "peer_us", "ratio", "spread", "must", "error"}
HEAVY = {"models"}
"""Whole models take long even when they are short; their rows without the extra are looked at below."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rows_of(tmp_path: Path, *jobs: str) -> list[dict[str, object]]:
    file = tmp_path / "rows.json"
    main(["--quick", "--repeats", "1", "--threads", "1", "--json", str(file), "--only", *jobs])
    rows: list[dict[str, object]] = json.loads(file.read_text(encoding="utf-8"))
    return [row for row in rows if row["job"] != "machine"]


@pytest.mark.parametrize("job", sorted(set(JOBS) - HEAVY))
def test_each_job_gives_rows_whose_outputs_agree(job: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, job)
    assert rows
    for row in rows:
        assert row.keys() == FIELDS
        if row["error"] == NO_HUB:
            assert find_spec("transformers") is None
            assert row["ratio"] is None
        else:
            assert isinstance(row["error"], float), row
            assert row["error"] < 0.1
            assert row["ratio"] > 0.0  # type: ignore[operator]


@pytest.mark.skipif(find_spec("transformers") is not None, reason="the extra hub is installed, so that its peers are measured")
def test_without_the_extra_its_rows_say_so(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "models", "decode-latent", "decode-indexed")
    assert {row["error"] for row in rows} == {NO_HUB}
    assert {row["must"] for row in rows if row["job"] == "decode latent"} == {18.0, 15.0}


def test_a_planted_wrong_output_is_not_timed() -> None:
    contest = Contest(
        job="planted",
        shape="",
        dtype=torch.float32,
        ours=lambda: torch.ones(3),
        peers=(
            Peer(name="right", call=lambda: torch.ones(3), must=0.0),
            Peer(name="wrong", call=lambda: torch.full((3,), 1.1), must=0.0),
        ),
    )
    right, wrong = contest.rows(Run(repeats=1))
    assert right.verdict == "met"
    assert wrong.ratio is None
    assert "outputs differ by 9.1e-02" in wrong.verdict


def test_turns_alternate_and_steps_start_again_behind_the_prompt() -> None:
    seen: list[int] = []
    turns: list[str] = []

    def step(at: int) -> torch.Tensor:
        seen.append(at)
        return torch.zeros(())

    steps = Steps(5, step, lambda: turns.append("back"))
    seconds = timed({"steps": steps, "other": lambda: turns.append("other")}, repeats=2, calls=1)
    assert {name: len(found) for name, found in seconds.items()} == {"steps": 2, "other": 2}
    assert seen[:3] == [5, 5, 6]  # once to warm up; then, from the start, once more and the turn
    assert max(seen) == 6
    assert turns.index("back") < len(turns) - 1


@pytest.mark.parametrize(
    ("ratio", "must", "verdict"), [(1.0, None, ""), (2.0, 2.0, "met"), (1.99, 2.0, "MISSED"), (None, 2.0, "")]
)
def test_a_must_is_met_or_missed(ratio: float | None, must: float | None, verdict: str) -> None:
    assert Row(job="", peer="", shape="", dtype="", ratio=ratio, must=must).verdict == verdict
