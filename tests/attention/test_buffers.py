"""Memories and rings: slots, growth, wrapping round, what crop can take back, and int8."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attending.attention import (
    AttentionError,
    GroupedConfig,
    LatentConfig,
    RotaryConfig,
    blocks,
    causal,
    documents,
    keep,
    keep_keys,
    window,
)
from attending.attention.buffers import Buffer, Memory, Ring
from attending.attention.costs import capacity_for
from attending.attention.grid import places_tensor
from tests.attention.examples import LATENT, tokens

CPU = torch.device("cpu")
KIND = {"dtype": torch.float64, "reads_as": torch.float64, "device": CPU}


def numbered(start: int, stop: int, batch: int = 1) -> dict[str, torch.Tensor]:
    """Tokens that carry their own number."""
    return {"n": torch.arange(start, stop, dtype=torch.float64)[None, None, :, None].expand(batch, 1, -1, 1)}


def test_a_growing_memory_doubles_and_keeps_its_content() -> None:
    memory = Memory({"n": (1, 1)}, batch=1, **KIND)
    sizes = []
    for i in range(40):
        held, places = memory.extended(numbered(i, i + 1), None)
        sizes.append(memory.n_slots)
        assert held["n"].flatten().tolist() == list(range(i + 1))
        assert places == range(i + 1)
    assert sorted(set(sizes)) == [16, 32, 64]


@given(length=st.integers(0, 5000))
@settings(max_examples=50, deadline=None)
def test_capacity_is_the_next_power_of_two(length: int) -> None:
    capacity = capacity_for(length)
    assert capacity >= length
    assert capacity < max(2 * length, 17)


def test_a_ring_wider_than_its_window_reads_the_window_alone_where_it_lies_in_one_piece() -> None:
    ring = Ring({"n": (1, 1)}, batch=1, capacity=50, lookback=4, **KIND)
    ring.extended(numbered(0, 30), None)
    held, places = ring.extended(numbered(30, 32), None)
    assert places == range(26, 32)
    assert held["n"].flatten().tolist() == list(range(26, 32))
    ring.extended(numbered(32, 51), None)
    held, places = ring.extended(numbered(51, 52), None)  # 47, 48 and 49 stand at the end, 50 and 51 at the beginning
    assert places_tensor(places, CPU).shape == held["n"].flatten()[None].shape == (1, 50)


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    lookback=st.integers(0, 6),
    slack=st.integers(0, 5),
    ragged=st.booleans(),
)
def test_a_ring_gives_every_new_token_the_window_before_it(chunks: list[int], lookback: int, slack: int, ragged: bool) -> None:
    ring = Ring({"n": (1, 1)}, batch=2, capacity=lookback + 1 + slack, lookback=lookback, **KIND)
    length = [0, 0]
    for chunk in chunks:
        real = torch.ones(2, chunk, dtype=torch.bool)
        if ragged:
            real[1, ::2] = False
        numbers = places_tensor(ring.next_places(chunk, real if ragged else None), CPU).expand(2, -1)
        held, places = ring.extended({"n": numbers.double()[:, None, :, None]}, real if ragged else None)
        where = places_tensor(places, CPU).expand(2, -1)
        for sample in range(2):
            filled = where[sample] >= 0
            assert torch.equal(held["n"][sample, 0, filled, 0].long(), where[sample, filled])
            added = int(real[sample].sum())
            wanted = set(range(max(0, length[sample] - lookback), length[sample] + added))
            assert wanted <= set(where[sample, filled].tolist())
            assert len(where[sample, filled]) == len(set(where[sample, filled].tolist()))
            length[sample] += added
    assert ring.counts == length
    assert ring.n_slots == lookback + 1 + slack


@pytest.mark.parametrize(
    "config", [GroupedConfig(dim=16, n_heads=2, position=RotaryConfig()), LatentConfig(dim=16, n_heads=2, **LATENT)]
)
@settings(max_examples=15, deadline=None)
@given(chunks=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_a_windowed_cache_holds_only_the_window(config, chunks: list[int]) -> None:
    module, mask, length = config.build().double(), window(4, 0), sum(chunks)
    x, cache = tokens(2, length, 16), module.new_cache(2, mask=mask)
    parts = [cache.extend(part) for part in x.split(chunks, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), module(x, mask=mask), rtol=1e-8, atol=1e-9)
    per_token = config.cost(1, dtype="float64").cache.per_token
    assert cache.nbytes_allocated == 2 * 5 * per_token
    assert cache.nbytes_used == 2 * min(length, 5) * per_token


def test_a_ring_takes_back_what_it_still_holds_and_refuses_the_rest() -> None:
    module, mask, x = GroupedConfig(dim=16, n_heads=2).build().double(), window(3, 0), tokens(1, 12, 16)
    cache = module.new_cache(1, mask=mask, capacity=6)
    cache.extend(x[:, :10])
    cache.crop(8)
    torch.testing.assert_close(cache.extend(x[:, 8:]), module(x, mask=mask)[:, 8:])
    with pytest.raises(AttentionError, match="larger capacity= to go back further"):
        cache.crop(7)
    assert cache.lengths.tolist() == [12]


def test_a_capacity_below_the_window_is_a_limit() -> None:
    module = GroupedConfig(dim=16, n_heads=2).build()
    cache = module.new_cache(1, mask=window(100, 0), capacity=4)
    cache.extend(torch.zeros(1, 4, 16))
    with pytest.raises(AttentionError, match="5 tokens do not fit its fixed capacity of 4"):
        cache.extend(torch.zeros(1, 1, 16))


@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_int8_is_off_by_at_most_its_stated_error(scale: float, seed: int) -> None:
    buffer = Buffer(1, 2, 8, dtype=torch.int8, reads_as=torch.float32, device=CPU)
    buffer.resize(4)
    values = tokens(1, 2, 4, 8, seed=seed, dtype=torch.float32) * scale
    buffer.write((slice(None), slice(None), slice(0, 4)), values)
    error = (buffer.read(slice(0, 4)) - values).abs()
    assert bool((error <= values.abs().amax(-1, keepdim=True) / 254 * (1 + 1e-5)).all())
    assert buffer.bytes_per_slot == 2 * (8 + 4)


def test_half_precision_storage_reads_back_in_the_type_of_the_weights() -> None:
    module, x = GroupedConfig(dim=16, n_heads=2).build(), tokens(1, 6, 16, dtype=torch.float32)
    cache = module.new_cache(1, mask=causal(), dtype=torch.bfloat16)
    output = cache.extend(x)
    assert output.dtype == torch.float32
    assert cache.nbytes_used == 6 * 2 * 16 * 2
    torch.testing.assert_close(output, module(x, mask=causal()), rtol=0.02, atol=0.02)


def test_capacity_must_be_positive() -> None:
    with pytest.raises(AttentionError, match="capacity: found 0"):
        GroupedConfig(dim=16, n_heads=2).build().new_cache(1, mask=causal(), capacity=0)


def test_samples_that_are_not_there_cannot_be_selected() -> None:
    cache = GroupedConfig(dim=16, n_heads=2).build().new_cache(2, mask=causal())
    with pytest.raises(AttentionError, match="expected indices below 2"):
        cache.select(torch.tensor([2]))
    with pytest.raises(AttentionError, match="to drop samples, select"):
        cache.reorder(torch.tensor([0]))
    with pytest.raises(AttentionError, match="crop: found lengths"):
        cache.crop(torch.tensor([1, 2, 3]))


_IDS = torch.tensor([[0] * 5 + [1] * 6, [0, 1] * 5 + [0], [0] * 11])
_PAIRS = torch.rand(3, 11, 11, generator=torch.Generator().manual_seed(8)) > 0.4


@pytest.mark.parametrize(
    "rule",
    [documents(_IDS), keep(_PAIRS), blocks(torch.tensor([[True, False], [True, True]]), size=6)],
    ids=["documents", "keep", "blocks"],
)
@pytest.mark.parametrize("chunks", [[2, 1, 1, 7], [1] * 11, [11]])
def test_slots_that_hold_nothing_ask_no_table(rule, chunks: list[int]) -> None:
    """A shorter sample leaves slots of a ring empty; rules that look places up meet them, and nothing comes of it."""
    real = torch.arange(11) < torch.tensor([[11], [4], [0]])
    x = tokens(3, 11, 24)
    layer = GroupedConfig(dim=24, n_heads=4).build().double()
    mask = causal() & window(3, 0) & rule
    cache = layer.new_cache(3, mask=mask)
    parts = zip(x.split(chunks, 1), real.split(chunks, 1), strict=True)
    output = torch.cat([cache.extend(part, real=there) for part, there in parts], dim=1)
    wanted = layer(x, mask=mask & keep_keys(real))
    assert torch.allclose(output, torch.where(real[..., None], wanted, 0.0), rtol=0.0, atol=1e-12)


def test_a_table_that_ends_before_its_tokens_is_refused_in_ragged_caches_too() -> None:
    layer = GroupedConfig(dim=24, n_heads=4).build().double()
    cache = layer.new_cache(3, mask=causal() & window(3, 0) & documents(_IDS))
    cache.extend(tokens(3, 4, 24), real=torch.arange(4) < torch.tensor([[4], [2], [1]]))
    with pytest.raises(
        AttentionError, match="documents: the mask covers 11 queries, and was asked about places 0 to 11; make it"
    ):
        cache.extend(tokens(3, 8, 24))


def test_slots_are_read_up_to_a_multiple_and_never_past_the_buffer() -> None:
    memory = Memory({"key": (1, 1)}, batch=2, capacity=10, **KIND)
    real = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    held, places = memory.extended({"key": torch.ones(2, 1, 5, 1, dtype=torch.float64)}, real, step=4)
    assert places == range(8)
    assert held["key"][:, 0, :, 0].tolist() == [[1.0] * 5 + [0.0] * 3, [1.0] * 2 + [0.0] * 6]
    memory.extended({"key": torch.ones(2, 1, 4, 1, dtype=torch.float64)}, None, step=4)
    assert [memory.readable(step) for step in (1, 3, 4, 64)] == [9, 9, 10, 10]
    memory.crop([8, 0])
    assert memory.readable(4) == 8
    assert memory.held(64)["key"].shape[2] == 10
