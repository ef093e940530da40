"""The contract, swept over the catalog: what every mechanism must do, whatever it is.

Nothing here knows a mechanism by name. What is peculiar to one lies in its own file.
"""

import copy
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import attending.attention.caching as caching_module
from attending.attention import (
    MECHANISMS,
    AttentionError,
    GroupedConfig,
    Mask,
    Mechanism,
    causal,
    config_from,
    documents,
    everything,
    keep,
    keep_keys,
    name_of,
    padding,
    settings_of,
    window,
)
from tests.attention.examples import BATCH, CONTEXT, EXAMPLES, LENGTH, MASKS, Example, MaskKind, tokens


def built(example: Example, seed: int = 0) -> Mechanism:
    """The mechanism in float64, with weights of a size that makes attention peaked."""
    torch.manual_seed(seed)
    module = example.config.build().double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


def kinds(example: Example) -> dict[str, MaskKind]:
    return {name: kind for name, kind in MASKS.items() if not example.masks or name in example.masks}


def sweep(condition=lambda example: True):
    return pytest.mark.parametrize("example", [pytest.param(e, id=n) for n, e in EXAMPLES.items() if condition(e)])


def sweep_with_masks():
    cases = [pytest.param(e, kind, id=f"{n}-{m}") for n, e in EXAMPLES.items() for m, kind in kinds(e).items()]
    return pytest.mark.parametrize(("example", "kind"), cases)


caching = sweep(lambda example: example.caches)
crossing = sweep(lambda example: example.cross)


def test_every_mechanism_of_the_catalog_has_an_example() -> None:
    assert {name_of(example.config) for example in EXAMPLES.values()} == set(MECHANISMS)


@sweep_with_masks()
def test_forward_and_weights_are_the_formula(example: Example, kind: MaskKind) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    if kind is MASKS["keep_keys"] and example.counts_positions:
        return check_holes_are_absence(module, x)
    seen = kind.dense(BATCH, LENGTH, LENGTH, example.config.n_heads)
    existing = x if kind.exists is None else torch.where(kind.exists[..., None], x, 0.0)
    expected, weights = example.reference(module, existing, seen)
    torch.testing.assert_close(module(x, mask=kind.mask), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(module.weights(x, mask=kind.mask), weights, rtol=1e-9, atol=1e-10)
    return None


def check_holes_are_absence(module: Mechanism, x: Tensor) -> None:
    kept = torch.tensor([1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1], dtype=torch.bool)
    whole = module(x, mask=keep_keys(kept.expand(BATCH, -1)))
    torch.testing.assert_close(whole[:, kept], module(x[:, kept], mask=everything()), rtol=1e-9, atol=1e-10)


@sweep_with_masks()
def test_gradients_are_those_of_finite_differences(example: Example, kind: MaskKind) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)[:, :LENGTH].requires_grad_()
    probe = tokens(BATCH, LENGTH, example.config.dim, seed=9)
    (gradient,) = torch.autograd.grad((module(x, mask=kind.mask) * probe).sum(), x)
    direction = tokens(BATCH, LENGTH, example.config.dim, seed=10)
    with torch.no_grad():
        ahead, behind = (((module(x + s * direction, mask=kind.mask)) * probe).sum() for s in (1e-6, -1e-6))
    torch.testing.assert_close((gradient * direction).sum(), (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)


@sweep()
def test_gradcheck_of_input_and_every_weight(example: Example) -> None:
    module = built(example)
    x = tokens(2, 4, example.config.dim).requires_grad_()
    names = [name for name, _ in module.named_parameters()]
    mask = example.under(padding(torch.tensor([4, 2])))

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,), {"mask": mask})

    assert torch.autograd.gradcheck(run, (x, *(p.detach().requires_grad_() for p in module.parameters())), fast_mode=True)


@sweep()
@pytest.mark.parametrize("learns", [False, True])
def test_no_samples_and_no_tokens_are_answered_with_none(example: Example, learns: bool) -> None:
    module, dim = built(example), example.config.dim
    for shape in ((0, 9), (2, 0), (0, 0)):
        x = torch.zeros(*shape, dim, dtype=torch.float64)
        with torch.set_grad_enabled(learns):
            assert module(x, mask=example.plain).shape == x.shape
            assert module.weights(x, mask=example.plain).shape == (shape[0], example.config.n_heads, shape[1], shape[1])
            assert [one.values.shape for one in module.steps(x, mask=example.plain)][-1] == x.shape


