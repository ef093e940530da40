"""What is peculiar to native sparse attention: one choice a group, gates, what is read, what is kept, what it costs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import attending.attention.block_choice as block_choice
import attending.attention.native_sparse as native_sparse
from attending.attention import (
    AlibiConfig,
    AttentionError,
    GroupedConfig,
    Mask,
    NativeSparseAttention,
    NativeSparseConfig,
    RotaryConfig,
    WindowedConfig,
    blocks,
    causal,
    documents,
    everything,
    keep_keys,
    padding,
    trace,
    window,
)
from attending.attention.native_sparse_shape import NativeSparseShape
from tests.attention.examples import tokens

SMALL: dict[str, Any] = {
    "dim": 16, "n_heads": 4, "n_kv_heads": 2, "run": 4, "stride": 2, "block": 4, "n_selected": 3, "n_local": 1, "before": 4,
}  # fmt: skip
MASKS = {
    "causal": causal(),
    "causal & window": causal() & window(9, 0),
    "both ways": window(6, 3),
    "documents": causal() & documents(torch.arange(50)[None].expand(2, -1) // 20),
    "padding": causal() & padding(torch.tensor([50, 23])),
    "holes": causal() & keep_keys(tokens(2, 50, seed=8) > -0.7),
    "holes and documents": keep_keys(tokens(2, 50, seed=8) > -0.7) & documents(torch.arange(50)[None].expand(2, -1) // 20),
}


def module_of(**changes: Any) -> NativeSparseAttention:
    torch.manual_seed(0)
    module = NativeSparseConfig(**(SMALL | changes)).build().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


def gated(module: NativeSparseAttention, branch: int) -> NativeSparseAttention:
    """The same with one gate open and the others shut."""
    with torch.no_grad():
        module.gate.weight.zero_()
        module.gate.bias.fill_(-1e4)
        module.gate.bias.view(3, -1)[branch] = 1e4
    return module


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("n_query_few", [4, 100])
def test_reading_the_picked_gives_what_hiding_the_others_gives(
    name: str, n_query_few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few queries read keys where they lie, many copy blocks of them; in training neither happens."""
    module, x = module_of(position=RotaryConfig()), tokens(2, 50, 16)
    hidden = module(x, mask=MASKS[name]).detach()
    monkeypatch.setattr(native_sparse, "FEW_QUERIES", n_query_few)
    monkeypatch.setattr(block_choice, "_COPIED_AT_ONCE", 3000)
    monkeypatch.setattr(NativeSparseShape, "gathers", lambda self, n_query, n_key: self.n_selected * self.block < n_key)
    with torch.no_grad():
        torch.testing.assert_close(module(x, mask=MASKS[name]), hidden, rtol=1e-10, atol=1e-11)
        choices = module.explain(x, mask=MASKS[name])
    assert {"compressed", "gathered"} <= {choice.core for choice in choices}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("learns", [True, False])
def test_a_few_rows_at_a_time_change_nothing(name: str, learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = module_of(), tokens(2, 50, 16).requires_grad_(learns)
    monkeypatch.setattr(NativeSparseShape, "gathers", lambda self, n_query, n_key: n_key > 30)
    results = []
    for held in (1 << 20, 3000):
        monkeypatch.setattr(native_sparse, "_HELD_AT_ONCE", held)
        with torch.set_grad_enabled(learns):
            output = module(x, mask=MASKS[name])
            results.append([output, *(torch.autograd.grad(output.square().sum(), [x, *module.parameters()]) if learns else ())])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)


def test_holes_among_documents_are_absence() -> None:
    """Where rules look places up, runs and blocks still count what is there."""
    module, x, kept = module_of(position=RotaryConfig()), tokens(1, 50, 16), tokens(1, 50, seed=8) > -0.7
    ids = torch.arange(50)[None] // 20
    short = module(x[:, kept[0]], mask=documents(ids[:, kept[0]]))
    for mask in (keep_keys(kept) & documents(ids), documents(ids) & keep_keys(kept)):
        torch.testing.assert_close(module(x, mask=mask)[:, kept[0]], short, rtol=1e-10, atol=1e-11)
        weights = module.weights(x, mask=mask)[:, :, kept[0]]
        assert torch.equal(weights[..., ~kept[0]], torch.zeros_like(weights[..., ~kept[0]]))


