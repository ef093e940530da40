"""The contract of caches, swept over the catalog: any chunking is the full forward, and what is forgotten leaves no trace.

Nothing here knows a mechanism by name. What is peculiar to one lies in its own file.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import attending.attention.caching as caching_module
from attending.attention import AttentionError, GroupedConfig, Mask, causal, documents, everything, keep, padding, window
from tests.attention.examples import BATCH, CONTEXT, MASKS, Example, tokens
from tests.attention.sweeps import built, caching, crossing, kinds, sweep


@caching
@settings(max_examples=8, deadline=None)
@given(chunks=st.lists(st.integers(1, 7), min_size=1, max_size=6), kind=st.sampled_from(["causal", "causal & window"]))
def test_any_chunking_is_the_full_forward(example: Example, chunks: list[int], kind: str) -> None:
    if kind not in kinds(example):
        kind = "causal"
    mask, length = MASKS[kind].mask, min(sum(chunks), 16)
    module, x = built(example), tokens(BATCH, length, example.config.dim)
    cache = module.new_cache(BATCH, mask=mask)
    parts = [cache.extend(part) for part in x.split(chunks[:1] * 16 if sum(chunks) < 1 else fitted(chunks, length), dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), module(x, mask=mask), rtol=1e-8, atol=1e-9)
    assert cache.lengths.tolist() == [length] * BATCH


def fitted(chunks: list[int], length: int) -> list[int]:
    """The chunks cut so that they sum to the length."""
    kept = []
    for chunk in chunks:
        kept.append(min(chunk, length - sum(kept)))
    return [chunk for chunk in kept if chunk]


@caching
def test_slots_read_ahead_change_nothing(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching_module, "_NEW_KERNEL_A_SHAPE", (torch.float64,))
    monkeypatch.setattr(caching_module, "_SAME_SHAPE", 8)
    module, x = built(example), tokens(BATCH, 15, example.config.dim)
    cache = module.new_cache(BATCH, mask=causal())
    parts = [cache.extend(part) for part in x.split([5, 1, 1, 1, 1, 3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), module(x, mask=causal()), rtol=1e-8, atol=1e-9)
    if example.is_ring:
        return
    few = max(4, example.crops_to)
    cache.crop(torch.tensor([few, 15, 9]))
    step = cache.extend(x[:, :1])
    for sample, length in enumerate((few, 15, 9)):
        own = torch.cat([x[sample, :length], x[sample, :1]])[None]
        torch.testing.assert_close(step[sample, 0], module(own, mask=causal())[0, -1], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("mask", "dtype", "n_new", "n_slots"),
    [
        (causal(), torch.bfloat16, 1, 128),
        (causal() | window(2, 0), torch.float16, 16, 128),
        (causal(), torch.bfloat16, 17, 87),
        (causal(), torch.float32, 1, 71),
        (causal() & documents(torch.zeros(1, 100, dtype=torch.long)), torch.bfloat16, 1, 71),
        (causal() & keep(torch.ones(200, 71, dtype=torch.bool)), torch.bfloat16, 1, 71),
    ],
)
def test_steps_in_16_bits_read_the_same_number_of_slots(mask: Mask, dtype: torch.dtype, n_new: int, n_slots: int) -> None:
    module = GroupedConfig(dim=16, n_heads=2).build().to(dtype)
    cache = module.new_cache(1, mask=mask)
    cache.extend(tokens(1, 70, 16, dtype=dtype))
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is torch.ops.aten._softmax.default:
                seen.append(result.shape[-1])
            return result

    with Watch():
        cache.extend(tokens(1, n_new, 16, dtype=dtype))
    assert seen == [n_slots]


@caching
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_ragged_chunks_are_each_samples_own_forward(example: Example, data: st.DataObject) -> None:
    module = built(example)
    n_chunks = data.draw(st.integers(1, 3))
    cache = module.new_cache(BATCH, mask=causal())
    fed: list[list[Tensor]] = [[] for _ in range(BATCH)]
    got: list[list[Tensor]] = [[] for _ in range(BATCH)]
    for number in range(n_chunks):
        n_new = data.draw(st.integers(1, 5))
        real = torch.tensor(
            data.draw(st.lists(st.lists(st.booleans(), min_size=n_new, max_size=n_new), min_size=3, max_size=3))
        )
        x = torch.where(real[..., None], tokens(BATCH, n_new, example.config.dim, seed=number), torch.nan)
        output = cache.extend(x, real=real)
        assert torch.equal(output[~real], torch.zeros_like(output[~real]))
        for sample in range(BATCH):
            fed[sample].append(x[sample, real[sample]])
            got[sample].append(output[sample, real[sample]])
    for sample in range(BATCH):
        own = torch.cat(fed[sample])[None]
        assert cache.lengths[sample] == own.shape[1]
        if own.shape[1]:
            torch.testing.assert_close(torch.cat(got[sample])[None], module(own, mask=causal()), rtol=1e-8, atol=1e-9)


@caching
def test_left_padding_is_right_padding_in_a_cache(example: Example) -> None:
    module, x = built(example), tokens(2, 6, example.config.dim)
    left, right = torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 6, dtype=torch.bool)
    left[1, :2], right[1, 4:] = False, False
    moved = x.clone()
    moved[1, :4] = x[1, 2:]
    ends = []
    for fed, real in ((x, left), (moved, right)):
        cache = module.new_cache(2, mask=causal())
        cache.extend(fed, real=real)
        ends.append(cache.extend(x[:, :1]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-10)


@caching
def test_cropped_tokens_leave_no_trace(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 9, example.config.dim)
    cache = module.new_cache(BATCH, mask=causal(), capacity=16 if example.is_ring else None)
    cache.extend(x[:, :5])
    cache.extend(torch.full_like(x[:, :3], torch.nan))
    cache.crop(5)
    torch.testing.assert_close(cache.extend(x[:, 5:]), module(x, mask=causal())[:, 5:], rtol=1e-8, atol=1e-9)
    few = max(2, example.crops_to)
    cache.crop(torch.tensor([few, 9, 4]))
    assert cache.lengths.tolist() == [few, 9, 4]
    own = torch.cat([x[:1, :few], x[:1, :1]], 1)
    torch.testing.assert_close(cache.extend(x[:, :1])[0, 0], module(own, mask=causal())[0, -1], rtol=1e-8, atol=1e-9)


@caching
def test_what_one_sample_cropped_does_not_show_beside_a_longer_one(example: Example) -> None:
    module, x = built(example), tokens(2, 10, example.config.dim)
    cache = module.new_cache(2, mask=causal(), capacity=16 if example.is_ring else None)
    poisoned = x.clone()
    poisoned[0, 7:] = torch.nan
    cache.extend(poisoned)
    cache.crop(torch.tensor([7, 10]))
    own = torch.cat([x[:1, :7], x[:1, :1]], 1)
    torch.testing.assert_close(cache.extend(x[:, :1])[0, 0], module(own, mask=causal())[0, -1], rtol=1e-8, atol=1e-9)


@caching
def test_reordered_and_selected_samples_go_on_as_their_own(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 6, example.config.dim)
    cache = module.new_cache(BATCH, mask=causal())
    cache.extend(x[:, :4], real=torch.tensor([[True] * 4, [True, True, False, False], [True] * 4]))
    cache.reorder(torch.tensor([1, 1, 0]))
    assert cache.lengths.tolist() == [2, 2, 4]
    cache.select(torch.tensor([2, 0]))
    output = cache.extend(x[:2, 4:5])
    for place, own in ((0, torch.cat([x[0, :4], x[0, 4:5]])), (1, torch.cat([x[1, :2], x[1, 4:5]]))):
        torch.testing.assert_close(output[place, 0], module(own[None], mask=causal())[0, -1], rtol=1e-8, atol=1e-9)


@crossing
def test_a_context_is_projected_once_and_gives_the_full_forward(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 5, example.config.dim)
    context = tokens(BATCH, CONTEXT, example.config.dim, seed=4)
    lengths = torch.tensor([CONTEXT, 3, 0])
    expected = module(x, mask=padding(lengths), context=context)
    context[1, 3:], context[2] = torch.nan, torch.inf
    cache = module.new_cache(BATCH, mask=padding(lengths), context=context)
    context.zero_()
    held = cache.nbytes_used
    parts = [cache.extend(part) for part in x.split([2, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=1e-8, atol=1e-9)
    assert cache.nbytes_used == held
    cache.crop(1)
    cache.reorder(torch.tensor([1, 0, 2]))
    torch.testing.assert_close(cache.extend(x[[1, 0, 2], 1:2]), expected[[1, 0, 2], 1:2], rtol=1e-8, atol=1e-9)


@caching
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_cost_predicts_the_cache_to_the_byte(example: Example, dtype: str) -> None:
    module = example.config.build()
    for length in (1, 16, 37):
        cache = module.new_cache(2, mask=causal(), dtype=getattr(torch, dtype))
        if "position" in vars(example.config) and getattr(example.config.position, "length", 99) < length:
            continue
        cache.extend(tokens(2, length, example.config.dim, dtype=torch.float32))
        cost = example.config.cost(length, batch=2, phase="decode", cache_dtype=dtype).cache
        assert cache.nbytes_used == cost.used + cost.scales + cost.tables
        assert cache.nbytes_allocated == cost.allocated + cost.scales_allocated + cost.tables


@caching
def test_decode_flops_are_predicted(example: Example) -> None:
    module = example.config.build()
    cache = module.new_cache(2, mask=causal())
    cache.extend(tokens(2, 11, example.config.dim, dtype=torch.float32))
    with FlopCounterMode(display=False) as counter:
        cache.extend(tokens(2, 1, example.config.dim, dtype=torch.float32))
    cost = example.config.cost(12, batch=2, phase="decode")
    assert abs(counter.get_total_flops() - cost.flops) <= 0.01 * cost.flops


@caching
def test_int8_storage_stays_within_its_error(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 12, example.config.dim)
    exact, coarse = module.new_cache(BATCH, mask=causal()), module.new_cache(BATCH, mask=causal(), dtype=torch.int8)
    expected, found = exact.extend(x), coarse.extend(x)
    assert coarse.nbytes_used < 0.6 * exact.nbytes_used
    assert (found - expected).norm() < 0.05 * expected.norm()


@caching
def test_int8_is_cropped_and_chosen_from_like_numbers(example: Example) -> None:
    """What is left of a cache of whole numbers goes on as a cache that never held more, but for the error of int8."""
    module, x = built(example), tokens(BATCH, 12, example.config.dim)
    few = max(4, example.crops_to)
    cache = module.new_cache(BATCH, mask=causal(), dtype=torch.int8, capacity=16 if example.is_ring else None)
    cache.extend(x[:, :8], real=torch.arange(8) < torch.tensor([[8], [8], [6]]))
    cache.crop(torch.tensor([8, few, 6]))
    cache.reorder(torch.tensor([2, 1, 0]))
    cache.select(torch.tensor([1, 2, 0]))
    found = torch.cat([cache.extend(x[:, place : place + 1]) for place in (8, 9)], dim=1)
    for place, (sample, length) in enumerate(((1, few), (0, 8), (2, 6))):
        own = torch.cat([x[sample, :length], x[place, 8:10]])[None]
        expected = module(own, mask=causal())[0, length:]
        assert (found[place] - expected).norm() < 0.05 * expected.norm()


@caching
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_bytes_follow_what_is_forgotten(example: Example, dtype: str) -> None:
    module = example.config.build()
    cache = module.new_cache(4, mask=causal(), dtype=getattr(torch, dtype), capacity=16 if example.is_ring else None)
    cache.extend(tokens(4, 12, example.config.dim, dtype=torch.float32))
    few, held = max(5, example.crops_to), (cache.nbytes_used, cache.nbytes_allocated)
    tables = example.config.cost(12, batch=4, phase="decode", cache_dtype=dtype).cache.tables
    cache.reorder(torch.tensor([3, 3, 0, 1]))
    assert (cache.nbytes_used, cache.nbytes_allocated) == held
    cache.select(torch.tensor([2, 0]))
    assert (cache.nbytes_used, cache.nbytes_allocated) == (held[0] // 2, held[1] // 2)
    cache.crop(few)
    assert cache.nbytes_allocated == held[1] // 2
    if not example.is_ring:
        per_token = (held[0] - tables) // (4 * 12)
        assert cache.nbytes_used <= 2 * 12 * per_token + tables // 2
        assert cache.nbytes_used < held[0] // 2
    cache.select(torch.tensor([], dtype=torch.long))
    assert cache.nbytes_used == cache.nbytes_allocated == 0


@sweep(lambda example: example.cross)
def test_a_context_of_whole_numbers_stays_within_its_error_and_is_chosen_from(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 4, example.config.dim)
    context = tokens(BATCH, CONTEXT, getattr(example.config, "source_dim", example.config.dim), seed=4)
    expected = module(x, mask=everything(), context=context)
    cache = module.new_cache(BATCH, mask=everything(), context=context, dtype=torch.int8)
    first = cache.extend(x[:, :2])
    assert (first - expected[:, :2]).norm() < 0.05 * expected[:, :2].norm()
    held = cache.nbytes_used
    cache.select(torch.tensor([2]))
    rest = cache.extend(x[2:, 2:])
    assert (rest - expected[2:, 2:]).norm() < 0.05 * expected[2:, 2:].norm()
    assert (cache.nbytes_used, cache.lengths.tolist()) == (held // BATCH, [4])


@sweep(lambda example: example.caches and not example.is_ring)
def test_a_fixed_cache_refuses_what_does_not_fit_and_stays_as_it_was(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 8, example.config.dim)
    cache = module.new_cache(BATCH, mask=causal(), capacity=6)
    cache.extend(x[:, :5])
    with pytest.raises(AttentionError, match="7 tokens do not fit its fixed capacity of 6"):
        cache.extend(x[:, 5:7])
    torch.testing.assert_close(cache.extend(x[:, 5:6]), module(x[:, :6], mask=causal())[:, 5:], rtol=1e-8, atol=1e-9)


@sweep(lambda example: example.cross and example.caches)
def test_a_context_longer_than_a_fixed_cache_is_refused(example: Example) -> None:
    module, context = built(example), tokens(2, 7, getattr(example.config, "source_dim", example.config.dim))
    with pytest.raises(AttentionError, match="a context of 7 tokens does not fit its fixed capacity of 6; give capacity=None"):
        module.new_cache(2, mask=everything(), context=context, capacity=6)


@caching
def test_a_cache_refuses_what_it_cannot_follow(example: Example) -> None:
    module = built(example)
    with pytest.raises(AttentionError, match="later ones"):
        module.new_cache(2, mask=everything())
    with pytest.raises(AttentionError, match="real="):
        module.new_cache(2, mask=causal() & padding(torch.tensor([3, 4])))
    with pytest.raises(AttentionError, match=r"expected \[2, new"):
        module.new_cache(2, mask=causal()).extend(tokens(3, 1, example.config.dim))
