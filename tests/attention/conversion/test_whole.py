"""A model of several layers: watched, converted in place, priced, within three times its bytes."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from attending.attention import GroupedConfig, LatentConfig, RotaryConfig, causal, name_of
from attending.attention.conversion import (
    AlignedConversion,
    ConversionError,
    LatentConversion,
    PooledConversion,
    Seen,
    WindowedConversion,
    convert_layers,
    convertible,
    output_error,
    refit_output,
    watch,
)
from tests.attention.conversion.layers import DIM, causal_inputs, layer, tokens
from tests.attention.examples import EXAMPLES


class _Model(nn.Module):
    """Two layers of self-attention, and one that looks back at the input."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(layer(seed=n, position=RotaryConfig()) for n in range(2))
        self.readout = layer(seed=2, bias=True, output_bias=True)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for block in self.blocks:
            y = y + block(y, mask=causal())
        return self.readout(y[:, -2:], mask=causal(), context=x)


def _convert(model: _Model, conversion, **asked):
    def run(seed: int):
        return lambda: [model(tokens(4, 12, seed=seed + n)) for n in range(3)]

    return convert_layers(model, conversion, fit=run(1), held_out=run(50), **asked)


def test_watching_sees_every_call_as_it_was() -> None:
    model, x = _Model(), tokens(2, 12)
    before = model(x)
    seen = watch(convertible(model), lambda: model(x))
    assert list(seen) == ["blocks.0", "blocks.1", "readout"]
    torch.testing.assert_close(seen["blocks.0"][0].x, x)
    assert seen["readout"][0].context is x
    torch.testing.assert_close(seen["readout"][0].answered_by(model.readout), before)


@pytest.mark.parametrize("conversion", [LatentConversion(), PooledConversion(n_kv_heads=4), AlignedConversion(n_kv_heads=4)])
def test_at_full_size_the_model_answers_the_same(conversion) -> None:
    model, x = _Model(), tokens(3, 12, seed=9)
    before = model(x)
    receipt = _convert(model, conversion, refits=True)
    torch.testing.assert_close(model(x), before, rtol=1e-8, atol=1e-8)
    assert [one.name for one in receipt.layers] == ["blocks.0", "blocks.1", "readout"]
    assert max(one.error.output for one in receipt.layers) < 1e-8


def test_bytes_are_foretold_to_the_byte() -> None:
    model = _Model()
    for one in _convert(model, AlignedConversion(n_kv_heads=1)).layers:
        assert one.price_before.cache_foretold == one.price_before.cache_measured == 12 * 2 * DIM * 8
        assert one.price_after.cache_foretold == one.price_after.cache_measured == 12 * 2 * DIM * 8 // 4


def test_layers_that_cannot_become_it_stay_and_are_named() -> None:
    model = _Model()
    old = model.readout
    receipt = _convert(model, WindowedConversion(before=3, after=0))
    assert [one.name for one in receipt.layers] == ["blocks.0", "blocks.1"]
    assert list(receipt.left) == ["readout"]
    assert "looks at a context" in receipt.left["readout"]
    assert model.readout is old


def test_a_refusal_leaves_the_model_as_it_was() -> None:
    model = _Model()
    layers = convertible(model)
    with pytest.raises(ConversionError, match=r"blocks.0: gqa:3"):
        _convert(model, AlignedConversion(n_kv_heads=3))
    with pytest.raises(ConversionError, match="readout: window"):
        _convert(model, WindowedConversion(before=3, after=0), only=["readout"])
    with pytest.raises(ConversionError, match=r"nowhere: no layer of this name.*possible are blocks.0, blocks.1, readout"):
        _convert(model, LatentConversion(), only=["nowhere"])
    assert convertible(model) == layers


def test_a_model_without_keys_by_head_is_refused_with_what_is_possible() -> None:
    model = nn.Sequential(LatentConfig(dim=8, n_heads=2, latent_dim=4, rope_dim=2, nope_dim=2, value_dim=4).build())
    with pytest.raises(ConversionError, match=r"found latent attention.*possible sources are multi-head and grouped-query"):
        convert_layers(model, LatentConversion(), fit=None, held_out=lambda: None)
    with pytest.raises(ConversionError, match="found no multi-head or grouped-query attention in the model"):
        convert_layers(nn.Linear(2, 2), LatentConversion(), fit=None, held_out=lambda: None)


@pytest.mark.parametrize("name", [name for name, one in EXAMPLES.items() if not isinstance(one.config, GroupedConfig)])
def test_what_has_no_keys_by_head_is_refused_by_its_name_in_the_catalog(name: str) -> None:
    config = EXAMPLES[name].config
    with pytest.raises(ConversionError, match=f"found {name_of(config)} attention"):
        convert_layers(nn.ModuleList([config.build()]), PooledConversion(n_kv_heads=1), fit=None, held_out=lambda: None)


def test_the_budget_is_common_to_all_layers() -> None:
    model = _Model()
    receipt = _convert(model, LatentConversion(latent_dim=16))
    held = [one.after.remembered["latent"][1] for one in receipt.layers]
    assert sum(held) == 3 * 16
    assert len(set(held)) > 1


def test_refitting_helps_and_never_hurts_much() -> None:
    old = layer(bias=True, output_bias=True)
    fit, held_out = causal_inputs(n=20), causal_inputs(seed=2)
    made = PooledConversion(n_kv_heads=1).convert(old, ())
    before = output_error(old, made, held_out).output
    refit_output(old, made, fit)
    assert output_error(old, made, held_out).output < 0.8 * before


@pytest.mark.parametrize("to", [AlignedConversion(n_kv_heads=2), LatentConversion(latent_dim=4)])
def test_one_sample_is_too_little_to_refit_and_changes_nothing(to) -> None:
    old, one = layer(bias=True, output_bias=True), Seen(x=tokens(1, 12), mask=causal())
    made = to.convert(old, (one,))
    before = {name: tensor.clone() for name, tensor in made.layer.state_dict().items()}
    refit_output(old, made, (one,))
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.layer.state_dict().items())


def test_a_refit_on_too_little_changes_nothing_for_the_worse() -> None:
    old = layer(bias=True, output_bias=True)
    made = AlignedConversion(n_kv_heads=2).convert(old, causal_inputs(n=20))
    held_out = causal_inputs(seed=2)
    before = output_error(old, made, held_out).output
    refit_output(old, made, (causal_inputs(seed=3, n=1)[0],))
    assert output_error(old, made, held_out).output < 1.05 * before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc: run it on Linux")
@pytest.mark.parametrize("to", ["mla:latent=64", pytest.param("gqa:2", marks=pytest.mark.long)])
def test_converting_peaks_under_three_times_the_model(to: str) -> None:
    command = [sys.executable, "-m", "benchmarks.conversion_peak", "--to", to]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(told.stdout) < 3.0