@sweep()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_is_at_most_twice_that_of_plain_pytorch(example: Example, dtype: torch.dtype) -> None:
    exact, seen = built(example), torch.ones(BATCH, LENGTH, LENGTH, dtype=torch.bool)
    seen = (seen if example.causal == "cannot" else seen.tril())[:, None].expand(-1, example.config.n_heads, -1, -1)
    rounded = copy.deepcopy(exact).to(dtype)
    exact = copy.deepcopy(rounded).double()
    x = tokens(BATCH, LENGTH, example.config.dim).to(dtype)
    probe = tokens(BATCH, LENGTH, example.config.dim, seed=3).to(dtype)

    def run(module: Mechanism, x: Tensor, forward) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        output = forward(module, x)
        (gradient,) = torch.autograd.grad((output * probe.to(output.dtype)).sum(), x)
        return output.double(), gradient.double()

    def plain(module: Mechanism, x: Tensor) -> Tensor:
        return example.reference(module, x, seen)[0]

    truth = run(exact, x.double(), plain)
    theirs, ours = run(rounded, x, plain), run(rounded, x, lambda module, x: module(x, mask=example.plain))
    for times, one, two, right in zip((2.0, 3.0), ours, theirs, truth, strict=True):
        assert (one - right).norm() <= times * (two - right).norm() + 1e-12


@sweep()
def test_a_hidden_key_has_no_influence_bit_for_bit(example: Example) -> None:
    module = built(example).float()
    x = tokens(BATCH, LENGTH, example.config.dim, dtype=torch.float32)
    kept = torch.rand(BATCH, LENGTH, generator=torch.Generator().manual_seed(1)) > 0.4
    kept[2] = False
    found = []
    for filler in (0.0, 1e30, torch.nan, torch.inf):
        poisoned = torch.where(kept[..., None], x, filler).requires_grad_()
        output = module(poisoned, mask=example.under(keep_keys(kept)))
        module.zero_grad()
        output.square().sum().backward()
        found.append([output.detach(), *(p.grad.clone() for p in module.parameters() if p.grad is not None)])
        assert poisoned.grad is not None
        assert torch.equal(poisoned.grad[~kept], torch.zeros_like(poisoned.grad[~kept]))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@sweep()
def test_a_row_that_sees_nothing_gives_zero_and_no_gradient(example: Example) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        module = built(example).to(dtype).train()
        x = tokens(BATCH, LENGTH, example.config.dim, dtype=dtype).requires_grad_()
        output = module(x, mask=example.under(padding(torch.tensor([LENGTH, 0, 3]))))
        assert torch.equal(output[1], torch.zeros_like(output[1]))
        output.square().sum().backward()
        assert x.grad is not None
        assert torch.equal(x.grad[1], torch.zeros_like(x.grad[1]))
        assert bool(x.grad.isfinite().all())


@sweep()
def test_rows_of_weights_are_those_of_all_weights(example: Example) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    mask = example.under(padding(torch.tensor([LENGTH, 0, 3])))
    whole = module.weights(x, mask=mask)
    torch.testing.assert_close(module.weights(x, mask=mask, rows=[4, 0, -1]), whole[:, :, [4, 0, LENGTH - 1]])
    total = whole.sum(-1)
    assert torch.equal(total[1], torch.zeros_like(total[1]))
    if example.weights_sum:
        assert bool((total[[0, 2]] <= 1 + 1e-9).all())
        assert bool((total[0] > 0).all() and (total[2, :, :3] > 0).all())


@sweep()
def test_permuting_the_batch_permutes_the_output(example: Example) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    order, lengths = torch.tensor([2, 0, 1]), torch.tensor([LENGTH, 4, 6])
    expected = module(x, mask=example.under(padding(lengths)))[order]
    torch.testing.assert_close(module(x[order], mask=example.under(padding(lengths[order]))), expected)


