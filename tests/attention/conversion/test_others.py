"""Clusters and windows: exact where heads score alike, or nothing lies out of reach."""

import pytest
import torch

from attending.attention import RotaryConfig, WindowedConfig, causal, window
from attending.attention.conversion import ClusteredConversion, ConversionError, Seen, WindowedConversion, output_error
from tests.attention.conversion.layers import DIM, SHAPES, causal_inputs, layer, padded_inputs, tokens

_FREE = [name for name in SHAPES if "grouped" not in name]


@pytest.mark.parametrize("shape", SHAPES)
def test_as_many_clusters_as_heads_change_nothing(shape: str) -> None:
    old = layer(**SHAPES[shape])
    made = ClusteredConversion(n_clusters=4).convert(old, causal_inputs())
    assert output_error(old, made, (*causal_inputs(seed=2), *padded_inputs(seed=2))).output < 1e-13


@pytest.mark.parametrize("shape", _FREE)
@pytest.mark.parametrize("n_clusters", [2, None])
def test_heads_that_score_alike_share_a_row_exactly(shape: str, n_clusters: int | None) -> None:
    old = layer(**SHAPES[shape])
    with torch.no_grad():
        for part in (old.query, old.key):
            for values in (part.weight, part.bias) if part.bias is not None else (part.weight,):
                by_head = values.unflatten(0, (4, -1))
                by_head[2], by_head[3] = by_head[0], by_head[1]
    made = ClusteredConversion(n_clusters=n_clusters).convert(old, causal_inputs())
    assert made.layer.config.leaders == (0, 1, 0, 1)
    assert output_error(old, made, causal_inputs(seed=2)).output < 1e-13
    assert made.layer.config.remembered["key"][0] == 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_global", [0, 1])
def test_a_window_that_reaches_everything_changes_nothing(shape: str, n_global: int) -> None:
    old = layer(**SHAPES[shape])
    made = WindowedConversion(before=12, after=12, n_global=n_global).convert(old, causal_inputs())
    assert output_error(old, made, (*causal_inputs(seed=2), *padded_inputs(seed=2))).output < 1e-12


def test_a_window_is_the_old_layer_under_that_mask() -> None:
    old = layer(position=RotaryConfig())
    made = WindowedConversion(before=2, after=0).convert(old, ()).layer
    assert made.config == WindowedConfig(dim=DIM, n_heads=4, position=RotaryConfig(), before=2, after=0)
    x = tokens(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(made(x, mask=causal()), old(x, mask=causal() & window(2, 0)))


def test_a_window_over_a_context_is_refused_with_what_is_possible() -> None:
    seen = (Seen(x=tokens(2, 3), context=tokens(2, 5), mask=causal()),)
    with pytest.raises(ConversionError, match=r"looks at a context.*possible are gqa, mqa, mla and clustered"):
        WindowedConversion(before=2, after=2).convert(layer(), seen)


@pytest.mark.parametrize("n", [0, 5])
def test_a_number_of_clusters_beyond_the_heads_is_refused(n: int) -> None:
    with pytest.raises(ConversionError, match=f"clustered:{n}: found 4 heads; possible are 1 to"):
        ClusteredConversion(n_clusters=n).convert(layer(), causal_inputs())
