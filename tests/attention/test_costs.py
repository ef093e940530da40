"""Cost by arithmetic, worked by hand, and swept over the catalog against what modules hold and counters count."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import (
    AttentionError,
    GroupedConfig,
    IndexedConfig,
    Limits,
    LowRankConfig,
    causal,
    everything,
    ragged_cost,
)
from tests.attention.examples import EXAMPLES, LATENT, Example, tokens

SMALL = GroupedConfig(dim=4, n_heads=2)
"""4 projections of 4 × 4."""


def test_a_small_layer_worked_by_hand() -> None:
    cost = SMALL.cost(3, batch=2)
    assert cost.parameters == 4 * 16
    # 2 FLOPs × 2 samples × (3 tokens × 64 weights + 9 pairs × 2 products × 4 numbers); causal: 6 of the 9 pairs
    assert cost.flops == 2 * 2 * (3 * 64 + 9 * 2 * 4)
    assert cost.causal_flops == 2 * 2 * (3 * 64 + 6 * 2 * 4)
    # in, queries, keys, values, answers, out: 6 times 4 numbers of 4 bytes for each of 6 tokens
    assert cost.activation_bytes == 6 * 6 * 4 * 4
    assert cost.bytes_moved == 64 * 4 + 6 * 6 * 4 * 4
    assert cost.cache.per_token == 2 * 4 * 4
    assert SMALL.cost(3, batch=2, phase="train").flops == 3 * cost.flops
    step = SMALL.cost(3, batch=2, phase="decode")
    assert step.flops == step.causal_flops == 2 * 2 * (64 + 3 * 2 * 4)
    assert step.bytes_moved == 64 * 4 + 2 * 6 * 4 * 4 + 2 * 3 * 8 * 4


def test_padding_is_told_apart() -> None:
    cost = ragged_cost(SMALL, (3, 1))
    assert cost.padded == SMALL.cost(3, batch=2)
    assert cost.flops == 2 * (3 * 64 + 9 * 8) + 2 * (64 + 8)
    assert cost.padding_flops == cost.padded.flops - cost.flops == 2 * (2 * 64 + 8 * 8)
    assert cost.causal_flops == 2 * (3 * 64 + 6 * 8) + 2 * (64 + 8)
    assert ragged_cost(SMALL, (5, 5, 5)).padding_flops == 0
    with pytest.raises(AttentionError, match="no lengths"):
        ragged_cost(SMALL, ())


def test_the_floor_is_the_slower_of_products_and_memory() -> None:
    cost = SMALL.cost(3, batch=2)
    assert cost.floor(Limits(flops_per_s={"float32": 1e3}, bytes_per_s=1e9)) == cost.causal_flops / 1e3
    assert cost.floor(Limits(flops_per_s={"float32": 1e12}, bytes_per_s=1e3)) == cost.bytes_moved / 1e3
    with pytest.raises(AttentionError, match="no rate for float64"):
        SMALL.cost(3, dtype="float64").floor(Limits(flops_per_s={"float32": 1.0}, bytes_per_s=1.0))


def test_what_fits_near_the_processor_may_move_faster() -> None:
    limits = Limits(flops_per_s={}, bytes_per_s=10.0, bytes_per_s_by_size={100: 50.0, 1000: 70.0, 10_000: 10.0})
    # a rate that was reached with a larger set can be reached with a smaller one
    assert [limits.bandwidth(size) for size in (1, 100, 101, 1000, 1001, 10_000, 10_001)] == [70, 70, 70, 70, 10, 10, 10]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"length": 3, "phase": "serve"}, "phase 'serve'"),
        ({"length": 3, "dtype": "int8"}, "int8 is how caches store"),
        ({"length": 3, "dtype": "float8"}, "unknown number type 'float8'"),
        ({"length": -1}, "length of -1"),
        ({"length": 3, "batch": 0}, "batch of 0"),
    ],
)
def test_what_cannot_be_costed_is_refused(asked: dict[str, object], told: str) -> None:
    with pytest.raises(AttentionError, match=told):
        SMALL.cost(**asked)  # type: ignore[arg-type]


def sweep(condition=lambda example: True):
    return pytest.mark.parametrize("example", [pytest.param(e, id=n) for n, e in EXAMPLES.items() if condition(e)])


def counted(call) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def near(found: int, predicted: int) -> bool:
    return abs(found - predicted) <= 0.01 * predicted


@sweep()
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_parameters_are_predicted_to_the_byte(example: Example, dtype: str) -> None:
    module = example.config.build().to(getattr(torch, dtype))
    cost = example.config.cost(8, dtype=dtype)
    assert cost.parameter_bytes == sum(p.numel() * p.element_size() for p in module.parameters())
    assert cost.parameters == sum(p.numel() for p in module.parameters())


@sweep(lambda example: example.caches)
@pytest.mark.parametrize("stored", ["bfloat16", "int8"])
@pytest.mark.parametrize("length", [1, 2, 5, 16, 17])
def test_the_cache_of_a_layer_in_16_bits_is_predicted_to_the_byte(example: Example, stored: str, length: int) -> None:
    if getattr(getattr(example.config, "position", None), "length", 99) < length:
        length = 16
    module = example.config.build().bfloat16()
    cache = module.new_cache(3, mask=causal(), dtype=getattr(torch, stored))
    for part in tokens(3, length, example.config.dim).bfloat16().split(3, dim=1):
        cache.extend(part)
    cost = example.config.cost(length, batch=3, dtype="bfloat16", cache_dtype=stored, phase="decode").cache
    assert cache.nbytes_used == cost.used + cost.scales + cost.tables
    assert cache.nbytes_allocated == cost.allocated + cost.scales_allocated + cost.tables


@sweep(lambda example: example.cross)
@pytest.mark.parametrize("stored", ["float32", "bfloat16", "int8"])
def test_the_cache_of_a_context_is_predicted_to_the_byte(example: Example, stored: str) -> None:
    config = example.config
    for n_key in (1, 7, 13):
        context = tokens(2, n_key, getattr(config, "source_dim", config.dim), dtype=torch.float32)
        cache = config.build().new_cache(2, mask=everything(), context=context, dtype=getattr(torch, stored))
        cost = config.cost(5, batch=2, phase="decode", cache_dtype=stored, context=n_key).cache
        assert cache.nbytes_used == cost.used + cost.scales
        assert cache.nbytes_allocated == cost.allocated + cost.scales_allocated
        cache.extend(tokens(2, 3, config.dim, dtype=torch.float32))
        assert cache.nbytes_used == cost.used + cost.scales


@sweep(lambda example: example.cross)
@pytest.mark.parametrize(("n_query", "n_key"), [(5, 12), (12, 5), (1, 12), (8, 8)])
def test_flops_over_a_context_are_counted(example: Example, n_query: int, n_key: int) -> None:
    config, wide = example.config, getattr(example.config, "source_dim", example.config.dim)
    module, x, context = config.build(), torch.randn(2, n_query, config.dim), torch.randn(2, n_key, wide)
    with torch.no_grad():
        found = counted(lambda: module(x, mask=everything(), context=context))
        assert near(found, config.cost(n_query, batch=2, context=n_key).flops)
        cache = module.new_cache(2, mask=everything(), context=context)
    step = config.cost(n_query, batch=2, phase="decode", context=n_key)
    assert near(counted(lambda: cache.extend(x[:, :1])), step.flops)
    assert step.causal_flops == step.flops, "a context has no later tokens"
    x.requires_grad_()
    context.requires_grad_()
    found = counted(lambda: module(x, mask=everything(), context=context).sum().backward())
    assert near(found, config.cost(n_query, batch=2, phase="train", context=n_key).flops)


def test_a_wider_context_has_wider_projections() -> None:
    config = GroupedConfig(dim=8, n_heads=2, context_dim=12)
    module, x, context = config.build(), torch.randn(1, 3, 8), torch.randn(1, 5, 12)
    cost = config.cost(3, context=5)
    assert cost.parameters == sum(p.numel() for p in module.parameters()) == 2 * 64 + 2 * 96
    # 3 rows × 128, 5 keys × 192, 15 pairs × 2 products × 8
    assert cost.flops == 2 * (3 * 128 + 5 * 192 + 15 * 16) == counted(lambda: module(x, mask=everything(), context=context))
    # rows: in, queries, answers, out; context in; keys and values
    assert cost.activation_bytes == 4 * (3 * 32 + 5 * 12 + 5 * 16)


@sweep(lambda example: not example.cross)
def test_what_cannot_look_at_a_context_has_no_cost_over_one(example: Example) -> None:
    with pytest.raises(AttentionError, match="found a context of 7 tokens"):
        example.config.cost(3, context=7)


def passed_on(module: nn.Module, call) -> int:
    """Numbers that linear layers give, and those that the last of them takes: what the heads answered."""
    found: list[int] = []

    def count(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        found.append(result.numel() + (given[0].numel() if layer is getattr(module, "output", None) else 0))

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    call()
    for handle in handles:
        handle.remove()
    return sum(found)


@sweep()
def test_activations_are_what_the_projections_pass_on(example: Example) -> None:
    config, batch, length = example.config, 2, 9
    if isinstance(config, LowRankConfig) and len(set(config.slot_products(length))) > 1:
        config = replace(config, length=200, rank=150)  # heads are projected first, by layers that can be watched
    module, x = config.build(), torch.randn(batch, length, config.dim)
    owner = module.projections if hasattr(module, "projections") else module
    taken = passed_on(owner, lambda: module(x, mask=example.under(everything())))
    taken += (
        0
        if owner is module
        else passed_on(module.indexer, lambda: module(x, mask=everything()))
        if hasattr(module, "indexer")
        else 0
    )
    if isinstance(config, LowRankConfig):
        taken += batch * 2 * config.rank * config.n_heads * config.width
    if getattr(config, "n_global", 0):
        # The answers of global tokens are written over those that stood in their rows.
        taken += batch * config.n_global * config.n_heads * config.width
        if not config.why_not_absorbed(config.n_global, length):
            # Their queries are taken to the tokens, and the tokens' means to values, by no layer that could be watched.
            taken += batch * config.n_global * 2 * config.n_heads * config.absorbed_dim
    assert config.cost(length, batch=batch, phase="train").activation_bytes == 4 * (taken + x.numel())


@sweep(lambda example: example.cross and not isinstance(example.config, LowRankConfig))
def test_activations_over_a_context_are_what_the_projections_pass_on(example: Example) -> None:
    module, x, context = example.config.build(), torch.randn(2, 5, example.config.dim), torch.randn(2, 12, example.config.dim)
    owner = module.projections if hasattr(module, "projections") else module
    taken = passed_on(owner, lambda: module(x, mask=everything(), context=context))
    if hasattr(module, "indexer"):
        taken += passed_on(module.indexer, lambda: module(x, mask=everything(), context=context))
    cost = example.config.cost(5, batch=2, phase="train", context=12)
    assert cost.activation_bytes == 4 * (taken + x.numel() + context.numel())


def test_a_step_that_picks_leaves_the_rest_of_the_latents_alone() -> None:
    config = IndexedConfig(dim=24, n_heads=4, top_k=4, index_heads=2, index_dim=6, **LATENT)
    step = config.cost(100, batch=2, phase="decode")
    assert step.unread_bytes == 2 * 96 * 12 * 4
    assert step.bytes_moved == step.parameter_bytes + step.activation_bytes + step.cache.used - step.unread_bytes
    assert config.cost(4, phase="decode").unread_bytes == 0
    assert config.cost(100, batch=2, phase="decode", cache_dtype="int8").unread_bytes == 2 * 96 * (12 + 4)
