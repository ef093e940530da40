"""Limits are of one machine and say so; what cannot be read or is of another is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attending.attention import AttentionError, Limits, keep_limits, kept_limits, limits_here, measure_limits
from attending.attention.limits import DTYPES, default_place, processor

HERE = Limits(
    flops_per_s={"float32": 2e11, "bfloat16": 8e11},
    bytes_per_s=5e10,
    bytes_per_s_by_size={1 << 20: 2e11, 1 << 28: 5e10},
    machine=processor(),
    threads=torch.get_num_threads(),
)


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    keep_limits(HERE, tmp_path / "new" / "limits.json")
    assert limits_here(tmp_path / "new" / "limits.json") == HERE
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["limits.json"]


@pytest.mark.parametrize("other", [replace(HERE, machine="Another CPU, 2 cores"), replace(HERE, threads=64)])
def test_limits_of_another_processor_or_thread_count_are_refused(other: Limits, tmp_path: Path) -> None:
    keep_limits(other, tmp_path / "limits.json")
    assert kept_limits(tmp_path / "limits.json") == other
    with pytest.raises(AttentionError, match=r"holds the limits of .* and this is .*; measure them here"):
        limits_here(tmp_path / "limits.json")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("bytes_per_s"),
        lambda told: told.update(layout=99),
        lambda told: told["flops_per_s"].update(float32=0.0),
        lambda told: told["flops_per_s"].update(float32="fast"),
        lambda told: told.update(bytes_per_s_by_size=[]),
    ],
)
def test_a_spoiled_file_is_refused_and_named(spoil, tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    keep_limits(HERE, path)
    told = json.loads(path.read_text())
    spoil(told)
    path.write_text(json.dumps(told))
    with pytest.raises(AttentionError, match=r"limits.json: .*attending limits"):
        kept_limits(path)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "limits.json").write_text("fast")
    with pytest.raises(AttentionError, match="holds no limits that can be read"):
        kept_limits(tmp_path / "limits.json")


def test_measured_limits_cover_every_type_and_serve_as_a_floor() -> None:
    heard: list[str] = []
    limits = measure_limits(seconds=0.0, sides=(64,), sizes=(1 << 12, 1 << 20), heard=heard.append)
    assert tuple(limits.flops_per_s) == DTYPES
    assert all(rate > 0.0 for rate in (*limits.flops_per_s.values(), *limits.bytes_per_s_by_size.values()))
    assert limits.bytes_per_s == limits.bytes_per_s_by_size[1 << 20]
    assert (limits.machine, limits.threads) == (processor(), torch.get_num_threads())
    assert len(heard) == len(DTYPES) + 2


def test_the_place_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_place() == tmp_path / "attending" / "limits.json"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_place() == Path.home() / "Library" / "Caches" / "attending" / "limits.json"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert default_place() == tmp_path / "local" / "attending" / "limits.json"
