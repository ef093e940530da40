"""Fast float32 products: the same numbers to rounding, put back on leaving, refused where precision would be lost."""

import pytest
import torch

from attending.attention import AttentionError, GroupedConfig, causal, fast_float32, precision
from tests.attention.examples import tokens


def switch() -> str:
    return str(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]


def rounded_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """float32 as bfloat16, float64 as it is."""
    return torch.mm(a.bfloat16(), b.bfloat16()).float() if a.dtype == torch.float32 else torch.mm(a, b)


def test_a_layer_gives_the_same_to_rounding_of_float32() -> None:
    layer = GroupedConfig(dim=256, n_heads=4).build().eval()
    x = tokens(2, 64, 256, dtype=torch.float32)
    with torch.no_grad():
        plain = layer(x, mask=causal())
        with fast_float32():
            fast = layer(x, mask=causal())
        exact = layer.double()(x.double(), mask=causal())
    size = exact.abs().max()
    assert (fast - exact).abs().max() <= 1e-6 * size
    assert (plain - exact).abs().max() <= 1e-6 * size


def test_the_switch_is_as_before_on_leaving_also_after_an_error() -> None:
    before = switch()
    with fast_float32():
        assert switch() == "bf16"
        with fast_float32():
            pass
        assert switch() == "bf16"
    assert switch() == before
    with pytest.raises(ZeroDivisionError), fast_float32():
        _ = 1 / 0
    assert switch() == before


def test_it_is_refused_where_products_really_lose_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with AMX, planted: its products are those of bfloat16."""
    before = switch()
    precision._probe_error.cache_clear()
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded_product)
    try:
        with pytest.raises(AttentionError, match="lower precision"), fast_float32():
            pass
    finally:
        precision._probe_error.cache_clear()
    assert switch() == before
