"""Who may be compared: every mechanism of the catalog has standard settings, and what cannot be compared is refused."""

import json
from pathlib import Path

import pytest
import torch

from attending.attention import MECHANISMS, ClusteredConfig, GroupedConfig, LatentConfig, LowRankConfig, WindowedConfig, name_of
from attending.comparison import ComparisonError, Shape, chosen_contenders, contender, contenders_from, standard_contenders
from attending.comparison.contenders import ALSO, STANDARD, can_be_causal, checked, mask_of


def test_every_mechanism_of_the_catalog_stands_among_the_contenders() -> None:
    assert {name_of(one.config) for one in standard_contenders(Shape())} == set(MECHANISMS)
    assert set(ALSO.values()) <= set(STANDARD)


@pytest.mark.parametrize(
    "shape", [Shape(), Shape(dim=24, n_heads=3), Shape(dim=8, n_heads=1), Shape(dim=256, n_heads=16, budget=64)]
)
@pytest.mark.parametrize("name", STANDARD)
def test_the_standard_settings_build_and_run_at_any_shape(name: str, shape: Shape) -> None:
    config = contender(name, shape).over(20)
    module, x = config.build(), torch.randn(2, 20, shape.dim)
    assert module(x, mask=mask_of(config)).shape == x.shape
    assert sum(p.numel() for p in module.parameters()) == config.cost(20).parameters


def test_heads_are_grouped_by_fours_and_at_least_by_twos() -> None:
    kv = {n: contender("gqa", Shape(dim=64 * n, n_heads=n)).config.kv_heads for n in (1, 2, 3, 4, 8, 32)}  # type: ignore[attr-defined]
    assert kv == {1: 1, 2: 1, 3: 1, 4: 2, 8: 2, 32: 8}


def test_settings_are_changed_behind_a_colon() -> None:
    shape = Shape()
    assert contender("windowed:before=31,n_global=2", shape).config == WindowedConfig(dim=64, n_heads=4, before=31, n_global=2)
    assert contender("gqa:2", shape).config == GroupedConfig(dim=64, n_heads=4, n_kv_heads=2)
    assert contender("MLA", shape).name == "latent"
    assert contender("low-rank", shape).name == "low rank"


def test_what_is_made_for_a_length_is_made_anew_for_each() -> None:
    own = contender("low rank:rank=4", Shape())
    assert own.over(100).length == 100  # type: ignore[attr-defined]
    assert own.over(3).rank == 3  # type: ignore[attr-defined]
    window = contender("windowed", Shape(budget=16)).both_ways(100)
    assert window.reach == (8, 7)  # type: ignore[attr-defined]


def test_what_cannot_be_causal_is_found_out() -> None:
    causal = {one.name: can_be_causal(one.over(16)) for one in standard_contenders(Shape())}
    assert [name for name, can in causal.items() if not can] == ["low rank"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("gpa", "found 'gpa', known are mha, gqa"),
        ("windowed:64", "found '64' after the colon, expected setting=value"),
        ("windowed:befor=3", "unknown settings befor; it takes .*before"),
        ("gqa:3", "n_kv_heads: found 3 for 4 heads"),
        ("windowed:before=-1", "before=-1"),
        ("windowed:before=much", "windowed:before=much"),
    ],
)
def test_a_name_or_setting_that_is_not_known_is_refused_with_what_is(asked: str, told: str) -> None:
    with pytest.raises(ComparisonError, match=told):
        contender(asked, Shape())


@pytest.mark.parametrize(("dim", "n_heads"), [(64, 3), (0, 1), (12, 4)])
def test_a_shape_that_gives_no_heads_is_refused(dim: int, n_heads: int) -> None:
    with pytest.raises(ComparisonError, match="heads"):
        Shape(dim=dim, n_heads=n_heads)


OURS = {"mechanism": "latent", "latent_dim": 8, "rope_dim": 4, "nope_dim": 8, "value_dim": 8}


def test_contenders_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"ours": OURS}))
    toml = "\n".join(f"{key} = {value!r}" for key, value in OURS.items())
    (tmp_path / "a.toml").write_text(f"[ours]\n{toml}\n[ours.rotary]\nname = 'rotary'\nbase = 500.0\n")
    (plain,), (turned,) = (contenders_from(tmp_path / name, Shape()) for name in ("a.json", "a.toml"))
    assert plain.config == LatentConfig(dim=64, n_heads=4, latent_dim=8, rope_dim=4, nope_dim=8, value_dim=8)
    assert turned.config.rotary.base == 500.0  # type: ignore[attr-defined]
    both = chosen_contenders(["mha"], tmp_path / "a.json", Shape())
    assert [one.name for one in both] == ["mha", "ours"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "expected a table for each mechanism"),
        ("{}", "expected a table for each mechanism"),
        ('{"a": 3}', "expected a table for each mechanism"),
        ('{"a": {}}', 'has no "mechanism"'),
        ('{"a": {"mechanism": "x"}}', "found 'x', known are"),
        ('{"a": {"mechanism": "grouped", "heads": 3}}', "unknown settings heads"),
        ('{"a": {"mechanism": "windowed"}}', "before"),
    ],
)
def test_a_file_that_holds_no_mechanisms_is_refused_and_named(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ComparisonError, match=told) as caught:
        contenders_from(tmp_path / "mine.json", Shape())
    assert "mine.json" in str(caught.value)


def test_the_same_inputs_need_the_same_width_and_other_names(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="mha twice"):
        chosen_contenders(["mha", "grouped"], None, Shape())
    wide = contender("mqa", Shape(dim=128))
    with pytest.raises(ComparisonError, match=r"widths of \[64, 128\]"):
        checked((contender("mha", Shape()), wide))
    (tmp_path / "a.json").write_text(json.dumps({"ours": {"mechanism": "grouped", "context_dim": 12}}))
    with pytest.raises(ComparisonError, match="context_dim=12"):
        chosen_contenders([], tmp_path / "a.json", Shape())
    with pytest.raises(ComparisonError, match="no mechanism"):
        checked(())


def test_pairs_of_heads_are_led_by_the_first() -> None:
    assert contender("clustered", Shape(dim=64, n_heads=4)).config == ClusteredConfig(
        dim=64, n_heads=4, n_clusters=2, leaders=(0, 0, 2, 2)
    )
    assert isinstance(contender("linformer", Shape()).config, LowRankConfig)
