"""Single tokens through `Projection` are what `nn.Linear` makes of them, and nobody who looks on is passed by."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from attending.attention import GroupedConfig, LatentConfig, causal
from attending.attention.projection import FEW_TOKENS, Projection, streamed
from attending.attention.rows import LEAST_BYTES, serves

DTYPES = tuple(FEW_TOKENS)
LARGE = (1280, 512)  # more than LEAST_BYTES in both types


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def projection(dtype: torch.dtype, *, bias: bool = False) -> Projection:
    torch.manual_seed(1)
    return Projection(*LARGE[::-1], bias=bias).to(dtype)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1)])
def test_few_tokens_are_no_less_exact_than_a_plain_product(dtype: torch.dtype, bias: bool, shape: tuple[int, int]) -> None:
    """But for one rounding more where a bias is added behind."""
    layer = projection(dtype, bias=bias)
    x = drawn(*shape, LARGE[1], dtype=dtype)
    with torch.no_grad():
        exact = functional.linear(x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double())
        assert serves(layer.weight, x)
        found, plain = layer(x), functional.linear(x, layer.weight, layer.bias)
    rounding = float(exact.abs().max()) * torch.finfo(dtype).eps / 2 if bias else 0.0
    assert found.shape == plain.shape
    assert found.dtype == dtype
    assert error(found, exact) <= 1.5 * error(plain, exact) + rounding


@pytest.mark.parametrize("dtype", DTYPES)
def test_tokens_cut_from_longer_sequences_are_read_where_they_stand(dtype: torch.dtype) -> None:
    layer, x = projection(dtype), drawn(2, 5, LARGE[1], dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(layer(x[:, 3:4]), layer(x[:, 3:4].contiguous()), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [[0], [3, 1], [4, 4, 0]])
@pytest.mark.parametrize("bias", [False, True])
def test_chosen_heads_are_those_of_all_heads(dtype: torch.dtype, heads: list[int], bias: bool) -> None:
    layer, width = projection(dtype, bias=bias), LARGE[0] // 5
    for shape in ((1, 1), (1, 3), (2, 1)):
        x = drawn(*shape, LARGE[1], dtype=dtype)
        with torch.no_grad():
            every = functional.linear(x, layer.weight, layer.bias).unflatten(-1, (5, width)).transpose(1, 2)
            found = layer.of_heads(x, heads, width)
        torch.testing.assert_close(found, every[:, heads], rtol=2e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-2)


def test_what_is_not_finite_shows_as_in_a_plain_product() -> None:
    layer, x = projection(torch.float32), drawn(1, 1, LARGE[1])
    x[..., 7] = torch.inf
    with torch.no_grad():
        layer.weight[3, 7] = 0.0
        found, plain = layer(x), functional.linear(x, layer.weight)
    assert torch.equal(found.isnan(), plain.isnan())
    assert found.isnan().sum() == 1
    assert torch.equal(found[~found.isnan()], plain[~plain.isnan()])


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(lambda w, x: serves(w.double(), x.double()), id="float64"),
        pytest.param(lambda w, x: serves(w, x.bfloat16()), id="two types"),
        pytest.param(lambda w, x: serves(w[: LEAST_BYTES // w[0].nbytes - 1], x), id="small"),
        pytest.param(lambda w, x: serves(w.to("meta"), x.to("meta")), id="no processor"),
    ],
)
def test_what_is_left_to_plain_products(asked: Callable[[Tensor, Tensor], bool]) -> None:
    with torch.no_grad():
        weight, x = projection(torch.float32).weight, drawn(1, LARGE[1])
        assert serves(weight, x)
        assert not asked(weight, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_tokens_are_a_plain_product_to_the_bit(dtype: torch.dtype) -> None:
    layer = projection(dtype)
    for n_tokens in (0, FEW_TOKENS[dtype] + 1):
        x = drawn(1, n_tokens, LARGE[1], dtype=dtype)
        with torch.no_grad():
            assert torch.equal(layer(x), functional.linear(x, layer.weight))


def test_gradients_go_the_plain_way() -> None:
    layer, x = projection(torch.float32), drawn(1, 1, LARGE[1]).requires_grad_()
    assert not serves(layer.weight, x)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    torch.testing.assert_close(x.grad[0, 0], layer.weight.sum(0), rtol=1e-5, atol=1e-5)


def test_operations_are_counted_and_types_chosen_as_for_any_linear_layer() -> None:
    layer, x = projection(torch.float32), drawn(1, 1, LARGE[1])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * LARGE[0] * LARGE[1]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_a_batch_mapped_over_single_tokens_is_right() -> None:
    layer, x = projection(torch.float32), drawn(6, 1, LARGE[1])
    with torch.no_grad():
        found = torch.func.vmap(layer)(x)
        torch.testing.assert_close(found, functional.linear(x, layer.weight), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "config",
    [
        GroupedConfig(dim=1024, n_heads=8, n_kv_heads=8, bias=True, output_bias=True),
        LatentConfig(dim=1024, n_heads=8, latent_dim=512, rope_dim=32, nope_dim=128, value_dim=128),
        LatentConfig(dim=1024, n_heads=8, latent_dim=512, rope_dim=32, nope_dim=128, value_dim=128, query_latent_dim=768),
    ],
    ids=["grouped", "latent", "latent queries"],
)
def test_steps_of_large_layers_are_rows_of_the_full_forward(config: GroupedConfig | LatentConfig, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    layer = config.build().eval()
    x = drawn(1, 12, 1024)
    with torch.no_grad():
        exact = copy.deepcopy(layer).double()(x.double(), mask=causal())
        layer, x = layer.to(dtype), x.to(dtype)
        full, cache = layer(x, mask=causal()), layer.new_cache(1, mask=causal())
        cache.extend(x[:, :4])
        steps = torch.cat([cache.extend(x[:, at : at + 1]) for at in range(4, 12)], dim=1)
    assert error(steps, exact[:, 4:]) <= 2.0 * error(full, exact)


def test_every_product_of_a_step_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four projections of grouped attention, its scores and its values; three of latent attention and two by head."""
    seen: list[bool] = []

    def noted(table: Tensor, x: Tensor) -> bool:
        seen.append(serves(table, x))
        return seen[-1]

    for module in ("projection", "latents", "eager"):
        monkeypatch.setattr(f"attending.attention.{module}.serves", noted)
    shapes = (
        (GroupedConfig(dim=512, n_heads=8), 6),
        (LatentConfig(dim=512, n_heads=8, latent_dim=480, rope_dim=32, nope_dim=128, value_dim=128), 5),
    )
    for config, products in shapes:
        layer = config.build().eval()
        with torch.no_grad():
            cache = layer.new_cache(1, mask=causal())
            cache.extend(drawn(1, 600, 512))
            seen.clear()
            cache.extend(drawn(1, 1, 512))
        assert seen == [True] * products


def test_another_default_device_leaves_nothing_behind_for_tokens_on_a_cpu() -> None:
    layer, x = Projection(1025, 512, bias=False), drawn(1, 1, 1025)  # a shape that no other test has asked about
    with torch.no_grad():
        with torch.device("meta"):
            first = layer(x)
        for found in (first, layer(x)):
            torch.testing.assert_close(found, functional.linear(x, layer.weight), rtol=1e-4, atol=1e-5)


def test_any_model_is_streamed_inside_and_as_before_outside() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(512, 1280), nn.GELU(), nn.Linear(1280, 512), nn.MultiheadAttention(64, 4)).eval()
    first, x = model[:3], drawn(1, 1, 512)
    names = [type(module) for module in model.modules()]
    with torch.no_grad():
        plain = first(x)
        with streamed(model):
            assert isinstance(model[0], Projection)
            assert isinstance(model[2], Projection)
            torch.testing.assert_close(first(x), plain, rtol=1e-4, atol=1e-5)
    assert [type(module) for module in model.modules()] == names
    with pytest.raises(RuntimeError, match="inside"), streamed(model):
        raise RuntimeError("inside")
    assert [type(module) for module in model.modules()] == names
