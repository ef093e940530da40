"""The contract, swept over the catalog: what every mechanism must do, whatever it is. That of caches has a file of its own.

Nothing here knows a mechanism by name. What is peculiar to one lies in its own file.
"""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import (
    MECHANISMS,
    AttentionError,
    Mechanism,
    causal,
    config_from,
    drop,
    everything,
    keep,
    keep_keys,
    name_of,
    padding,
    settings_of,
)
from tests.attention.examples import BATCH, CONTEXT, EXAMPLES, LENGTH, MASKS, Example, MaskKind, tokens
from tests.attention.sweeps import built, crossing, sweep, sweep_with_masks


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


@sweep(lambda example: not example.masks or "keep" in example.masks)
def test_what_no_row_may_see_does_not_reach_the_others(example: Example) -> None:
    """Hidden from every row by a rule over pairs, a token is still there to ask: its own row is spoilt, and no other."""
    module = built(example).float()
    x, others = tokens(BATCH, LENGTH, example.config.dim, dtype=torch.float32), torch.arange(LENGTH) != 4
    for mask in (example.under(drop((~others).expand(LENGTH, -1))), causal() & keep(others.expand(LENGTH, -1))):
        found = [
            module(torch.where(others[:, None], x, filler), mask=mask)[:, others]
            for filler in (0.0, 1e30, torch.nan, torch.inf)
        ]
        assert all(torch.equal(found[0], other) for other in found[1:])


@crossing
def test_what_no_row_may_see_of_a_context_has_no_influence_bit_for_bit(example: Example) -> None:
    module, hides = built(example).float(), torch.zeros(BATCH, 5, CONTEXT, dtype=torch.bool)
    hides[:, :, 2], hides[1, :, 5] = True, True
    mask = padding(torch.tensor([6, 6, 3])) if example.masks else drop(hides)
    unseen = torch.arange(CONTEXT) >= torch.tensor([[6], [6], [3]]) if example.masks else hides.all(dim=1)
    x = tokens(BATCH, 5, example.config.dim, dtype=torch.float32)
    context = tokens(BATCH, CONTEXT, getattr(example.config, "source_dim", example.config.dim), seed=4, dtype=torch.float32)
    found = []
    for filler in (0.0, 1e30, torch.nan, torch.inf):
        poisoned = torch.where(unseen[..., None], filler, context).requires_grad_()
        output = module(x, mask=mask, context=poisoned)
        gradients = torch.autograd.grad(output.square().sum(), [poisoned, *module.parameters()], allow_unused=True)
        assert torch.equal(gradients[0][unseen], torch.zeros_like(gradients[0][unseen]))
        found.append([output.detach(), *(one for one in gradients if one is not None)])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@sweep()
@pytest.mark.parametrize("learns", [True, False])
def test_a_row_that_sees_nothing_gives_zero_and_no_gradient(example: Example, learns: bool) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        module = built(example).to(dtype).train(learns)
        x = tokens(BATCH, LENGTH, example.config.dim, dtype=dtype).requires_grad_()
        mask = example.under(padding(torch.tensor([LENGTH, 0, 3])))
        output = module(x, mask=mask)
        assert torch.equal(output[1], torch.zeros_like(output[1]))
        with torch.no_grad():
            assert torch.equal(module(x, mask=mask)[1], torch.zeros_like(output[1]))
        output.float().square().sum().backward()
        assert x.grad is not None
        assert torch.equal(x.grad[1], torch.zeros_like(x.grad[1]))
        assert bool(x.grad.isfinite().all())


@sweep(lambda example: not example.masks or "keep" in example.masks)
def test_a_row_that_sees_nothing_among_others_gives_zero(example: Example) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim).requires_grad_()
    pairs = torch.ones(LENGTH, LENGTH, dtype=torch.bool)
    pairs[6] = False
    output = module(x, mask=causal() & keep(pairs))
    assert torch.equal(output[:, 6], torch.zeros_like(output[:, 6]))
    (gradient,) = torch.autograd.grad(output[:, 6].sum(), x)
    assert torch.equal(gradient, torch.zeros_like(gradient))


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


@crossing
def test_cross_attention_is_the_formula(example: Example) -> None:
    module, x = built(example), tokens(BATCH, 5, example.config.dim)
    context = tokens(BATCH, CONTEXT, example.config.dim, seed=4)
    lengths = torch.tensor([CONTEXT, 3, 0])
    seen = (torch.arange(CONTEXT) < lengths[:, None])[:, None, None].expand(-1, example.config.n_heads, 5, -1)
    expected, weights = example.reference(module, x, seen, context)
    torch.testing.assert_close(module(x, mask=padding(lengths), context=context), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(module.weights(x, mask=padding(lengths), context=context), weights, rtol=1e-9, atol=1e-10)


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
