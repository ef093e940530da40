"""What is peculiar to clustered heads, and how clusters are found."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import (
    AlibiConfig,
    AttentionError,
    ClusteredConfig,
    GroupedConfig,
    RotaryConfig,
    causal,
    everything,
    find_clusters,
    group_heads,
    keep,
    padding,
)
from attending.attention.clusters import leaders_of
from tests.attention.examples import tokens


def grouped(n_heads: int = 4, *, n_kv_heads: int | None = None, position: RotaryConfig | None = None, seed: int = 0):
    torch.manual_seed(seed)
    module = GroupedConfig(dim=8 * n_heads, n_heads=n_heads, n_kv_heads=n_kv_heads, position=position).build().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


def clustered_from(plain, **settings):
    config = ClusteredConfig(
        dim=plain.config.dim,
        n_heads=plain.config.n_heads,
        n_kv_heads=plain.config.n_kv_heads,
        position=plain.config.position,
        **settings,
    )
    module = config.build().double()
    module.load_state_dict(config.weights_from(plain.state_dict()))
    return module


@settings(max_examples=12, deadline=None)
@given(
    length=st.integers(1, 12), kv=st.sampled_from([4, 2, 1]), position=st.sampled_from([None, RotaryConfig(), AlibiConfig()])
)
def test_as_many_clusters_as_heads_is_grouped_attention(length: int, kv: int, position: RotaryConfig | None) -> None:
    plain, x = grouped(n_kv_heads=kv, position=position), tokens(2, length, 32)
    for leaders in ((0, 1, 2, 3), None):
        module = clustered_from(plain, n_clusters=4, leaders=leaders)
        torch.testing.assert_close(module(x, mask=causal()), plain(x, mask=causal()))
        torch.testing.assert_close(module.weights(x, mask=causal()), plain.weights(x, mask=causal()))


def test_every_head_uses_its_leaders_scores_and_its_own_values() -> None:
    plain, x = grouped(), tokens(2, 7, 32)
    leaders = (2, 1, 2, 1)
    module = clustered_from(plain, n_clusters=2, leaders=leaders)
    maps = plain.weights(x, mask=everything())[:, list(leaders)]
    torch.testing.assert_close(module.weights(x, mask=everything()), maps)
    values = plain.value(x).unflatten(-1, (4, 8)).transpose(1, 2)
    torch.testing.assert_close(module(x, mask=everything()), plain.output((maps @ values).transpose(1, 2).flatten(2)))


def test_heads_with_equal_scores_lose_nothing() -> None:
    plain, x = grouped(), tokens(2, 9, 32)
    with torch.no_grad():
        for layer in (plain.query, plain.key):
            heads = layer.weight.unflatten(0, (4, 8))
            heads[2:] = heads[:2].clone()
    expected = plain(x, mask=causal())
    torch.testing.assert_close(clustered_from(plain, n_clusters=2, leaders=(0, 1, 0, 1))(x, mask=causal()), expected)
    torch.testing.assert_close(clustered_from(plain, n_clusters=2)(x, mask=causal()), expected)
    found = find_clusters([plain.weights(x, mask=causal())], least_bend=0.0)
    assert found.leaders[2:] == found.leaders[:2]


def test_the_first_five_tokens_use_all_heads_and_later_ones_do_not() -> None:
    plain, x = grouped(), tokens(2, 9, 32)
    module = clustered_from(plain, n_clusters=1)
    far = (module(x, mask=causal()) - plain(x, mask=causal())).abs().amax(-1) > 1e-6
    assert far.tolist() == [[False] * 5 + [True] * 4] * 2
    padded = torch.cat([torch.zeros(2, 3, 32, dtype=x.dtype), x], 1)
    real = torch.arange(12) >= 3
    cache = module.new_cache(2, mask=causal())
    torch.testing.assert_close(cache.extend(padded, real=real.expand(2, -1))[:, 3:], module(x, mask=causal()))


def test_each_sample_has_clusters_of_its_own() -> None:
    plain, x = grouped(6, seed=1), tokens(8, 12, 48)
    module = clustered_from(plain, n_clusters=2)
    same = module.weights(x, mask=causal())[:, :, -1]
    patterns = {tuple((sample[:, None] == sample).all(-1).flatten().tolist()) for sample in same}
    assert len(patterns) > 1
    alone = torch.cat([module(one[None], mask=causal()) for one in x])
    torch.testing.assert_close(module(x, mask=causal()), alone)


@pytest.mark.parametrize("n_clusters", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keys_saved_are_half_of_one_less_clusters_over_heads_to_the_byte(n_clusters: int, dtype: str) -> None:
    plain = GroupedConfig(dim=64, n_heads=8)
    leaders = tuple(head % n_clusters for head in range(8))
    for own in (leaders, None):
        config = ClusteredConfig(dim=64, n_heads=8, n_clusters=n_clusters, leaders=own)
        caches = [one.build().new_cache(3, mask=causal(), dtype=getattr(torch, dtype)) for one in (plain, config)]
        for cache in caches:
            cache.extend(tokens(3, 50, 64, dtype=torch.float32))
        tables = 0 if own is not None else config.cost(50, batch=3, phase="decode").cache.tables
        for held in ("nbytes_used", "nbytes_allocated"):
            whole, kept = (getattr(cache, held) for cache in caches)
            assert 16 * (whole - (kept - tables)) == whole * (8 - n_clusters)


def test_full_keys_are_held_until_clusters_are_fixed_and_then_dropped() -> None:
    config = ClusteredConfig(dim=64, n_heads=8, n_clusters=2)
    cache, one_head = config.build().new_cache(1, mask=causal()), 8 * 4
    held = []
    for step in range(7):
        cache.extend(tokens(1, 1, 64, seed=step, dtype=torch.float32))
        held.append(cache.nbytes_used)
    maps, tables = 8 * 25 * 4, (2 + 8 + 2 + 2) * 8
    assert held[:4] == [n * 16 * one_head + maps for n in range(1, 5)]
    assert held[4:] == [n * 10 * one_head + tables for n in range(5, 8)]


def test_each_sample_drops_its_full_keys_when_its_own_clusters_are_fixed() -> None:
    module = ClusteredConfig(dim=64, n_heads=8, n_clusters=2).build()
    cache, one_head = module.new_cache(2, mask=causal()), 8 * 4
    cache.extend(tokens(2, 6, 64, dtype=torch.float32), real=torch.arange(6) < torch.tensor([[6], [3]]))
    maps, tables = 2 * 8 * 25 * 4, 2 * (2 + 8 + 2 + 2) * 8
    assert cache.nbytes_used == (6 * 10 + 3 * 16) * one_head + maps + tables
    cache.extend(tokens(2, 2, 64, dtype=torch.float32))
    assert cache.nbytes_used == (8 * 10 + 5 * 10) * one_head + tables


def test_a_key_head_is_kept_only_if_a_representative_reads_it() -> None:
    config = ClusteredConfig(dim=64, n_heads=8, n_kv_heads=4, n_clusters=3, leaders=(0, 1, 0, 1, 1, 5, 5, 5))
    assert config.key_heads == (0, 2)
    assert config.remembered == {"key": (2, 8), "value": (4, 8)}
    module = config.build()
    assert module.key.weight.shape[0] == 2 * 8
    assert module.query.weight.shape[0] == 3 * 8


def test_only_representatives_queries_meet_keys() -> None:
    leaders = (0, 0, 0, 0, 4, 4, 4, 4)
    module, plain = (
        ClusteredConfig(dim=64, n_heads=8, n_clusters=2, leaders=leaders).build(),
        GroupedConfig(dim=64, n_heads=8).build(),
    )
    caches = [one.new_cache(1, mask=causal()) for one in (module, plain)]
    counted = []
    for cache in caches:
        cache.extend(tokens(1, 100, 64, dtype=torch.float32))
        with FlopCounterMode(display=False) as counter:
            cache.extend(tokens(1, 1, 64, dtype=torch.float32))
        counted.append(counter.get_flop_counts()["Global"][torch.ops.aten.bmm])
    assert counted == [2 * 101 * 8 * (2 + 8), 2 * 101 * 8 * (8 + 8)]


@pytest.mark.parametrize("leaders", [(0, 0, 2, 2), None])
def test_long_sequences_go_a_few_rows_at_a_time_with_the_same_gradients(leaders: tuple[int, ...] | None) -> None:
    plain = grouped()
    module, x = clustered_from(plain, n_clusters=2, leaders=leaders), tokens(2, 600, 32).requires_grad_()
    mask = causal() & padding(torch.tensor([600, 400]))
    exists = (torch.arange(600) < torch.tensor([[600], [400]]))[..., None]
    values = module.value(torch.where(exists, x, 0.0)).unflatten(-1, (4, 8)).transpose(1, 2)
    expected = module.output((module.weights(x, mask=mask) @ values).transpose(1, 2).flatten(2))
    found, probe = module(x, mask=mask), tokens(2, 600, 32, seed=3) * exists
    torch.testing.assert_close(found * exists, expected * exists)
    gradients = [torch.autograd.grad((output * probe).sum(), x)[0] for output in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-9)


def test_a_cache_cannot_go_back_to_before_its_clusters_and_says_so() -> None:
    module, x = clustered_from(grouped(), n_clusters=2), tokens(2, 9, 32)
    cache = module.new_cache(2, mask=causal())
    cache.extend(x[:, :7])
    with pytest.raises(AttentionError, match="sample 1 to 4 tokens needs the full keys of its first 5"):
        cache.crop(torch.tensor([6, 4]))
    assert cache.lengths.tolist() == [7, 7]
    cache.crop(torch.tensor([6, 0]))
    again = cache.extend(x[:, :6])
    torch.testing.assert_close(again[1], module(x[1:, :6], mask=causal())[0])
    torch.testing.assert_close(again[0], module(torch.cat([x[:1, :6], x[:1, :6]], 1), mask=causal())[0, 6:])


@settings(max_examples=12, deadline=None)
@given(kv=st.sampled_from([4, 2, 1]), cuts=st.lists(st.integers(1, 4), min_size=3, max_size=6), bias=st.booleans())
def test_a_single_sample_steps_as_its_full_forward(kv: int, cuts: list[int], bias: bool) -> None:
    torch.manual_seed(kv)
    config = ClusteredConfig(dim=32, n_heads=4, n_kv_heads=kv, n_clusters=2, observe=3, bias=bias, position=RotaryConfig())
    module, x = config.build().double(), tokens(1, sum(cuts), 32)
    cache = module.new_cache(1, mask=causal())
    torch.testing.assert_close(torch.cat([cache.extend(part) for part in x.split(cuts, 1)], 1), module(x, mask=causal()))


def test_a_sample_chosen_from_others_or_begun_anew_uses_its_own_clusters() -> None:
    module, x = clustered_from(grouped(6, seed=1), n_clusters=2), tokens(8, 12, 48)
    steps, one = module.new_cache(1, mask=causal()), module.new_cache(8, mask=causal())
    one.extend(x[:, :7])
    for sample in range(8):
        expected = module(x[sample : sample + 1], mask=causal())
        torch.testing.assert_close(steps.extend(x[sample : sample + 1, :7]), expected[:, :7])
        torch.testing.assert_close(steps.extend(x[sample : sample + 1, 7:]), expected[:, 7:])
        steps.crop(0)
    one.select(torch.tensor([5]))
    torch.testing.assert_close(one.extend(x[5:6, 7:9]), module(x[5:6, :9], mask=causal())[:, 7:])
    one.select(torch.tensor([0]))
    torch.testing.assert_close(one.extend(x[5:6, 9:]), module(x[5:6], mask=causal())[:, 9:])


@pytest.mark.parametrize("kv", [8, 4])
def test_a_single_sample_projects_only_the_heads_that_are_read(kv: int) -> None:
    config = ClusteredConfig(dim=64, n_heads=8, n_kv_heads=kv, n_clusters=2)
    counted = {}
    for batch in (1, 2):
        cache = config.build().new_cache(batch, mask=causal())
        cache.extend(tokens(batch, 9, 64, dtype=torch.float32))
        with FlopCounterMode(display=False) as counter:
            cache.extend(tokens(batch, 1, 64, dtype=torch.float32))
        counted[batch] = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    values_and_output = kv * 8 + 64
    assert counted[1] == 2 * 64 * (2 * 8 + 2 * 8 + values_and_output)
    assert counted[2] == 2 * 2 * 64 * (64 + kv * 8 + values_and_output)


def test_what_has_no_meaning_is_refused_with_what_to_write() -> None:
    x = torch.zeros(1, 4, 32)
    own = ClusteredConfig(dim=32, n_heads=4, n_clusters=2).build()
    with pytest.raises(AttentionError, match=r"write mask=causal\(\) & …, or find them offline"):
        own(x, mask=everything())
    with pytest.raises(AttentionError, match=r"serve causal self-attention only; find them offline, find_clusters\(maps\)"):
        own(x, mask=causal(), context=x)
    with pytest.raises(AttentionError, match="keep that differs by head"):
        own(x, mask=causal() & keep(torch.ones(1, 4, 4, 4, dtype=torch.bool)))
    for leaders, n_clusters, said in (
        ((0, 0, 2), 2, "one head, 0 to 3, for each of them"),
        ((0, 0, 1, 1), 2, "head 1 leads others and must lead itself"),
        ((0, 0, 2, 2), 3, r"found 2 clusters in \(0, 0, 2, 2\), and n_clusters=3"),
        (None, 5, "found 5 for 4 heads, expected 1 to 4"),
    ):
        with pytest.raises(AttentionError, match=said):
            ClusteredConfig(dim=32, n_heads=4, n_clusters=n_clusters, leaders=leaders)


def planted(sizes: tuple[int, ...], noise: float, seed: int = 0, n: int = 12, contrast: float = 3.0) -> Tensor:
    """Maps of heads in clusters of these sizes: one random pattern each, and noise of each head's own."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(3, len(sizes), n, n, generator=generator) * contrast
    logits = torch.cat([patterns[:, [i]].expand(-1, size, -1, -1) for i, size in enumerate(sizes)], 1)
    logits = logits + noise * torch.randn(logits.shape, generator=generator)
    return logits.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1)


