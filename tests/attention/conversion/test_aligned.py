"""Aligned pooling: exact for heads that differ only by what queries and outputs take back, and no worse than the mean."""

import pytest
import torch

from attending.attention import AlibiConfig, GroupedAttention, RelativeBiasConfig, RotaryConfig
from attending.attention.conversion import AlignedConversion, ConversionError, PooledConversion, output_error
from tests.attention.conversion.layers import SHAPES, causal_inputs, layer, padded_inputs


@pytest.mark.parametrize("shape", SHAPES)
def test_keeping_every_head_changes_nothing(shape: str) -> None:
    old = layer(**SHAPES[shape])
    made = AlignedConversion(n_kv_heads=old.config.kv_heads).convert(old, causal_inputs())
    assert output_error(old, made, causal_inputs(seed=2)).output < 1e-12


def _maps(turned: bool, generator: torch.Generator) -> torch.Tensor:
    """A map of a head of six numbers: any rotation, or a rotation of each pair (i, i + 3) by itself."""
    if not turned:
        return torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    angle = torch.rand(3, generator=generator, dtype=torch.float64) * 6.28
    cosine, sine = torch.diag(angle.cos()), torch.diag(angle.sin())
    return torch.cat([torch.cat([cosine, -sine], dim=1), torch.cat([sine, cosine], dim=1)])


def _with_copies(turned: bool, *, of: dict[int, int], seed: int = 5) -> GroupedAttention:
    """A layer whose heads are rotated copies of others in key and value."""
    old = layer(bias=True, output_bias=True, **({"position": RotaryConfig()} if turned else {}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part, is_turned in ((old.key, turned), (old.value, False)):
            weight, bias = part.weight.unflatten(0, (4, 6)), part.bias.unflatten(0, (4, 6))
            for head, source in of.items():
                rotation = _maps(is_turned, generator)
                weight[head], bias[head] = rotation @ weight[source], rotation @ bias[source]
    return old


@pytest.mark.parametrize("turned", [False, True], ids=["no rope", "rope"])
def test_rotated_copies_are_merged_exactly_wherever_they_lie(turned: bool) -> None:
    old = _with_copies(turned, of={2: 0, 3: 1})
    made = AlignedConversion(n_kv_heads=2).convert(old, causal_inputs())
    assert made.heads == (0, 2, 1, 3)
    assert output_error(old, made, causal_inputs(seed=2)).output < 1e-6
    mean = PooledConversion(n_kv_heads=2).convert(old, ())
    assert output_error(old, mean, causal_inputs(seed=2)).output > 0.1


@pytest.mark.parametrize("turned", [False, True], ids=["no rope", "rope"])
def test_four_copies_make_one_head(turned: bool) -> None:
    old = _with_copies(turned, of={1: 0, 2: 0, 3: 0})
    made = AlignedConversion(n_kv_heads=1).convert(old, causal_inputs())
    error = output_error(old, made, causal_inputs(seed=2))
    assert error.output < 1e-6
    assert max(one for one in error.by_head if one is not None) < 1e-6


def test_a_map_that_mixes_pairs_of_a_turned_key_is_not_undone() -> None:
    old = _with_copies(True, of={1: 0, 2: 0, 3: 0})
    with torch.no_grad():
        rotation = _maps(False, torch.Generator().manual_seed(3))
        by_head = old.key.weight.unflatten(0, (4, 6))
        by_head[1] = rotation @ by_head[1]
    made = AlignedConversion(n_kv_heads=1).convert(old, causal_inputs())
    assert output_error(old, made, causal_inputs(seed=2)).output > 0.01


@pytest.mark.parametrize("shape", [name for name in SHAPES if "grouped" not in name])
@pytest.mark.parametrize("n_kv_heads", [1, 2])
def test_no_worse_than_the_mean(shape: str, n_kv_heads: int) -> None:
    old = layer(**SHAPES[shape])
    aligned = AlignedConversion(n_kv_heads=n_kv_heads).convert(old, causal_inputs())
    mean = PooledConversion(n_kv_heads=n_kv_heads).convert(old, ())
    held_out = causal_inputs(seed=2)
    assert output_error(old, aligned, held_out).output < output_error(old, mean, held_out).output


def test_padding_does_not_count() -> None:
    old = layer(bias=True)
    one = AlignedConversion(n_kv_heads=2).convert(old, padded_inputs())
    poisoned = padded_inputs()
    for seen in poisoned:
        seen.x[1, 7:] = 1e6
    other = AlignedConversion(n_kv_heads=2).convert(old, poisoned)
    for name, tensor in one.layer.state_dict().items():
        torch.testing.assert_close(other.layer.state_dict()[name], tensor)


@pytest.mark.parametrize(
    "settings",
    [{"sinks": True}, {"softcap": 3.0}, {"qk_norm_eps": 1e-6}, {"position": RelativeBiasConfig()}, {"position": AlibiConfig()}],
    ids=["sinks", "soft-cap", "QK norms", "relative bias", "ALiBi"],
)
def test_what_stands_beside_the_heads_goes_with_them(settings: dict) -> None:
    old = layer(bias=True, **settings)
    turned = _maps(False, torch.Generator().manual_seed(5))
    with torch.no_grad():
        for part in (old.key, old.value):
            weight, bias = part.weight.unflatten(0, (4, 6)), part.bias.unflatten(0, (4, 6))
            is_free = part is old.value or "qk_norm_eps" not in settings
            pairs = ((1, 0), (3, 2)) if isinstance(settings.get("position"), AlibiConfig) else ((2, 0), (3, 1))
            for head, source in pairs:
                rotation = turned if is_free else torch.eye(6, dtype=torch.float64)
                weight[head], bias[head] = rotation @ weight[source], rotation @ bias[source]
    made = AlignedConversion(n_kv_heads=2).convert(old, causal_inputs())
    assert output_error(old, made, causal_inputs(seed=2)).output < 1e-6


def test_without_calibration_it_is_refused() -> None:
    with pytest.raises(ConversionError, match="aligned pooling: found no calibration inputs"):
        AlignedConversion(n_kv_heads=2).convert(layer(), ())
