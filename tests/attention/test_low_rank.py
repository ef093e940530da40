"""What is peculiar to low rank over the sequence."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import (
    AttentionError,
    GroupedConfig,
    LowRankConfig,
    causal,
    documents,
    everything,
    keep_keys,
    padding,
    window,
)
from attending.attention.low_rank import SHARINGS
from tests.attention import references
from tests.attention.examples import tokens


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 12), sharing=st.sampled_from(SHARINGS), crosses=st.booleans())
def test_full_rank_with_identity_is_multi_head_attention(length: int, sharing: str, crosses: bool) -> None:
    module = LowRankConfig(dim=16, n_heads=2, length=length, rank=length, sharing=sharing, bias=True).build().double()
    plain = GroupedConfig(dim=16, n_heads=2, bias=True).build().double()
    plain.load_state_dict({name: value for name, value in module.state_dict().items() if "projection" not in name})
    with torch.no_grad():
        for parameter in module.projection.parameters():
            parameter.copy_(torch.eye(length))
    x, context = tokens(2, 7 if crosses else length, 16), tokens(2, length, 16, seed=1) if crosses else None
    torch.testing.assert_close(module(x, mask=everything(), context=context), plain(x, mask=everything(), context=context))
    torch.testing.assert_close(
        module.weights(x, mask=everything(), context=context), plain.weights(x, mask=everything(), context=context)
    )


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("rank", [2, 25])
def test_every_sharing_is_the_formula_however_it_is_multiplied(sharing: str, rank: int) -> None:
    """Few slots go tokens first, many heads first; both must be softmax(Q(EK)ᵀ/√d)(FV)."""
    config = LowRankConfig(dim=24, n_heads=4, length=30, rank=rank, sharing=sharing, bias=True, output_bias=True)
    torch.manual_seed(0)
    module, x = config.build().double(), tokens(3, 11, 24)
    kept = torch.rand(3, 11, generator=torch.Generator().manual_seed(1)) > 0.4
    kept[2] = False
    expected, weights = references.low_rank(
        module, torch.where(kept[..., None], x, 0.0), kept[:, None, None].expand(3, 4, 11, 11)
    )
    torch.testing.assert_close(module(x, mask=keep_keys(kept)), expected)
    torch.testing.assert_close(module.weights(x, mask=keep_keys(kept)), weights)


def test_both_orders_of_multiplication_are_tested() -> None:
    few, many = (LowRankConfig(dim=24, n_heads=4, length=30, rank=rank).slot_products(11) for rank in (2, 25))
    assert few[1] < few[0]
    assert many[0] <= many[1]


def test_weights_say_exactly_what_is_taken_from_each_token() -> None:
    torch.manual_seed(0)
    module, x = LowRankConfig(dim=16, n_heads=2, length=9, rank=3).build().double(), tokens(2, 7, 16)
    mask = padding(torch.tensor([7, 4]))
    values = module.value(x).unflatten(-1, (2, 8)).transpose(1, 2)
    heads = module.weights(x, mask=mask) @ values
    expected = module(x, mask=mask)
    # A padded query asks nothing: its row is that of a query of 0.
    rows = torch.arange(7) < torch.tensor([[7], [4]])
    torch.testing.assert_close(module.output(heads.transpose(1, 2).flatten(2))[rows], expected[rows])
    assert bool((module.weights(x, mask=mask) < 0).any())


def test_sharing_is_what_it_says() -> None:
    def layer(sharing: str):
        return LowRankConfig(dim=16, n_heads=4, length=10, rank=3, sharing=sharing).build().projection

    sizes = {sharing: sum(p.numel() for p in layer(sharing).parameters()) for sharing in SHARINGS}
    assert sizes == {"none": 8 * 30, "heads": 2 * 30, "values": 30, "layers": 30}
    first, second = LowRankConfig(dim=16, n_heads=4, length=10, rank=3, sharing="layers").stack(2)
    assert first.projection is second.projection
    assert first.query is not second.query
    first, second = LowRankConfig(dim=16, n_heads=4, length=10, rank=3, sharing="values").stack(2)
    assert first.projection is not second.projection


def test_cost_is_linear_in_length_and_counted() -> None:
    for sharing in SHARINGS:
        config, counted = LowRankConfig(dim=16, n_heads=2, length=4096, rank=32, sharing=sharing), []
        for length in (1024, 2048, 4096):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                config.build()(tokens(1, length, 16, dtype=torch.float32), mask=everything())
            counted.append(counter.get_total_flops())
            assert abs(counted[-1] - config.cost(length).flops) <= 0.01 * counted[-1]
        assert counted[2] < 2.01 * counted[1]


def test_a_context_is_held_in_slots_whatever_its_length() -> None:
    module = LowRankConfig(dim=16, n_heads=2, length=64, rank=4).build()
    held = []
    for length in (3, 10, 64):
        cache = module.new_cache(2, mask=everything(), context=torch.zeros(2, length, 16))
        held.append(cache.nbytes_used)
    assert held == [2 * 2 * 4 * 16 * 4] * 3
    assert held[0] == module.config.cost(64, batch=2, phase="decode").cache.used


def test_what_has_no_meaning_is_refused_with_what_to_write() -> None:
    module, x = LowRankConfig(dim=16, n_heads=2, length=8, rank=3).build(), torch.zeros(1, 5, 16)
    for mask, name in (
        (causal(), "causal"),
        (window(1, 1), "window"),
        (documents(torch.zeros(1, 5, dtype=torch.long)), "documents"),
    ):
        for verb in (module, module.weights):
            with pytest.raises(AttentionError, match=rf"the rule {name}, .* write everything\(\), padding\(…\) or keep_keys"):
                verb(x, mask=mask)
    with pytest.raises(
        AttentionError, match="found 9 keys, and its projections are made for 8; build it with length=9 or more"
    ):
        module(torch.zeros(1, 9, 16), mask=everything())
    with pytest.raises(AttentionError, match="found 9 keys"):
        module(x, mask=everything(), context=torch.zeros(1, 9, 16))
    with pytest.raises(AttentionError, match="found 9 keys"):
        module.new_cache(1, mask=everything(), context=torch.zeros(1, 9, 16))
    with pytest.raises(AttentionError, match="cannot go token by token"):
        module.new_cache(1, mask=everything())
    with pytest.raises(AttentionError, match="found a bias over single keys"):
        module(x, mask=everything(), bias=torch.zeros(1, 1, 1, 1))
    with pytest.raises(AttentionError, match="found 9 slots for length=8, expected 1 to 8"):
        LowRankConfig(dim=16, n_heads=2, length=8, rank=9)
    with pytest.raises(AttentionError, match="found 'all', expected one of none, heads, values, layers"):
        LowRankConfig(dim=16, n_heads=2, length=8, rank=2, sharing="all")
