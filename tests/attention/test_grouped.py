"""What is peculiar to grouped attention."""

from collections.abc import Sequence

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import (
    AlibiConfig,
    AttentionError,
    GroupedConfig,
    LearnedConfig,
    RotaryConfig,
    causal,
    everything,
    keep_keys,
)


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_all_kv_heads_is_torch_multihead_attention() -> None:
    module = GroupedConfig(dim=24, n_heads=4).build().double()
    peer = torch.nn.MultiheadAttention(24, 4, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.cat([module.query.weight, module.key.weight, module.value.weight]))
        peer.out_proj.weight.copy_(module.output.weight)
    x = tokens(2, 7, 24)
    hidden = torch.ones(7, 7, dtype=torch.bool).triu(1)
    expected, weights = peer(x, x, x, attn_mask=hidden, average_attn_weights=False)
    torch.testing.assert_close(module(x, mask=causal()), expected)
    torch.testing.assert_close(module.weights(x, mask=causal()), weights)


def test_a_hidden_key_has_no_influence_bit_for_bit() -> None:
    module = GroupedConfig(dim=32, n_heads=4, n_kv_heads=2).build()
    x = tokens(3, 9, 32).float()
    kept = torch.rand(3, 9, generator=torch.Generator().manual_seed(1)) > 0.4
    kept[2] = False
    poisoned = torch.where(kept[..., None], x, torch.nan)
    before, after = module(x, mask=keep_keys(kept)), module(poisoned, mask=keep_keys(kept))
    assert torch.equal(before, after)
    assert torch.equal(after[2], torch.zeros(9, 32))


def test_cross_attention_reads_the_context() -> None:
    module = GroupedConfig(dim=16, n_heads=2, context_dim=10).build().double()
    x, context = tokens(2, 3, 16), tokens(2, 5, 10, seed=1)
    weights = module.weights(x, mask=everything(), context=context)
    assert weights.shape == (2, 2, 3, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 3, dtype=torch.float64))
    assert module(x, mask=everything(), context=context).shape == (2, 3, 16)


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(AttentionError, match=r"n_kv_heads: found 3 for 4 heads.*\[1, 2, 4\]"):
        GroupedConfig(dim=32, n_heads=4, n_kv_heads=3)
    with pytest.raises(AttentionError, match="n_heads: found 5 for dim=32"):
        GroupedConfig(dim=32, n_heads=5)


@pytest.mark.parametrize("rows", [[4, 0, 4, -1], [6], []])
@pytest.mark.parametrize("position", [None, RotaryConfig(), AlibiConfig(), LearnedConfig(length=40)], ids=str)
def test_rows_keep_their_own_places_bias_and_holes(position, rows: Sequence[int]) -> None:
    module = GroupedConfig(dim=32, n_heads=4, n_kv_heads=2, position=position, sinks=True, qk_norm_eps=1e-6).build().double()
    x, bias = tokens(2, 7, 32), tokens(2, 4, 7, 7, seed=1)
    places = torch.tensor([[3, 1, 4, 15, 9, 2, 6], [0, 1, 2, 3, 4, 5, 6]])
    kept = torch.tensor([[1, 0, 1, 1, 0, 1, 1], [1] * 7], dtype=torch.bool)
    for given in ({"positions": places, "bias": bias}, {"bias": bias}):
        whole = module.weights(x, mask=causal() & keep_keys(kept), **given)
        torch.testing.assert_close(module.weights(x, mask=causal() & keep_keys(kept), rows=rows, **given), whole[:, :, rows])


def test_rows_over_a_context_are_those_of_all() -> None:
    module = GroupedConfig(dim=32, n_heads=4, context_dim=10, position=RotaryConfig()).build().double()
    x, context, bias = tokens(2, 5, 32), tokens(2, 9, 10, seed=1), tokens(1, 4, 5, 9, seed=2)
    whole = module.weights(x, mask=everything(), context=context, bias=bias)
    rows = module.weights(x, mask=everything(), context=context, bias=bias, rows=[3, -5])
    torch.testing.assert_close(rows, whole[:, :, [3, 0]])


def test_only_the_rows_looked_at_are_projected_to_queries() -> None:
    module, x = GroupedConfig(dim=32, n_heads=4, n_kv_heads=2).build(), tokens(1, 50, 32).float()
    with FlopCounterMode(display=False) as counter:
        module.weights(x, mask=causal(), rows=[7, 3, 49])
    projected = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    assert projected == 2 * 32 * (3 * 32 + 50 * 16)