@pytest.mark.parametrize("sizes", [(4, 4), (1, 2, 5), (6, 1, 1), (2, 2, 2, 2), (8,), (7, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_planted_clusters_are_found_and_counted(sizes: tuple[int, ...], seed: int) -> None:
    noise = 0.0 if sizes == (8,) else 0.3
    found = find_clusters([planted(sizes, noise, seed)])
    assert found.n_clusters == len(sizes)
    planted_label = np.repeat(np.arange(len(sizes)), sizes)
    assert [planted_label[leader] for leader in found.leaders] == planted_label.tolist()


@pytest.mark.parametrize("contrast", [3.0, 0.3, 0.03])
def test_how_large_the_differences_are_does_not_matter(contrast: float) -> None:
    assert find_clusters([planted((3, 3, 2), contrast / 10, contrast=contrast)]).n_clusters == 3


def test_heads_with_nothing_in_common_stay_apart() -> None:
    apart = torch.eye(8).reshape(1, 8, 1, 8)
    found = find_clusters([apart])
    assert found.n_clusters == 8
    assert found.leaders == tuple(range(8))
    np.testing.assert_allclose(found.distortion, np.arange(7, -1, -1), atol=1e-12)
    for seed in range(5):
        assert find_clusters([planted((1,) * 8, 0.0, seed)]).n_clusters == 8


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n_clusters=st.integers(1, 7))
def test_clusters_are_those_of_scipys_average_linkage(seed: int, n_clusters: int) -> None:
    maps = torch.rand(3, 7, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    leaders = leaders_of(maps, n_clusters)
    for sample, own in zip(maps.flatten(2), leaders, strict=True):
        label = fcluster(linkage(sample.numpy(), "average", metric="cosine"), n_clusters, "maxclust")
        assert np.array_equal(own[:, None] == own, label[:, None] == label)
        assert torch.equal(own[own], own)
    together = maps.transpose(0, 1).flatten(1).numpy()
    label = fcluster(linkage(together, "average", metric="cosine"), n_clusters, "maxclust")
    offline = np.array(group_heads(list(maps.split(1)), n_clusters).leaders)
    assert np.array_equal(offline[:, None] == offline, label[:, None] == label)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_distortion_is_the_spread_about_the_means_and_falls_to_nothing(seed: int) -> None:
    maps = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    unit = torch.nn.functional.normalize(maps.transpose(0, 1).flatten(1), dim=-1).numpy()
    for n_clusters in range(1, 6):
        found = group_heads([maps], n_clusters)
        leaders = np.array(found.leaders)
        spread = sum(((unit[leaders == leader] - unit[leaders == leader].mean(0)) ** 2).sum() for leader in set(found.leaders))
        np.testing.assert_allclose(found.distortion[n_clusters - 1], spread, atol=1e-12)
    assert all(one >= two - 1e-12 for one, two in zip(found.distortion, found.distortion[1:], strict=False))
    assert found.distortion[-1] == pytest.approx(0.0, abs=1e-12)


def test_maps_that_cannot_be_clustered_are_refused() -> None:
    with pytest.raises(AttentionError, match="found none"):
        find_clusters([])
    with pytest.raises(AttentionError, match=r"found shape \(4, 3, 3\)"):
        find_clusters([torch.zeros(4, 3, 3)])
    with pytest.raises(AttentionError, match="found 9 for 8 heads, expected 1 to 8"):
        group_heads([planted((4, 4), 0.1)], 9)
