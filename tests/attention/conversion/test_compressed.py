"""Latents: exact at full size with and without RoPE, cut by what the output needs, and refused where impossible."""

import json

import pytest
import torch

from attending.attention import (
    AttentionError,
    LatentConfig,
    RotaryConfig,
    YarnScaling,
    causal,
    config_from,
    name_of,
    settings_of,
)
from attending.attention.conversion import ConversionError, LatentConversion, Seen, output_error
from tests.attention.conversion.layers import DIM, SHAPES, causal_inputs, layer, padded_inputs, tokens

_ROPE = {"rope": SHAPES["rope"], "partial rope": SHAPES["partial rope"], "grouped rope": SHAPES["grouped rope"]}


@pytest.mark.parametrize("shape", SHAPES)
def test_at_full_size_it_is_the_same_layer(shape: str) -> None:
    old = layer(**SHAPES[shape])
    made = LatentConversion().convert(old, ())
    error = output_error(old, made, (*causal_inputs(), *padded_inputs()))
    assert error.output < 1e-12
    assert max(one for one in error.by_head if one is not None) < 1e-10


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by", ["weights", "output"])
def test_every_rule_at_full_size_is_exact(shape: str, by: str) -> None:
    old = layer(**SHAPES[shape])
    full = LatentConversion().convert(old, ()).layer.config
    made = LatentConversion(latent_dim=full.latent_dim, rope_dim=full.rope_dim, by=by).convert(old, causal_inputs())
    assert output_error(old, made, causal_inputs(seed=2)).output < 1e-6


def test_yarn_goes_over_with_its_temperature() -> None:
    scaling = YarnScaling(factor=4.0, original_length=8, mscale=0.7)
    old = layer(position=RotaryConfig(scaling=scaling, layout="interleaved"), bias=True)
    made = LatentConversion().convert(old, ())
    assert output_error(old, made, causal_inputs()).output < 1e-12


def test_over_a_context_it_is_exact_too() -> None:
    old = layer(bias=True, context_dim=DIM)
    seen = (Seen(x=tokens(3, 5), context=tokens(3, 9, seed=3), mask=causal()),)
    made = LatentConversion().convert(old, ())
    assert made.layer.config.latent_dim == DIM
    assert output_error(old, made, seen).output < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cache_gives_what_forward_gives(shape: str) -> None:
    old = layer(**SHAPES[shape])
    made = LatentConversion().convert(old, ()).layer
    x = tokens(2, 9)
    with torch.no_grad():
        cache = made.new_cache(2, mask=causal())
        parts = [cache.extend(x[:, start:stop]) for start, stop in ((0, 4), (4, 5), (5, 9))]
        torch.testing.assert_close(torch.cat(parts, dim=1), old(x, mask=causal()))
        assert cache.nbytes_used == made.config.cost(9, batch=2, dtype="float64").cache.used


@pytest.mark.parametrize("shape", ["plain", "biases", "grouped", "scaled"])
def test_what_the_output_needs_is_kept_better_than_what_the_weights_hold(shape: str) -> None:
    old = layer(**SHAPES[shape])
    held_out = causal_inputs(seed=2)
    errors = {}
    for by in ("weights", "output"):
        made = LatentConversion(latent_dim=8, by=by).convert(old, causal_inputs())
        errors[by] = output_error(old, made, held_out).output
    assert errors["output"] < errors["weights"] / 1.5


@pytest.mark.parametrize("shape", _ROPE)
def test_with_rope_the_output_counts_too(shape: str) -> None:
    old = layer(**_ROPE[shape])
    held_out = causal_inputs(seed=2)
    errors = {}
    for by in ("weights", "output"):
        made = LatentConversion(latent_dim=8, rope_dim=6, by=by).convert(old, causal_inputs())
        assert made.layer.config.remembered == {"latent": (1, 14)}
        errors[by] = output_error(old, made, held_out).output
    assert errors["output"] < errors["weights"]


