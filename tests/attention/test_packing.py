"""Samples that stand at different places in the caches of windows: each sample's own forward, at the price of its window."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import (
    AlibiConfig,
    Mask,
    MechanismConfig,
    NativeSparseConfig,
    RelativeBiasConfig,
    RotaryConfig,
    WindowedConfig,
    causal,
    documents,
    keep_keys,
    window,
)
from attending.attention.buffers import Ring
from attending.attention.packing import goes_packed, packing_of, remembered_packed
from tests.attention.examples import tokens

NATIVE: dict[str, Any] = {"n_kv_heads": 1, "run": 3, "stride": 2, "block": 2, "n_selected": 3, "n_local": 1, "before": 2}
CONFIGS: dict[str, MechanismConfig] = {
    "window": WindowedConfig(dim=16, n_heads=2, before=2, output_bias=True),
    "window, turned": WindowedConfig(dim=16, n_heads=2, before=3, position=RotaryConfig()),
    "window, distances": WindowedConfig(dim=16, n_heads=2, before=2, position=AlibiConfig()),
    "of one token": WindowedConfig(dim=16, n_heads=2, before=0),
    "global": WindowedConfig(dim=16, n_heads=2, before=2, n_global=2, output_bias=True),
    "global, distances": WindowedConfig(dim=16, n_heads=2, before=1, n_global=3, position=RelativeBiasConfig(n_buckets=4)),
    "native": NativeSparseConfig(dim=16, n_heads=2, **NATIVE),
    "native, turned": NativeSparseConfig(dim=16, n_heads=2, position=RotaryConfig(), **NATIVE),
}
MASKS: dict[str, Mask] = {"causal": causal(), "narrower": causal() & window(1, 0)}


def built(config: MechanismConfig, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    module = config.build().to(dtype).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


def window_ring(cache: Any) -> Ring:
    return cache._window if hasattr(cache, "_window") else cache._memory


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", MASKS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_in_a_wide_ring_each_sample_meets_its_own_window(name: str, kind: str, data: st.DataObject) -> None:
    """Chunks with holes anywhere, and what `crop` took back, in a ring many times as long as the window."""
    module, mask = built(CONFIGS[name]), MASKS[kind]
    cache = module.new_cache(3, mask=mask, capacity=80)
    fed: list[list[Tensor]] = [[] for _ in range(3)]
    sizes = [24, *data.draw(st.lists(st.sampled_from([1, 2, 5, 9]), min_size=1, max_size=5)), 1]
    for number, n_new in enumerate(sizes):
        shares = data.draw(st.lists(st.sampled_from([0.3, 0.8, 1.0]), min_size=3, max_size=3))
        real = torch.rand(3, n_new, generator=torch.Generator().manual_seed(number)) < torch.tensor(shares)[:, None]
        if number == 0:
            real[:, :20] = True
        if number == len(sizes) - 1:
            real = torch.tensor([[True], [False], [True]])
            assert goes_packed(window_ring(cache), mask, n_new, real)
        x = torch.where(real[..., None], tokens(3, n_new, 16, seed=number), torch.nan)
        output = cache.extend(x, real=real)
        assert torch.equal(output[~real], torch.zeros_like(output[~real]))
        for sample in range(3):
            fed[sample] += list(x[sample, real[sample]])
            own = module(torch.stack(fed[sample])[None], mask=mask)[0]
            found = output[sample, real[sample]]
            torch.testing.assert_close(found, own[len(own) - len(found) :], rtol=1e-8, atol=1e-9)
        if number == 1:
            kept = [len(one) * 2 // 3 for one in fed]
            cache.crop(torch.tensor(kept))
            fed = [one[:length] for one, length in zip(fed, kept, strict=True)]
    assert cache.lengths.tolist() == [len(one) for one in fed]


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_on_either_side_of_a_long_chunk_is_absence(name: str) -> None:
    module, x = built(CONFIGS[name]), tokens(2, 300, 16)
    real = torch.ones(2, 300, dtype=torch.bool)
    real[0, :40], real[1, 250:] = False, False
    real[1, 100:120] = False
    cache = module.new_cache(2, mask=causal())
    assert goes_packed(window_ring(cache), causal(), 300, real)
    first, then = cache.extend(torch.where(real[..., None], x, torch.nan), real=real), cache.extend(x[:, :2])
    for sample in range(2):
        own = torch.cat([x[sample, real[sample]], x[sample, :2]])[None]
        expected = module(own, mask=causal())[0]
        torch.testing.assert_close(first[sample, real[sample]], expected[:-2], rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(then[sample], expected[-2:], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["window", "global"])
def test_a_ragged_chunk_costs_its_length_and_not_the_square(name: str) -> None:
    counted = []
    for length in (1024, 2048, 4096):
        module, x = built(CONFIGS[name], torch.float32), tokens(2, length, 16, dtype=torch.float32)
        real = torch.arange(length) >= torch.tensor([[7], [0]])
        with FlopCounterMode(display=False) as counter:
            module.new_cache(2, mask=causal()).extend(x, real=real)
        counted.append(counter.get_total_flops())
    assert counted[2] - counted[1] == 2 * (counted[1] - counted[0])


@torch.no_grad()
def test_holes_do_not_make_the_window_of_native_sparse_attention_a_square() -> None:
    """The other branches meet the same runs and tokens with holes and without; without, runs of the window are not counted."""
    config = NativeSparseConfig(dim=16, n_heads=2, **NATIVE | {"n_selected": 500})
    module, kept = built(config, torch.float32), torch.rand(1, 1000, generator=torch.Generator().manual_seed(1)) > 0.3
    x = tokens(1, 1000, 16, dtype=torch.float32)
    found = []
    for mask in (causal(), causal() & keep_keys(kept)):
        with FlopCounterMode(display=False) as counter:
            module(x, mask=mask)
        found.append(counter.get_total_flops())
    square = 4 * 1000 * 1000 * 16
    assert 0 < found[1] - found[0] < 0.1 * square


@pytest.mark.parametrize("name", ["window", "native"])
def test_rules_that_look_places_up_leave_tokens_where_they_are(name: str) -> None:
    module, x, ids = built(CONFIGS[name]), tokens(2, 30, 16), torch.arange(60)[None].expand(2, -1) // 7
    mask, real = causal() & documents(ids), torch.ones(2, 30, dtype=torch.bool)
    real[0, 3:9], real[1, 21] = False, False
    cache = module.new_cache(2, mask=mask, capacity=60)
    parts = x.split([20, 2, 1, 7], dim=1), real.split([20, 2, 1, 7], dim=1)
    output = torch.cat([cache.extend(new, real=there) for new, there in zip(*parts, strict=True)], 1)
    for sample in range(2):
        own = x[sample, real[sample]][None]
        expected = module(own, mask=causal() & documents(ids[:1, : own.shape[1]]))[0]
        torch.testing.assert_close(output[sample, real[sample]], expected, rtol=1e-8, atol=1e-9)


def test_packing_and_back_by_hand() -> None:
    packing = packing_of(torch.tensor([[False, True, False, True], [True, True, True, False]]))
    x = torch.arange(1.0, 9.0).view(2, 4, 1)
    assert packing.of(x)[..., 0].tolist() == [[2, 4, 1, 3], [5, 6, 7, 8]]
    assert packing.there.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert packing.back(packing.of(x))[..., 0].tolist() == [[0, 2, 0, 4], [5, 6, 7, 0]]


def test_the_window_before_new_tokens_by_hand() -> None:
    """A ring of four that has turned in one sample: each gets the two tokens before its new ones, in order."""
    kind: dict[str, Any] = {"dtype": torch.float64, "reads_as": torch.float64, "device": torch.device("cpu")}
    ring = Ring({"key": (1, 1)}, batch=2, capacity=4, lookback=2, **kind)
    ring.extended({"key": torch.arange(6.0).view(1, 1, 6, 1).expand(2, -1, -1, -1)}, torch.arange(6) < torch.tensor([[6], [1]]))
    new, there = torch.tensor([6.0, 7.0]).view(1, 1, 2, 1).expand(2, -1, -1, -1), torch.tensor([[True, True], [True, False]])
    held, rule, grid = remembered_packed(ring, {"key": new}, there)
    assert held["key"][:, 0, :, 0].tolist() == [[4, 5, 6, 7], [0, 0, 6, 7]]
    seen = rule.seen(grid)
    assert seen is not None
    assert seen[:, 0, 0].tolist() == [[True] * 4, [False, True, True, False]]
    assert (grid.query, grid.key) == (range(2, 4), range(4))
    assert ring.counts == [8, 2]