def test_what_one_document_holds_never_reaches_another() -> None:
    """A run across the border mixes both, and is seen by neither."""
    module, x, ids = module_of(stride=1), tokens(1, 21, 16), torch.tensor([[0] * 10 + [1] * 11])
    whole = module(x, mask=documents(ids))
    moved = torch.cat([x[:, :10] + 1.0, x[:, 10:]], dim=1)
    assert torch.equal(module(moved, mask=documents(ids))[:, 10:], whole[:, 10:])


def test_a_run_is_seen_from_its_last_token_on() -> None:
    found = trace(module_of(), tokens(1, 11, 16), causal())["masked compressed scores"] > -torch.inf
    for run in range(4):
        assert found[0, 0, :, run].tolist() == [query >= 2 * run + 3 for query in range(11)]


def test_heads_of_a_group_share_one_choice_and_groups_choose_for_themselves() -> None:
    module, x = module_of(n_selected=4), tokens(1, 60, 16) * 3
    found = trace(module, x, causal())
    picked = found["picked"]
    assert picked.shape == (1, 2, 60, 15)
    assert not torch.equal(picked[:, 0], picked[:, 1])
    assert torch.equal(picked.sum(-1), (torch.arange(60) // 4 + 1).clamp(max=4).expand(1, 2, -1))
    assert bool(picked[..., 0].all())
    assert bool(picked.gather(3, (torch.arange(60) // 4).expand(1, 2, -1)[..., None]).all())
    read = (found["selected weights"] > 0).unflatten(3, (15, 4)).any(-1)
    assert torch.equal(read, picked.repeat_interleave(2, dim=1))
    summed = found["compressed weights"].unflatten(1, (2, 2)).sum(2)
    overlap = torch.tensor(
        [[len({*range(2 * i, 2 * i + 4)} & {*range(4 * j, 4 * j + 4)}) / 2 for j in range(15)] for i in range(29)]
    )
    torch.testing.assert_close(found["importance"], summed @ overlap.double())


def as_grouped(module: NativeSparseAttention, config: Any, prefix: str) -> torch.nn.Module:
    """A mechanism of one branch, with its projections."""
    other = config.build().double()
    for name, of in (("query", "query"), ("output", "output"), ("key", f"{prefix}key"), ("value", f"{prefix}value")):
        getattr(other, name).load_state_dict(getattr(module, of).state_dict())
    return other


@pytest.mark.parametrize("position", [None, RotaryConfig()])
def test_with_all_blocks_picked_the_selected_branch_is_grouped_attention(position: RotaryConfig | None) -> None:
    module, x = gated(module_of(n_selected=10, position=position), 1), tokens(2, 39, 16)
    whole = as_grouped(module, GroupedConfig(dim=16, n_heads=4, n_kv_heads=2, position=position), "")
    torch.testing.assert_close(module(x, mask=causal()), whole(x, mask=causal()), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(module.weights(x, mask=causal()), whole.weights(x, mask=causal()), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("position", [None, RotaryConfig()])
def test_the_window_branch_is_windowed_attention(position: RotaryConfig | None) -> None:
    module, x = gated(module_of(position=position, after=2), 2), tokens(2, 300, 16)
    near = as_grouped(module, WindowedConfig(dim=16, n_heads=4, n_kv_heads=2, before=4, after=2, position=position), "window_")
    for mask in (causal(), everything()):
        torch.testing.assert_close(module(x, mask=mask), near(x, mask=mask), rtol=1e-10, atol=1e-11)


def test_runs_of_one_token_are_keys_through_a_small_network() -> None:
    module, x = gated(module_of(run=1, stride=1), 0), tokens(2, 30, 16)
    pooled = [
        pooling.outer(torch.nn.functional.silu(pooling.inner(layer(x).unflatten(-1, (2, 4)).transpose(1, 2) + pooling.place)))
        for pooling, layer in ((module.key_pooling, module.run_key), (module.value_pooling, module.run_value))
    ]
    k, v = (heads.repeat_interleave(2, dim=1) for heads in pooled)
    q = module.query(x).unflatten(-1, (4, 4)).transpose(1, 2)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(module(x, mask=causal()), module.output(expected.transpose(1, 2).flatten(2)))


def test_gates_are_sigmoids_of_the_token_for_each_branch_and_head() -> None:
    module, x = module_of(), tokens(2, 20, 16)
    found = trace(module, x, causal())
    gates = torch.sigmoid(x @ module.gate.weight.T + module.gate.bias).unflatten(-1, (3, 4)).permute(2, 0, 3, 1)
    torch.testing.assert_close(found["gates"], gates)
    parts = [
        gate[..., None] * found[f"{name} heads"] for gate, name in zip(gates, ("compressed", "selected", "window"), strict=True)
    ]
    torch.testing.assert_close(found["heads"], sum(parts))


def test_picking_has_no_gradient_and_every_weight_has() -> None:
    module = module_of()
    module(tokens(2, 40, 16), mask=causal()).square().sum().backward()
    assert all(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in module.parameters())
    gated(module, 1).zero_grad()
    module(tokens(2, 40, 16), mask=causal()).square().sum().backward()
    assert torch.equal(module.run_key.weight.grad, torch.zeros_like(module.run_key.weight))
    assert bool((module.key.weight.grad != 0).any())


@torch.no_grad()
def test_a_step_reads_the_picked_blocks_and_the_window_and_nothing_else() -> None:
    module, x = module_of(), tokens(1, 61, 16)
    expected = module(x, mask=causal())[:, -1:]
    cache: Any = module.new_cache(1, mask=causal())
    cache.extend(x[:, :60])
    picked = trace(module, x, causal())["picked"][0, :, -1].repeat_interleave(4, dim=-1)[:, :60]
    assert 0 < int(picked.sum()) < picked.numel() // 2
    for name in ("key", "value"):
        held = cache._memory.buffers[name].tensors[0]
        held[:, :, :60] = torch.where(picked[None, ..., None], held[:, :, :60], torch.nan)
    torch.testing.assert_close(cache.extend(x[:, 60:]), expected, rtol=1e-10, atol=1e-11)


@torch.no_grad()
def test_a_step_of_whole_numbers_converts_the_picked_blocks_alone() -> None:
    """Whole numbers made into others are counted; the scales of what is not picked are spoilt, and nobody notices."""
    module, x = module_of(), tokens(1, 61, 16)
    steps, converted = [], []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._to_copy.default and args[0].dtype == torch.int8:
                converted.append(args[0].numel())
            return func(*args, **(kwargs or {}))

    for spoils in (False, True):
        cache: Any = module.new_cache(1, mask=causal(), dtype=torch.int8)
        cache.extend(x[:, :60])
        if spoils:
            picked = trace(module, x, causal())["picked"][0, :, -1].repeat_interleave(4, dim=-1)[:, :60]
            assert 0 < int(picked.sum()) < picked.numel() // 2
            for name in ("key", "value"):
                scale = cache._memory.buffers[name].tensors[1]
                scale[:, :, :60] = torch.where(picked[None, ..., None], scale[:, :, :60], torch.nan)
        with Watch():
            steps.append(cache.extend(x[:, 60:]))
    # 3 blocks of 4 tokens, a window of 5, 29 runs and the last run's 4 tokens: keys and values of 2 heads of 4 numbers
    assert sum(converted) == 2 * (12 + 5 + 29 + 4) * 2 * 2 * 4
    torch.testing.assert_close(steps[1], steps[0], rtol=1e-12, atol=1e-12)
    expected = module(x, mask=causal())[:, -1:]
    assert 0.0 < (steps[0] - expected).norm() < 0.02 * expected.norm()


def test_the_cache_holds_tokens_runs_a_window_and_what_waits_by_hand() -> None:
    cache = module_of().new_cache(2, mask=causal())
    cache.extend(tokens(2, 30, 16))
    # 30 tokens, 14 runs, 5 of the window and 4 of the last run: keys and values of 2 heads of 4 numbers of 8 bytes
    assert cache.nbytes_used == 2 * (30 + 14 + 5 + 4) * 2 * 2 * 4 * 8
    assert cache.nbytes_allocated == 2 * (32 + 16 + 5 + 4) * 2 * 2 * 4 * 8
    assert module_of().config.cost(30, batch=2, dtype="float64").cache.used == cache.nbytes_used


@torch.no_grad()
def test_what_a_ring_has_let_go_is_not_cropped_to_and_nothing_changes() -> None:
    module, x = module_of(before=1, run=6, stride=2), tokens(1, 40, 16)
    cache = module.new_cache(1, mask=causal())
    cache.extend(x[:, :30])
    with pytest.raises(AttentionError, match=r"crop: sample 0 to 20 tokens .*larger capacity="):
        cache.crop(20)
    cache.crop(29)
    torch.testing.assert_close(cache.extend(x[:, 29:]), module(x, mask=causal())[:, 29:], rtol=1e-9, atol=1e-11)


@torch.no_grad()
@given(cut=st.integers(0, 40), again=st.integers(1, 24), ragged=st.booleans())
@settings(max_examples=12, deadline=None)
def test_with_a_capacity_crop_goes_back_anywhere(cut: int, again: int, ragged: bool) -> None:
    module, x, other = module_of(), tokens(2, 40, 16), tokens(2, 24, 16, seed=3)
    cache = module.new_cache(2, mask=causal(), capacity=64)
    cache.extend(x, real=torch.arange(40) < torch.tensor([[40], [27 if ragged else 40]]))
    lengths = torch.tensor([cut, min(cut, 9)]) if ragged else torch.tensor([cut, cut])
    cache.crop(lengths)
    found = cache.extend(other[:, :again])
    for sample, length in enumerate(lengths.tolist()):
        own = torch.cat([x[sample, :length], other[sample, :again]])[None]
        torch.testing.assert_close(found[sample], module(own, mask=causal())[0, length:], rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_a_fixed_cache_refuses_what_does_not_fit_and_stays_as_it_was() -> None:
    for capacity in (3, 6):  # shorter than the window, too
        module, x = module_of(), tokens(2, capacity + 2, 16)
        cache = module.new_cache(2, mask=causal(), capacity=capacity)
        cache.extend(x[:, : capacity - 1])
        with pytest.raises(AttentionError, match=f"{capacity + 1} tokens do not fit its fixed capacity of {capacity}"):
            cache.extend(x[:, capacity - 1 : capacity + 1])
        torch.testing.assert_close(
            cache.extend(x[:, capacity - 1 : capacity]), module(x[:, :capacity], mask=causal())[:, -1:], rtol=1e-9, atol=1e-11
        )


@torch.no_grad()
@pytest.mark.parametrize("name", ["causal & window", "documents"])
def test_rules_of_every_kind_hold_in_a_cache(name: str) -> None:
    module, x = module_of(position=RotaryConfig()), tokens(2, 50, 16)
    cache = module.new_cache(2, mask=MASKS[name])
    parts = [cache.extend(part) for part in x.split([17, 1, 1, 9, 1, 20, 1], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), module(x, mask=MASKS[name]), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("phase", ["prefill", "decode", "train"])
def test_flops_are_those_counted_at_every_length(phase: Any) -> None:
    """Whether a step ends a run, and whether picked blocks are read alone, changes from length to length."""
    config = replace(module_of().config, n_selected=2)
    module = config.build()
    for length in (1, 3, 4, 5, 8, 9, 12, 25, 57, 130):
        x = tokens(1, length, 16, dtype=torch.float32)
        cache = module.new_cache(1, mask=causal())
        cache.extend(x[:, :-1])
        calls: dict[str, Callable[[], Tensor]] = {
            "prefill": lambda x=x: torch.no_grad()(module)(x, mask=everything()),
            "decode": lambda x=x, cache=cache: cache.extend(x[:, -1:]),
            "train": lambda x=x: module(x.clone().requires_grad_(), mask=everything()).sum().backward(),
        }
        with FlopCounterMode(display=False) as counter:
            calls[phase]()
        cost = config.cost(length, phase=phase)
        assert abs(counter.get_total_flops() - cost.flops) <= 0.01 * cost.flops, length


@pytest.mark.parametrize("length", [1, 4, 7, 12, 13, 40, 61])
def test_causal_pairs_are_those_that_a_mask_shows(length: int) -> None:
    config, heads = module_of().config, 4 * 4
    found = trace(config.build(), tokens(1, length, 16, dtype=torch.float32), causal())
    shown = sum(int((found[f"masked {name} scores"][0] > -torch.inf).sum()) for name in ("compressed", "selected", "window"))
    for less, cost in ((0, config.cost(length)), (1, config.cost(length, phase="decode"))):
        pairs = (
            shown
            if not less
            else sum(
                int((found[f"masked {name} scores"][0, :, -1] > -torch.inf).sum())
                for name in ("compressed", "selected", "window")
            )
        )
        rows, made = (
            (length, config.runs.whole(length)) if not less else (1, config.runs.whole(length) - config.runs.whole(length - 1))
        )
        products = rows * 16 * (2 * heads + 6 * 8 + 12) + made * 2 * 2 * (4 * 4 * 4 + 4 * 4)
        assert cost.causal_flops == 2 * (products + pairs * 2 * 4)


def test_what_a_step_costs_grows_by_its_runs_alone() -> None:
    config = NativeSparseConfig(dim=512, n_heads=8, n_kv_heads=2)
    near, far = (config.cost(length, phase="decode") for length in (1 << 14, 1 << 15))
    assert far.flops - near.flops == 2 * (1 << 14) // 16 * 2 * 512
    assert far.unread_bytes - near.unread_bytes == (1 << 14) * 2 * 2 * 64 * 4
    assert config.cost(1000, phase="decode").unread_bytes == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stride": 5}, "runs of 4 tokens every 5; expected a stride of 1 to 4"),
        ({"n_local": 0}, "n_local=0"),
        ({"before": -1}, "before=-1"),
        ({"pool_dim": 0}, "pool_dim=0"),
        ({"n_first": 3}, r"n_selected: found 3, expected at least n_first \+ n_local = 4"),
        ({"position": AlibiConfig()}, "found AlibiConfig, which adds to the scores of tokens"),
    ],
)
def test_settings_that_make_no_mechanism_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(AttentionError, match=told):
        NativeSparseConfig(**(SMALL | changes))


def test_what_it_cannot_do_is_refused_with_what_to_write_instead() -> None:
    module, x = module_of(), tokens(2, 8, 16)
    with pytest.raises(AttentionError, match=r"a context.*take grouped or latent"):
        module(x, mask=everything(), context=x)
    with pytest.raises(AttentionError, match=r"a context.*take grouped or latent"):
        module.new_cache(2, mask=everything(), context=x)
    with pytest.raises(AttentionError, match=r"a bias over single keys.*write bias=None"):
        module(x, mask=causal(), bias=torch.zeros(1, 1, 8, 8))
    by_head: Mask = blocks(torch.ones(4, 2, 2, dtype=torch.bool), size=4)
    with pytest.raises(AttentionError, match=r"a mask for 4 heads.*one mask for all heads"):
        module(x, mask=by_head)