def test_more_numbers_lose_less() -> None:
    old = layer(**SHAPES["rope"])
    errors = [
        output_error(old, LatentConversion(latent_dim=n).convert(old, causal_inputs()), causal_inputs(seed=2)).output
        for n in (6, 14, 24, 36, 48)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6


def test_a_layer_of_few_directions_is_kept_in_as_many() -> None:
    """Keys and values of all heads read the same five directions of the tokens: five numbers are enough, and exact."""
    old = layer(bias=True, output_bias=True)
    with torch.no_grad():
        few = torch.randn(5, DIM, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        for part in (old.key, old.value):
            part.weight.copy_(part.weight[:, :5] @ few)
    made = LatentConversion(latent_dim=5).convert(old, causal_inputs())
    assert output_error(old, made, causal_inputs(seed=2)).output < 1e-6


def test_the_budget_goes_where_it_saves_most() -> None:
    rich, poor = layer(seed=1), layer(seed=2)
    with torch.no_grad():
        one = torch.randn(1, DIM, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        for part in (poor.key, poor.value):
            part.weight.copy_(part.weight[:, :1] @ one)
    plans = LatentConversion(latent_dim=8).planned([(rich, causal_inputs()), (poor, causal_inputs())])
    assert [plan.latent_dim for plan in plans] == [15, 1]
    even = LatentConversion(latent_dim=8, ranks="even").planned([(rich, causal_inputs()), (poor, causal_inputs())])
    assert [plan.latent_dim for plan in even] == [8, 8]


@pytest.mark.parametrize(
    ("settings", "conversion", "said"),
    [
        ({}, LatentConversion(latent_dim=99), r"mla:latent=99: .* has at most 24; possible are 1 to 24$"),
        ({}, LatentConversion(latent_dim=8, rope_dim=4), r"mla:rope=4: .* has at most 0; possible are even numbers 0 to 0$"),
        ({"position": RotaryConfig()}, LatentConversion(latent_dim=8, rope_dim=3), r"possible are even numbers 0 to 24$"),
        ({}, LatentConversion(rope_dim=4), "has at most 0"),
        ({"sinks": True}, LatentConversion(), "found sinks, which it does not have; possible are gqa and mqa"),
        ({"softcap": 2.0}, LatentConversion(), "found a soft-cap"),
        ({"qk_norm_eps": 1e-6}, LatentConversion(), "found QK norms"),
    ],
)
def test_the_impossible_is_refused_with_what_is_possible(settings: dict, conversion: LatentConversion, said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        conversion.convert(layer(**settings), causal_inputs())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_made_configuration_foretells_its_parameters_and_can_be_written_down(shape: str) -> None:
    old = layer(**SHAPES[shape])
    made = LatentConversion(latent_dim=7, rope_dim=4 if "rope" in shape else 0).convert(old, causal_inputs()).layer
    assert made.config.cost(5).parameters == sum(parameter.numel() for parameter in made.parameters())
    written = json.loads(json.dumps(settings_of(made.config)))
    assert config_from(name_of(made.config), written) == made.config


def test_frequencies_are_one_for_each_pair() -> None:
    config = LatentConfig(
        dim=8, n_heads=2, latent_dim=4, rope_dim=4, nope_dim=2, value_dim=2, rotary=RotaryConfig(frequencies=(1.0,))
    )
    with pytest.raises(AttentionError, match="frequencies: found 1 for 2 pairs; give one for each pair"):
        config.build()


def test_listed_frequencies_turn_as_those_that_the_base_gives() -> None:
    plain = RotaryConfig(layout="interleaved")
    listed = RotaryConfig(layout="interleaved", frequencies=tuple(plain.frequencies_of(6).tolist()))
    heads = tokens(1, 4, 5)[..., :6]
    turned = [config.build(dim=24, n_heads=4, head_dim=6).rotate(heads, range(5)) for config in (plain, listed)]
    assert torch.equal(*turned)