@sweep()
def test_left_padding_is_right_padding(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 6, example.config.dim)
    empty, kept = torch.zeros(BATCH, 3, example.config.dim, dtype=x.dtype), torch.ones(BATCH, 9, dtype=torch.bool)
    left, right = kept.clone(), kept.clone()
    left[:, :3], right[:, 6:] = False, False
    on_left = module(torch.cat([empty, x], 1), mask=example.under(keep_keys(left)))[:, 3:]
    on_right = module(torch.cat([x, empty], 1), mask=example.under(keep_keys(right)))[:, :6]
    torch.testing.assert_close(on_left, on_right, rtol=1e-9, atol=1e-10)


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
def test_cross_attention_is_the_formula(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 5, example.config.dim)
    context = tokens(BATCH, CONTEXT, example.config.dim, seed=4)
    lengths = torch.tensor([CONTEXT, 3, 0])
    seen = (torch.arange(CONTEXT) < lengths[:, None])[:, None, None].expand(-1, example.config.n_heads, 5, -1)
    expected, weights = example.reference(module, x, seen, context)
    torch.testing.assert_close(module(x, mask=padding(lengths), context=context), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(module.weights(x, mask=padding(lengths), context=context), weights, rtol=1e-9, atol=1e-10)


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


@sweep()
def test_cost_is_what_the_module_has_and_does(example: Example) -> None:
    module = example.config.build()
    cost = example.config.cost(12, batch=2)
    assert cost.parameters == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(tokens(2, 12, example.config.dim, dtype=torch.float32), mask=example.under(everything()))
    assert abs(counter.get_total_flops() - cost.flops) <= 0.01 * cost.flops
    train = example.config.cost(12, batch=2, phase="train")
    x = tokens(2, 12, example.config.dim, dtype=torch.float32).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        module(x, mask=example.under(everything())).sum().backward()
    assert abs(counter.get_total_flops() - train.flops) <= 0.01 * train.flops
    assert train.causal_flops < train.flops or example.causal == "cannot"


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


@sweep(lambda example: example.caches and not example.is_ring)
def test_a_fixed_cache_refuses_what_does_not_fit_and_stays_as_it_was(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 8, example.config.dim)
    cache = module.new_cache(BATCH, mask=causal(), capacity=6)
    cache.extend(x[:, :5])
    with pytest.raises(AttentionError, match="7 tokens do not fit its fixed capacity of 6"):
        cache.extend(x[:, 5:7])
    torch.testing.assert_close(cache.extend(x[:, 5:6]), module(x[:, :6], mask=causal())[:, 5:], rtol=1e-8, atol=1e-9)


@caching
def test_a_cache_refuses_what_it_cannot_follow(example: Example) -> None:
    module = built(example)
    with pytest.raises(AttentionError, match="later ones"):
        module.new_cache(2, mask=everything())
    with pytest.raises(AttentionError, match="real="):
        module.new_cache(2, mask=causal() & padding(torch.tensor([3, 4])))
    with pytest.raises(AttentionError, match=r"expected \[2, new"):
        module.new_cache(2, mask=causal()).extend(tokens(3, 1, example.config.dim))


@sweep()
def test_training_mode_without_dropout_changes_nothing(example: Example) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    assert torch.equal(module.eval()(x, mask=example.plain), module.train()(x, mask=example.plain))


@sweep(lambda example: hasattr(example.config, "dropout"))
def test_dropout_drops_in_training_alone(example: Example) -> None:
    whole, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    dropping = replace(example.config, dropout=0.5).build().double()
    dropping.load_state_dict(whole.state_dict())
    expected = whole(x, mask=example.plain)
    assert torch.equal(dropping.eval()(x, mask=example.plain), expected)
    assert not torch.allclose(dropping.train()(x, mask=example.plain), expected)
    if example.caches:
        torch.testing.assert_close(dropping.new_cache(BATCH, mask=causal()).extend(x), whole(x, mask=causal()))


@sweep()
def test_saved_weights_make_the_same_mechanism(example: Example) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    other = example.config.build().double()
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x, mask=example.plain), module(x, mask=example.plain))


@sweep()
def test_what_ran_is_explained(example: Example) -> None:
    choices = built(example).explain(tokens(BATCH, LENGTH, example.config.dim), mask=example.plain)
    assert choices
    assert all(choice.core and choice.refused for choice in choices)


@sweep()
def test_compiles_into_one_graph(example: Example) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, mask=example.plain), module(x, mask=example.plain))


@sweep()
def test_wrong_shapes_are_refused(example: Example) -> None:
    module = built(example)
    with pytest.raises(AttentionError, match=rf"x: found shape .* expected \[batch, seq, {example.config.dim}\]"):
        module(tokens(2, 3, example.config.dim + 1), mask=example.plain)
    with pytest.raises(AttentionError, match="keep_keys: found bool of shape"):
        module(tokens(2, 3, example.config.dim), mask=example.under(keep_keys(torch.ones(2, 4, dtype=torch.bool))))
    with pytest.raises(AttentionError, match="batch of 1, expected 2" if example.cross else "found a context"):
        module(tokens(2, 3, example.config.dim), mask=everything(), context=tokens(1, 3, example.config.dim))


def test_names_are_translated_and_left_overs_refused() -> None:
    for example in EXAMPLES.values():
        kind = MECHANISMS[name_of(example.config)]
        assert isinstance(example.config, kind)
        settings = json.loads(json.dumps(settings_of(example.config)))
        assert config_from(name_of(example.config), settings) == example.config
    assert config_from("grouped", {"dim": 8, "n_heads": 2}) == replace(EXAMPLES["mha"].config, dim=8, n_heads=2)
    with pytest.raises(AttentionError, match="found 'flash', known are"):
        config_from("flash", {})
    with pytest.raises(AttentionError, match="unknown settings heads; it takes"):
        config_from("grouped", {"dim": 8, "n_heads": 2, "heads": 2})
    with pytest.raises(AttentionError, match="missing 1 required keyword-only argument: 'n_heads'"):
        config_from("grouped", {"dim": 8})
    with pytest.raises(AttentionError, match="position: found the name 'rope', known are alibi"):
        config_from("grouped", {"dim": 8, "n_heads": 2, "position": {"name": "rope"}})


def test_auxiliary_loss_is_a_number_that_can_be_added() -> None:
    for example in EXAMPLES.values():
        module: nn.Module = built(example)
        loss = module.auxiliary_loss(tokens(2, 5, example.config.dim), mask=example.plain)  # type: ignore[operator]
        assert loss.shape == ()
