"""What is peculiar to indexed attention: picking, gathering, ties, and teaching the indexer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.attention import (
    AttentionError,
    IndexedAttention,
    IndexedConfig,
    LatentConfig,
    Mask,
    blocks,
    causal,
    keep,
    window,
)
from attending.attention.picking import first_of_equals
from tests.attention.examples import LATENT, tokens


def module_of(top_k: int, **changes) -> IndexedAttention:
    torch.manual_seed(0)
    settings = {"dim": 24, "n_heads": 4, "index_heads": 4, "index_dim": 6, **LATENT, **changes}
    return IndexedConfig(top_k=top_k, **settings).build().double()


@given(top_k=st.integers(11, 40))
@settings(max_examples=5, deadline=None)
def test_picking_all_is_dense_latent_attention(top_k: int) -> None:
    module, x = module_of(top_k), tokens(2, 11, 24)
    dense = LatentConfig(dim=24, n_heads=4, **LATENT).build().double()
    dense.projections.load_state_dict(module.projections.state_dict())
    torch.testing.assert_close(module(x, mask=causal()), dense(x, mask=causal()), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("top_k", [1, 3, 8])
@pytest.mark.parametrize("with_bias", [False, True])
def test_gathering_gives_what_hiding_the_others_gives(top_k: int, with_bias: bool) -> None:
    # Heads wider than the latent make gathering the cheaper form already at these lengths.
    module, x = module_of(top_k, nope_dim=40, value_dim=40), tokens(2, 40, 24)
    bias = tokens(1, 4, 40, 40, seed=2) if with_bias else None
    assert module.config.gathers(40, 40)
    hidden = module(x, mask=causal(), bias=bias)
    with torch.no_grad():
        gathered = module(x, mask=causal(), bias=bias)
    torch.testing.assert_close(gathered, hidden, rtol=1e-10, atol=1e-11)
    assert (module.weights(x, mask=causal()) > 0).sum(-1).amax() == top_k
    assert "gathered" in {choice.core for choice in module.explain(x, mask=causal())}


@pytest.mark.parametrize("mask", [causal(), causal() & window(9, 0), window(6, 3)], ids=["causal", "causal window", "window"])
def test_gathering_a_few_rows_at_a_time_changes_nothing(mask: Mask, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = module_of(4, nope_dim=40, value_dim=40), tokens(2, 40, 24)
    hidden = module(x, mask=mask)
    monkeypatch.setattr("attending.attention.picking._HELD_AT_ONCE", 2000)
    with torch.no_grad():
        torch.testing.assert_close(module(x, mask=mask), hidden, rtol=1e-10, atol=1e-11)


@torch.no_grad()
def test_index_scores_worked_out_pair_by_pair() -> None:
    module, x = module_of(3), tokens(1, 5, 24)
    asked, held, _ = module._lowered(x, mask=causal(), context=None, positions=None, bias=None)
    index, keys = module._index(asked), held["index_key"][0, 0]
    found = module.indexer.scores(index, held["index_key"])[0]
    for query in range(5):
        for key in range(5):
            dots = [float(index.heads[0, head, query] @ keys[key]) * 6**-0.5 for head in range(4)]
            shares = [float(x[0, query] @ module.indexer.share.weight[head]) * 4**-0.5 for head in range(4)]
            expected = sum(share * max(dot, 0.0) for share, dot in zip(shares, dots, strict=True))
            assert float(found[query, key]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_cache_holds_latents_and_index_keys_and_reads_the_picked() -> None:
    module, x = module_of(3), tokens(2, 30, 24)
    cache = module.new_cache(2, mask=causal())
    parts = [cache.extend(part) for part in x.split([20, 1, 1, 8], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), module(x, mask=causal()), rtol=1e-10, atol=1e-11)
    assert cache.nbytes_used == 2 * 30 * (8 + 4 + 6) * 8


def test_of_equal_scores_the_earlier_place_wins() -> None:
    scores = torch.tensor([[[1.0, 3.0, 1.0, 1.0, 0.0]]])
    assert first_of_equals(scores, torch.arange(5)[None], 3).tolist() == [[[1, 0, 2]]]
    assert first_of_equals(scores, torch.tensor([[9, 8, 2, 1, 0]]), 3).tolist() == [[[1, 3, 2]]]


def test_an_indexer_that_scores_everything_alike_reads_the_first_keys() -> None:
    module, x = module_of(3), tokens(1, 9, 24)
    with torch.no_grad():
        module.indexer.share.weight.zero_()
    seen = module.weights(x, mask=causal())[0, 0] > 0
    assert torch.equal(seen, torch.arange(9)[None] < torch.arange(1, 10).clamp(max=3)[:, None])


def test_the_auxiliary_loss_teaches_the_indexer_and_nothing_else() -> None:
    module, x = module_of(40).float(), tokens(4, 16, 24, dtype=torch.float32)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    first = module.auxiliary_loss(x, mask=causal()).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = module.auxiliary_loss(x, mask=causal())
        loss.backward()
        assert all(p.grad is None for p in module.projections.parameters())
        optimizer.step()
    assert loss.item() < 0.5 * first
    assert first > 0


def test_the_auxiliary_loss_is_the_divergence_worked_out() -> None:
    module, x = module_of(4), tokens(2, 9, 24)
    weights = module.weights(x, mask=causal())
    looked = weights.sum(1) / weights.sum(1).sum(-1, keepdim=True)
    asked, held, _ = module._lowered(x, mask=causal(), context=None, positions=None, bias=None)
    scores = module.indexer.scores(module._index(asked), held["index_key"])
    guess = scores.masked_fill(weights[:, 0] == 0, -torch.inf).softmax(-1)
    expected = torch.where(looked > 0, looked * (looked / guess).log(), 0.0).sum(-1).mean()
    torch.testing.assert_close(module.auxiliary_loss(x, mask=causal()), expected)


def test_picking_has_no_gradient_in_the_forward_pass() -> None:
    module = module_of(3)
    module(tokens(2, 9, 24), mask=causal()).square().sum().backward()
    assert all(p.grad is None for p in module.indexer.parameters())
    assert all(p.grad is not None for p in module.projections.parameters())


def test_a_row_that_sees_nothing_picks_nothing() -> None:
    module, x = module_of(3, nope_dim=40, value_dim=40), tokens(1, 40, 24)
    pairs = torch.ones(40, 40, dtype=torch.bool)
    pairs[7] = False
    with torch.no_grad():
        output = module(x, mask=keep(pairs))
    assert torch.equal(output[:, 7], torch.zeros(1, 24, dtype=torch.float64))


def test_masks_that_differ_by_head_are_refused() -> None:
    layout = torch.ones(4, 2, 2, dtype=torch.bool)
    with pytest.raises(AttentionError, match="a mask for 4 heads"):
        module_of(3)(tokens(1, 8, 24), mask=blocks(layout, size=4))
    with pytest.raises(AttentionError, match="top_k=0"):
        module_of(0)
    with pytest.raises(AttentionError, match="index_dim: found 2"):
        module_of(3, index_dim=2)
