"""What is peculiar to windows with global tokens."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import (
    AlibiConfig,
    AttentionError,
    GroupedConfig,
    LearnedConfig,
    Mask,
    RelativeBiasConfig,
    RotaryConfig,
    WindowedAttention,
    WindowedConfig,
    causal,
    documents,
    everything,
    keep_keys,
    padding,
    window,
)
from attending.attention.windowed_shape import WindowedShape
from tests.attention import references
from tests.attention.examples import tokens


def built(config: WindowedConfig) -> WindowedAttention:
    torch.manual_seed(0)
    module = config.build().double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 20), more=st.integers(0, 3), position=st.sampled_from([None, RotaryConfig(), AlibiConfig()]))
def test_a_window_as_long_as_the_text_is_causal_attention(length: int, more: int, position: RotaryConfig | None) -> None:
    plain = GroupedConfig(dim=16, n_heads=2, position=position).build().double()
    for n_global in (0, 2):
        module = (
            WindowedConfig(dim=16, n_heads=2, before=length - 1 + more, n_global=n_global, position=position).build().double()
        )
        own = {name.replace("global_", ""): value for name, value in plain.state_dict().items()}
        module.load_state_dict({name: own[name.replace("global_", "")] for name in module.state_dict()})
        x = tokens(2, length, 16)
        torch.testing.assert_close(module(x, mask=causal()), plain(x, mask=causal()))


def test_global_projections_start_as_copies_of_the_ordinary_ones() -> None:
    module = WindowedConfig(dim=16, n_heads=2, before=2, n_global=1, bias=True).build()
    for name in ("query", "key", "value"):
        ordinary, own = getattr(module, name), getattr(module, f"global_{name}")
        assert torch.equal(ordinary.weight, own.weight)
        assert torch.equal(ordinary.bias, own.bias)
        assert ordinary.weight.data_ptr() != own.weight.data_ptr()


def test_weights_worked_by_hand() -> None:
    module = built(WindowedConfig(dim=4, n_heads=1, before=1, n_global=1))
    with torch.no_grad():
        module.query.weight.zero_()
        module.global_query.weight.zero_()
    third = 1 / 3
    expected = torch.tensor(
        [[1.0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [third] * 3 + [0, 0], [third, 0, third, third, 0], [third, 0, 0, third, third]]
    )
    torch.testing.assert_close(module.weights(tokens(1, 5, 4), mask=causal())[0, 0], expected.double())
    first_sees_all = module.weights(tokens(1, 5, 4), mask=everything())[0, 0, 0]
    torch.testing.assert_close(first_sees_all, torch.full((5,), 0.2, dtype=torch.float64))


def test_only_rows_of_global_tokens_go_through_their_projections() -> None:
    module, x = built(WindowedConfig(dim=16, n_heads=2, before=1, n_global=2)), tokens(2, 8, 16)
    before = module(x, mask=everything())
    with torch.no_grad():
        for layer in (module.global_query, module.global_key, module.global_value):
            layer.weight.mul_(-2.0)
    changed = (module(x, mask=everything()) - before).abs().amax(-1) > 1e-6
    assert changed.tolist() == [[True] * 2 + [False] * 6] * 2
    with torch.no_grad():
        for layer in (module.query, module.key, module.value):
            layer.weight.mul_(-2.0)
    changed = (module(x, mask=everything()) - before).abs().amax(-1) > 1e-6
    assert bool(changed[:, 2:].all())


@pytest.mark.parametrize("n_global", [0, 3])
@pytest.mark.parametrize("position", [None, RotaryConfig(), RelativeBiasConfig(n_buckets=8, max_distance=20)])
def test_long_sequences_go_in_bands_and_are_still_the_square(n_global: int, position: RotaryConfig | None) -> None:
    config = WindowedConfig(
        dim=16,
        n_heads=2,
        n_kv_heads=1,
        before=70,
        after=9,
        n_global=n_global,
        position=position,
        output_bias=True,
        dropout=1e-30,
    )
    module, x = built(config), tokens(2, 600, 16)
    kept = torch.rand(2, 600, generator=torch.Generator().manual_seed(2)) > 0.5
    for mask in (everything(), causal() & padding(torch.tensor([600, 250])), causal() & keep_keys(kept)):
        weights = module.weights(x, mask=mask)
        values = module._heads(module.value, x).repeat_interleave(2, 1)
        heads = weights @ values
        if n_global:
            own = module._heads(module.global_value, x).repeat_interleave(2, 1)
            exists = torch.ones(2, 600, dtype=torch.bool)
            if mask.rules:
                exists = (
                    kept
                    if mask.rules[-1].__class__.__name__ == "KeepKeys"
                    else torch.arange(600) < torch.tensor([[600], [250]])
                )
            is_global = exists & (exists.cumsum(1) <= n_global)
            heads = torch.where(is_global[:, None, :, None], weights @ own, heads)
        expected = module.output(heads.transpose(1, 2).flatten(2))
        alive = weights.sum(-1).sum(1) > 0
        compared = (
            kept if mask.rules and mask.rules[-1].__class__.__name__ == "KeepKeys" else torch.ones(2, 600, dtype=torch.bool)
        )
        expected = torch.where(alive[..., None], expected, 0.0)
        for is_training, learns in ((True, True), (False, True), (False, False)):
            with torch.set_grad_enabled(learns):
                found = module.train(is_training)(x, mask=mask)
            torch.testing.assert_close(found[compared], expected[compared], rtol=1e-8, atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(chosen=st.lists(st.integers(0, 8), max_size=5), empty=st.booleans())
def test_any_tokens_can_be_global(chosen: list[int], empty: bool) -> None:
    module, x = built(WindowedConfig(dim=16, n_heads=2, before=1, after=1, n_global=1)), tokens(2, 9, 16)
    is_global = torch.zeros(2, 9, dtype=torch.bool)
    is_global[0, chosen] = True
    is_global[1, 4] = not empty
    seen = torch.ones(2, 2, 9, 9, dtype=torch.bool)
    output, weights = references.windowed(module, x, seen, is_global=is_global)
    for learns in (True, False):  # without gradients rows are written in their place
        with torch.set_grad_enabled(learns):
            torch.testing.assert_close(module(x, mask=everything(), global_tokens=is_global), output)
    torch.testing.assert_close(module.weights(x, mask=everything(), global_tokens=is_global), weights)


@pytest.mark.parametrize("n_global", [0, 2])
def test_products_grow_with_length_and_not_with_its_square(n_global: int) -> None:
    config = WindowedConfig(dim=16, n_heads=2, before=100, n_global=n_global, dropout=0.1)
    counted = []
    for length in (1024, 2048, 4096):
        module = config.build().train()
        with FlopCounterMode(display=False) as counter:
            module(tokens(1, length, 16, dtype=torch.float32).requires_grad_(), mask=causal()).sum().backward()
        counted.append(counter.get_total_flops())
        assert abs(counted[-1] - config.cost(length, phase="train").flops) <= 0.01 * counted[-1]
    # A straight line: twice as many tokens more cost exactly twice as much more.
    assert counted[2] - counted[1] == 2 * (counted[1] - counted[0])


def test_training_in_bands_gives_the_gradients_of_the_square() -> None:
    config = WindowedConfig(dim=8, n_heads=2, before=40, after=3, n_global=1, dropout=1e-30)
    module, x = built(config).train(), tokens(1, 300, 8).requires_grad_()
    square = module.weights(x, mask=causal())
    ordinary, own = (square @ module._heads(layer, x) for layer in (module.value, module.global_value))
    heads = torch.cat([own[:, :, :1], ordinary[:, :, 1:]], 2)
    probe = tokens(1, 300, 8, seed=4)
    expected = torch.autograd.grad((module.output(heads.transpose(1, 2).flatten(2)) * probe).sum(), x)
    found = torch.autograd.grad((module(x, mask=causal()) * probe).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("n_global", [0, 2])
def test_holes_with_rules_that_cannot_be_moved_together_are_followed(n_global: int) -> None:
    """A bias keeps the tokens where they are, and a window then reaches over the holes."""
    module, x = built(WindowedConfig(dim=8, n_heads=2, before=30, after=5, n_global=n_global)), tokens(2, 400, 8)
    kept = torch.rand(2, 400, generator=torch.Generator().manual_seed(3)) > 0.6
    moved = module(x, mask=keep_keys(kept))
    assert not bool(moved[~kept].any())
    for is_training in (True, False):
        left = module.train(is_training)(
            x, mask=keep_keys(kept), bias=torch.zeros(1, 1, 1, 1, dtype=x.dtype, requires_grad=True)
        )
        torch.testing.assert_close(left[kept], moved[kept], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("length", [3, 9, 40])
@pytest.mark.parametrize("n_global", [0, 2])
def test_pairs_that_are_seen_are_counted(length: int, n_global: int) -> None:
    config = WindowedConfig(dim=16, n_heads=2, before=4, n_global=n_global)
    seen = built(config).weights(tokens(1, length, 16), mask=causal())[0, 0] > 0
    rows, own = min(n_global, length), int(seen[:n_global].sum())
    # Rows of global tokens are computed twice: as ordinary ones, which are written over, and as their own.
    ordinary = int(seen[n_global:].sum()) + sum(min(row, 4) + 1 for row in range(rows))
    assert rows == 0 or config.why_not_absorbed(rows, length) == ""
    # A pair is 2 products of 8 numbers in each of 2 heads; absorbed, of 16 numbers.
    linear = config.cost(length).flops - 2 * (32 * (length**2 + length * rows) + 64 * length * rows)
    assert config.cost(length).causal_flops == linear + 2 * (32 * ordinary + 64 * own)


def test_the_ring_holds_the_window_and_the_global_tokens_and_no_more() -> None:
    config = WindowedConfig(dim=16, n_heads=2, before=3, n_global=2)
    module, x = built(config), tokens(2, 40, 16)
    cache, expected = module.new_cache(2, mask=causal()), module(x, mask=causal())
    held = []
    for step in range(40):
        torch.testing.assert_close(cache.extend(x[:, step : step + 1])[:, 0], expected[:, step], rtol=1e-8, atol=1e-9)
        held.append((cache.nbytes_used, cache.nbytes_allocated))
    assert len(set(held[4:])) == 1
    assert held[-1] == (2 * 8 * (4 * 2 * 16 + 2 * 4 * 16),) * 2


def test_a_ring_goes_back_as_far_as_it_was_made_for() -> None:
    module, x = built(WindowedConfig(dim=16, n_heads=2, before=3, n_global=1)), tokens(1, 12, 16)
    cache = module.new_cache(1, mask=causal())
    cache.extend(x)
    with pytest.raises(AttentionError, match="make the cache with a larger capacity="):
        cache.crop(6)
    cache = module.new_cache(1, mask=causal(), capacity=10)
    cache.extend(x)
    cache.crop(6)
    torch.testing.assert_close(cache.extend(x[:, 6:]), module(x, mask=causal())[:, 6:], rtol=1e-8, atol=1e-9)


def test_a_cache_goes_back_to_before_a_global_token() -> None:
    module, x = built(WindowedConfig(dim=16, n_heads=2, before=3, n_global=3)), tokens(2, 9, 16)
    cache = module.new_cache(2, mask=causal(), capacity=10)
    cache.extend(x[:, :5])
    cache.crop(torch.tensor([1, 5]))
    found, expected = cache.extend(x[:, 5:]), torch.cat([x[:1, :1], x[:1, 5:]], 1)
    torch.testing.assert_close(found[0], module(expected, mask=causal())[0, 1:], rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(found[1], module(x, mask=causal())[1, 5:], rtol=1e-8, atol=1e-9)


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(AttentionError, match="before=-1, after=0, n_global=0; all count tokens"):
        WindowedConfig(dim=16, n_heads=2, before=-1)
    module, x = WindowedConfig(dim=16, n_heads=2, before=2).build(), torch.zeros(1, 4, 16)
    with pytest.raises(AttentionError, match="for cross-attention take grouped"):
        module(x, mask=everything(), context=x)
    with pytest.raises(AttentionError, match="build it with n_global=1 or more"):
        module(x, mask=everything(), global_tokens=torch.ones(1, 4, dtype=torch.bool))
    module = WindowedConfig(dim=16, n_heads=2, before=2, n_global=1).build()
    with pytest.raises(AttentionError, match=r"found int64 of shape \(4,\), expected boolean \(1, 4\)"):
        module(x, mask=everything(), global_tokens=torch.ones(4, dtype=torch.long))


def test_a_window_of_the_caller_narrows_that_of_the_layer() -> None:
    module, x = built(WindowedConfig(dim=16, n_heads=2, before=5, n_global=1)), tokens(2, 9, 16)
    seen = module.weights(x, mask=causal() & window(2, 0)) > 0
    place = torch.arange(9)
    distance = place[:, None] - place
    assert torch.equal(seen, ((distance >= 0) & (distance <= 2)).expand_as(seen))


MASKS: dict[str, Mask] = {
    "everything": everything(),
    "causal": causal(),
    "padding, a sample of none": padding(torch.tensor([9, 0, 4])),
    "holes": causal() & keep_keys(tokens(3, 9, seed=8) > -0.5),
    "documents": documents(torch.tensor([[0] * 3 + [1] * 6])),
}
POSITIONS = {
    "none": None,
    "alibi": AlibiConfig(),
    "learned": LearnedConfig(length=9),
    "relative": RelativeBiasConfig(n_buckets=4),
}


def gradients_of(module: WindowedAttention, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    probe = tokens(*output.shape, seed=3)
    return torch.autograd.grad((output * probe).sum(), [x, *module.parameters()])


def expanding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WindowedShape, "why_not_absorbed", lambda self, n_rows, n_key: "it is held against absorbing")


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_rows_that_meet_the_tokens_answer_as_over_keys_and_values(
    mask: str, position: str, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output and all gradients, also where heads share keys, weights are dropped and each head has a bias of its own."""
    config = WindowedConfig(
        dim=16, n_heads=4, n_kv_heads=2, before=2, after=1, n_global=2, bias=bias, position=POSITIONS[position], dropout=0.4
    )
    module, x = built(config).train(), tokens(3, 9, 16).requires_grad_()
    added = None if mask == "holes" else tokens(3, 4, 9, 9, seed=6)
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        output = module(x, mask=MASKS[mask], bias=added)
        found.append([output, *gradients_of(module, output, x)])
        expanding(monkeypatch)
    for absorbed, expanded in zip(*found, strict=True):
        torch.testing.assert_close(absorbed, expanded, rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 60),
    n_global=st.integers(1, 20),
    shape=st.sampled_from([(1, 1), (2, 2), (4, 4), (4, 1), (4, 2)]),
    bias=st.booleans(),
)
def test_the_way_with_fewer_products_is_taken(length: int, n_global: int, shape: tuple[int, int], bias: bool) -> None:
    """Counted as they are computed, on both ways."""
    config = WindowedConfig(dim=16, n_heads=shape[0], n_kv_heads=shape[1], before=2, n_global=n_global, bias=bias)
    module, x = config.build(), tokens(1, length, 16, dtype=torch.float32)

    def counted() -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(x, mask=everything())
        return counter.get_total_flops()

    taken = counted()
    absorbed = config.why_not_absorbed(min(n_global, length), length) == ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WindowedShape, "why_not_absorbed", lambda self, n_rows, n_key: "" if not absorbed else "the other way")
        other = counted()
    assert taken <= other
    assert taken == config.cost(length).flops


