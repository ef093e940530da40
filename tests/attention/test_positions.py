"""Positions: against the formulas, and against what they are for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attending.attention import (
    AlibiConfig,
    AttentionError,
    GroupedConfig,
    LearnedConfig,
    LinearScaling,
    Llama3Scaling,
    NtkScaling,
    RelativeBiasConfig,
    RotaryConfig,
    Scaling,
    YarnScaling,
    causal,
    everything,
    padding,
)
from attending.attention.positions import alibi_slopes
from attending.attention.scalings import plain_frequencies
from tests.attention.examples import tokens
from tests.attention.references import rotated

SCALINGS = [
    None,
    LinearScaling(factor=4.0),
    NtkScaling(factor=4.0),
    YarnScaling(factor=4.0, original_length=64),
    Llama3Scaling(factor=8.0, original_length=64),
]


def turned(config: RotaryConfig, heads: Tensor, places) -> Tensor:
    return config.build(dim=16, n_heads=2, head_dim=heads.shape[-1]).rotate(heads, places)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@pytest.mark.parametrize("rotary_dim", [None, 4])
def test_rotary_turns_pairs_as_complex_numbers(layout, rotary_dim: int | None) -> None:
    config, heads = RotaryConfig(layout=layout, rotary_dim=rotary_dim), tokens(2, 3, 7, 8)
    expected = torch.stack([rotated(heads[:, h], config, torch.arange(7).expand(2, -1)) for h in range(3)], 1)
    torch.testing.assert_close(turned(config, heads, range(7)), expected)


def test_rotary_worked_by_hand() -> None:
    quarter = torch.tensor([[[[1.0, 0.0, 2.0, 0.0]]]])
    half = turned(RotaryConfig(base=1.0), quarter, torch.tensor([[math.pi / 2]]))
    torch.testing.assert_close(half, torch.tensor([[[[-2.0, 0.0, 1.0, 0.0]]]]), atol=1e-6, rtol=0)
    pairs = turned(RotaryConfig(base=1.0, layout="interleaved"), quarter, torch.tensor([[math.pi / 2]]))
    torch.testing.assert_close(pairs, torch.tensor([[[[0.0, 1.0, 0.0, 2.0]]]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
@pytest.mark.parametrize("layout", ["half", "interleaved"])
@settings(max_examples=10, deadline=None)
@given(shift=st.integers(-50, 200))
def test_rotary_scores_depend_on_distance_alone(layout, scaling: Scaling | None, shift: int) -> None:
    config, q, k = RotaryConfig(layout=layout, scaling=scaling), tokens(1, 1, 6, 8), tokens(1, 1, 6, 8, seed=1)
    here, there = torch.arange(6)[None] + 60, torch.arange(6)[None] + 60 + shift
    one, two = (turned(config, q, places) @ turned(config, k, places).mT for places in (here, there))
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_positions_count_real_tokens_and_can_be_given() -> None:
    module = GroupedConfig(dim=16, n_heads=2, position=RotaryConfig()).build().double()
    x = tokens(2, 5, 16)
    given_positions = torch.tensor([[3, 4, 5, 6, 7], [0, 1, 2, 3, 4]])
    torch.testing.assert_close(module(x, mask=causal(), positions=given_positions), module(x, mask=causal()))
    stretched = module(x, mask=causal(), positions=given_positions * 7)
    assert not torch.allclose(stretched, module(x, mask=causal()))
    with pytest.raises(AttentionError, match=r"positions: found shape \(5,\)"):
        module(x, mask=causal(), positions=torch.arange(5))


def test_frequencies_survive_bfloat16() -> None:
    module = GroupedConfig(dim=16, n_heads=2, position=RotaryConfig()).build()
    before = module.position._frequencies.clone()
    module.bfloat16()
    assert torch.equal(module.position._frequencies, before)
    assert "position" not in "".join(module.state_dict())


def test_linear_and_ntk_scaling_by_hand() -> None:
    plain = plain_frequencies(10_000.0, 8)
    torch.testing.assert_close(plain, torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64))
    torch.testing.assert_close(LinearScaling(factor=4.0).frequencies(10_000.0, 8), plain / 4)
    ntk = NtkScaling(factor=4.0).frequencies(10_000.0, 8)
    assert ntk[0] == 1.0
    torch.testing.assert_close(ntk[-1], plain[-1] / 4)


def test_yarn_keeps_fast_waves_divides_slow_ones_and_warms_the_scores() -> None:
    yarn = YarnScaling(factor=40.0, original_length=4096, mscale=1.0, mscale_all_dim=1.0)
    plain, found = plain_frequencies(10_000.0, 64), yarn.frequencies(10_000.0, 64)
    turns = 4096 * plain / (2 * math.pi)
    torch.testing.assert_close(found[turns > 40], plain[turns > 40])
    torch.testing.assert_close(found[turns < 0.7], plain[turns < 0.7] / 40)
    assert bool(((found >= plain / 40 - 1e-12) & (found <= plain + 1e-12)).all())
    m = 0.1 * math.log(40.0) + 1.0
    assert yarn.amplitude == 1.0
    assert yarn.score_scale == pytest.approx(m**2)
    plain_yarn = YarnScaling(factor=40.0, original_length=4096)
    assert plain_yarn.amplitude == pytest.approx(m)
    assert plain_yarn.score_scale == 1.0


def test_llama3_keeps_short_waves_and_divides_long_ones() -> None:
    llama = Llama3Scaling(factor=8.0, original_length=8192)
    plain, found = plain_frequencies(500_000.0, 128), llama.frequencies(500_000.0, 128)
    length = 2 * math.pi / plain
    assert torch.equal(found[length < 8192 / 4], plain[length < 8192 / 4])
    torch.testing.assert_close(found[length > 8192], plain[length > 8192] / 8)
    between = (length > 8192 / 4) & (length < 8192)
    smooth = (8192 / length[between] - 1) / 3
    torch.testing.assert_close(found[between], (1 - smooth) * plain[between] / 8 + smooth * plain[between])


def test_alibi_slopes_are_those_of_the_paper() -> None:
    assert alibi_slopes(8) == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(6) == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]


def test_t5_buckets_by_hand() -> None:
    encoder = RelativeBiasConfig(n_buckets=32, max_distance=128).build(dim=8, n_heads=2, head_dim=4)
    # Distance is query − key: negative ones lie in the future and take the upper half.
    assert encoder.bucket(torch.tensor([0, 1, 7, 8, 127, 500, -1, -500])).tolist() == [0, 1, 7, 8, 15, 15, 17, 31]
    decoder = RelativeBiasConfig(n_buckets=32, max_distance=128, future_buckets=False).build(dim=8, n_heads=2, head_dim=4)
    assert decoder.bucket(torch.tensor([-5, 0, 15, 16, 127, 500])).tolist() == [0, 0, 15, 16, 31, 31]


def test_learned_bias_gets_a_gradient_also_at_length() -> None:
    module = GroupedConfig(dim=8, n_heads=2, position=RelativeBiasConfig()).build()
    module(tokens(1, 300, 8, dtype=torch.float32), mask=causal()).square().sum().backward()
    gradient = module.position.table.grad
    assert gradient is not None
    assert int((gradient.abs().sum(1) > 0).sum()) == 16  # causal: the buckets of the past


def test_positions_are_not_applied_over_a_context() -> None:
    for position in (RotaryConfig(), AlibiConfig(), LearnedConfig(length=4)):
        module = GroupedConfig(dim=16, n_heads=2, position=position).build().double()
        x, context = tokens(1, 3, 16), tokens(1, 6, 16, seed=1)
        order = torch.tensor([5, 0, 2, 4, 1, 3])
        torch.testing.assert_close(
            module(x, mask=everything(), context=context), module(x, mask=everything(), context=context[:, order])
        )


def test_places_beyond_the_learned_ones_are_refused() -> None:
    module = GroupedConfig(dim=16, n_heads=2, position=LearnedConfig(length=4)).build()
    with pytest.raises(AttentionError, match="found place 4, and only 4 were learned"):
        module(torch.zeros(1, 5, 16), mask=causal())
    module(torch.zeros(1, 4, 16), mask=causal() & padding(torch.tensor([2])))


@pytest.mark.parametrize(
    ("config", "message"),
    [(RotaryConfig(rotary_dim=3), "found 3 for heads of 8"), (RotaryConfig(rotary_dim=10), "no wider than the head")],
)
def test_rotary_widths_that_do_not_fit_are_refused(config: RotaryConfig, message: str) -> None:
    with pytest.raises(AttentionError, match=message):
        config.build(dim=16, n_heads=2, head_dim=8)
    with pytest.raises(AttentionError, match='expected "half" or "interleaved"'):
        RotaryConfig(layout="neox")  # type: ignore[arg-type]


def test_far_places_turn_by_the_right_angle_in_16_bits() -> None:
    heads = tokens(1, 2, 3, 8)
    places = torch.tensor([[257, 4099, 30_001]])
    exact = RotaryConfig().build(dim=16, n_heads=2, head_dim=8).rotate(heads.bfloat16().double(), places)
    found = RotaryConfig().build(dim=16, n_heads=2, head_dim=8).bfloat16().rotate(heads.bfloat16(), places)
    # Cosine, sine, two products and a sum, each rounded.
    assert (found - exact).abs().max() <= 3 * torch.finfo(torch.bfloat16).eps * heads.abs().max()


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_turns_that_are_kept_are_those_of_their_places(layout) -> None:
    """Places that come one by one, go back and jump turn as places that are told apart and never kept."""
    encoding = RotaryConfig(layout=layout).build(dim=16, n_heads=2, head_dim=8)
    for start, length in ((0, 1), (1, 1), (62, 2), (63, 1), (64, 1), (62, 4), (200, 3), (3, 1), (129, 1)):
        heads = tokens(1, 2, length, 8, dtype=torch.float32)
        told = encoding.rotate(heads, torch.arange(start, start + length)[None])
        torch.testing.assert_close(encoding.rotate(heads, range(start, start + length)), told, rtol=1e-6, atol=1e-6)
