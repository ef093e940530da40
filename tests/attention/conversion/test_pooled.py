"""Mean pooling: exact where heads are equal, and the mean where they are not."""

import pytest
import torch

from attending.attention import GroupedConfig
from attending.attention.conversion import ConversionError, PooledConversion, output_error
from tests.attention.conversion.layers import SHAPES, causal_inputs, layer


@pytest.mark.parametrize("shape", SHAPES)
def test_keeping_every_head_changes_nothing(shape: str) -> None:
    old = layer(**SHAPES[shape])
    made = PooledConversion(n_kv_heads=old.config.kv_heads).convert(old, ())
    error = output_error(old, made, causal_inputs())
    assert error.output == 0.0
    assert all(one == 0.0 for one in error.by_head)


def test_equal_heads_are_pooled_exactly() -> None:
    old = layer(bias=True)
    with torch.no_grad():
        for part in (old.key, old.value):
            for values in (part.weight, part.bias):
                by_head = values.unflatten(0, (4, -1))
                by_head[1], by_head[3] = by_head[0], by_head[2]
    made = PooledConversion(n_kv_heads=2).convert(old, ())
    assert made.layer.config == GroupedConfig(dim=24, n_heads=4, n_kv_heads=2, bias=True)
    assert output_error(old, made, causal_inputs()).output < 1e-14


def test_the_key_of_a_group_is_the_mean_of_its_heads() -> None:
    old = layer()
    made = PooledConversion(n_kv_heads=1).convert(old, ())
    key = made.layer.get_parameter("key.weight")
    torch.testing.assert_close(key, old.key.weight.unflatten(0, (4, 6)).mean(dim=0))
    assert output_error(old, made, causal_inputs()).output > 0.1


def test_groups_of_unequal_size_are_refused_with_what_is_possible() -> None:
    with pytest.raises(ConversionError, match=r"gqa:3: found 4 KV heads.*possible are 1, 2, 4$"):
        PooledConversion(n_kv_heads=3).convert(layer(), ())
