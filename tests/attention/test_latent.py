"""What is peculiar to attention over latents: two forms of one sum, the choice between them, and what is remembered."""

import itertools

import pytest
import torch

from attending.attention import AttentionError, LatentAttention, LatentConfig, RotaryConfig, YarnScaling, causal
from attending.attention.core import mixed_by
from tests.attention.examples import LATENT, tokens

DEEPSEEK_V3 = LatentConfig(
    dim=7168, n_heads=128, latent_dim=512, rope_dim=64, nope_dim=128, value_dim=128, query_latent_dim=1536
)


def module_of(**changes) -> LatentAttention:
    torch.manual_seed(0)
    return LatentConfig(dim=24, n_heads=4, **{**LATENT, **changes}).build().double()


def test_absorbed_is_expanded() -> None:
    module, x = module_of(), tokens(2, 9, 24)
    queries, latents, scoring = module._lowered(x, mask=causal(), context=None, positions=None, bias=None)
    expanded = mixed_by(*module._heads(queries, latents, absorbed=False), scoring)
    absorbed = module.projections.from_latent(mixed_by(*module._heads(queries, latents, absorbed=True), scoring))
    torch.testing.assert_close(absorbed, expanded, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("widths", [(512, 64, 128, 128), (8, 4, 6, 5), (4, 2, 6, 6)])
def test_the_cheaper_form_is_chosen(widths: tuple[int, int, int, int]) -> None:
    latent, rope, nope, value = widths
    config = LatentConfig(dim=8, n_heads=1, latent_dim=latent, rope_dim=rope, nope_dim=nope, value_dim=value)
    for n_query, n_key in itertools.product((1, 2, 7, 100, 171, 172, 4096), (1, 2, 100, 171, 5000, 100_000)):
        expanded = n_key * latent * (nope + value) + n_query * n_key * (nope + rope + value)
        absorbed = n_query * latent * (nope + value) + n_query * n_key * (2 * latent + rope)
        if expanded != absorbed:
            assert config.prefers_absorbed(n_query, n_key) == (absorbed < expanded)


def test_deepseek_sizes_are_the_published_ones() -> None:
    assert DEEPSEEK_V3.prefers_absorbed(1, 100)
    assert DEEPSEEK_V3.prefers_absorbed(170, 10**9)
    assert not DEEPSEEK_V3.prefers_absorbed(172, 10**9)
    assert not DEEPSEEK_V3.prefers_absorbed(100, 100)
    assert DEEPSEEK_V3.cost(32_768, dtype="bfloat16").cache.per_token == 576 * 2
    # 61 layers in bf16: the table of the design, 70 272 bytes a token.
    assert 61 * DEEPSEEK_V3.cost(1, dtype="bfloat16").cache.per_token == 70_272


def test_only_the_latent_is_remembered() -> None:
    module = module_of()
    cache = module.new_cache(2, mask=causal())
    cache.extend(tokens(2, 10, 24))
    assert cache.nbytes_used == 2 * 10 * (8 + 4) * 8


def test_training_takes_the_expanded_form() -> None:
    module = module_of(latent_dim=2)
    assert module.config.prefers_absorbed(9, 9)
    assert not module._absorbs(9, 9)
    with torch.no_grad():
        assert module._absorbs(9, 9)
        unlearned = module(tokens(2, 9, 24), mask=causal())
    torch.testing.assert_close(module(tokens(2, 9, 24), mask=causal()), unlearned, rtol=1e-11, atol=1e-12)


def test_yarn_warms_the_scores_and_not_the_rotation() -> None:
    scaling = YarnScaling(factor=40.0, original_length=4096, mscale=1.0, mscale_all_dim=1.0)
    config = LatentConfig(dim=24, n_heads=4, rotary=RotaryConfig(layout="interleaved", scaling=scaling), **LATENT)
    assert config.score_scale == pytest.approx((6 + 4) ** -0.5 * scaling.score_scale)


def test_the_rotary_layout_matters() -> None:
    interleaved, half = module_of(), module_of(rotary=RotaryConfig(layout="half"))
    half.load_state_dict(interleaved.state_dict())
    x = tokens(2, 9, 24)
    assert not torch.allclose(interleaved(x, mask=causal()), half(x, mask=causal()), atol=1e-6)


def test_widths_that_make_no_head_are_refused() -> None:
    with pytest.raises(AttentionError, match="rope_dim: found 3"):
        module_of(rope_dim=3)
    with pytest.raises(AttentionError, match="latent_dim=0"):
        module_of(latent_dim=0)