def test_which_way_the_global_rows_went_is_explained() -> None:
    x = tokens(1, 12, 16, dtype=torch.float32)

    def told(**changed: object) -> dict[str, str]:
        module = WindowedConfig(dim=16, n_heads=2, before=2, **{"n_global": 1} | changed).build()  # type: ignore[arg-type]
        return {one.core: " ".join(one.refused.values()) for one in module.explain(x, mask=everything())}

    assert "keys and values of all tokens" in told()["absorbed"]
    assert "turned by their places" in told(position=RotaryConfig())["expanded"]
    assert "takes more products" in told(n_global=9)["expanded"]
    assert not {"absorbed", "expanded"} & set(told(n_global=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_global", [1, 20])
def test_absorbed_rows_are_as_exact_as_the_formula_in_the_same_type(dtype: torch.dtype, n_global: int) -> None:
    """At the width of published heads; more than a few rows go through another core."""
    torch.manual_seed(0)
    module = WindowedConfig(dim=256, n_heads=4, before=8, after=8, n_global=n_global, bias=True).build().to(dtype).eval()
    x, seen = tokens(2, 90, 256).to(dtype), torch.ones(2, 4, 90, 90, dtype=torch.bool)
    assert module.config.why_not_absorbed(n_global, 90) == ""
    with torch.no_grad():
        truth = references.windowed(copy.deepcopy(module).double(), x.double(), seen)[0][:, :n_global]
        theirs, ours = references.windowed(module, x, seen)[0], module(x, mask=everything())
    off = [(one[:, :n_global].double() - truth).norm() for one in (ours, theirs)]
    assert off[0] <= 2.0 * off[1]


def test_a_hidden_token_does_not_reach_absorbed_rows() -> None:
    module, x = built(WindowedConfig(dim=16, n_heads=2, before=2, n_global=1, bias=True)), tokens(1, 12, 16)
    assert module.config.why_not_absorbed(1, 12) == ""
    kept = torch.ones(1, 12, dtype=torch.bool)
    kept[0, [3, 7]] = False
    whole = module(x, mask=keep_keys(kept))
    for filler in (torch.nan, torch.inf):
        assert torch.equal(module(torch.where(kept[..., None], x, filler), mask=keep_keys(kept)), whole)


@pytest.mark.parametrize("n_global", [1, 7])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_without_gradients_a_row_that_sees_nothing_is_zero_beside_global_tokens_too(
    n_global: int, bias: bool, dtype: torch.dtype
) -> None:
    """Extra keys are added in place then, one by one or as a product."""
    config = WindowedConfig(dim=16, n_heads=4, n_kv_heads=2, before=20, after=4, n_global=n_global, bias=bias, output_bias=bias)
    module, x = built(config).to(dtype), tokens(3, 400, 16).to(dtype)
    mask = padding(torch.tensor([400, 0, 90]))
    with_gradients = module(x, mask=mask)
    with torch.no_grad():
        found = module(x, mask=mask)
    assert torch.equal(found[1], torch.zeros_like(found[1]))
    share = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 2e-2}[dtype]
    assert (found - with_gradients).abs().max() <= share * with_gradients.abs().max()
