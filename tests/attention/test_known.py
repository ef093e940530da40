"""Published weights mean here what they mean where they were published: their formulas, and what is refused."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attending.attention import AttentionError, YarnScaling, causal, everything, keep_keys, window
from attending.attention.known import LAYOUTS, Known, adopt_attention, load_attention
from tests.attention.examples import tokens
from tests.attention.published import DIM, HEADS, LENGTH, PUBLISHED, Published

X = tokens(2, LENGTH, DIM, seed=3)


def known(one: Published, **changed: Any) -> Known:
    return load_attention(one.weights(), one.settings | changed, layer=one.layer, prefix="")


def expected(one: Published) -> Tensor:
    return one.formula(one.weights(), X)


def test_every_layout_has_a_formula() -> None:
    assert {one.settings["model_type"] for one in PUBLISHED.values()} == set(LAYOUTS) - {"torch"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_forward_is_the_published_formula(name: str) -> None:
    found, wanted = known(PUBLISHED[name]), expected(PUBLISHED[name])
    output = found.layer(X, mask=found.mask)
    assert (output - wanted).abs().max() <= 1e-13 * wanted.abs().max()


@pytest.mark.parametrize("name", [name for name, one in PUBLISHED.items() if one.causal])
def test_a_cache_gives_the_published_formula(name: str) -> None:
    found, wanted = known(PUBLISHED[name]), expected(PUBLISHED[name])
    cache = found.layer.new_cache(2, mask=found.mask)
    output = torch.cat([cache.extend(part) for part in X.split([4, 1, 3, 1], dim=1)], dim=1)
    assert (output - wanted).abs().max() <= 1e-13 * wanted.abs().max()


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_tensor_counts(name: str) -> None:
    """A tensor that is taken and then not used would pass where the formula forgot it too."""
    one = PUBLISHED[name]
    output = known(one).layer(X, mask=known(one).mask)
    beside = LAYOUTS[one.settings["model_type"]].beside
    for tensor in one.shapes:
        weights = one.weights()
        weights[tensor] = weights[tensor] + tokens(*one.shapes[tensor], seed=99)
        found = load_attention(weights, one.settings, layer=one.layer, prefix="")
        changed = not torch.allclose(found.layer(X, mask=found.mask), output, rtol=1e-9, atol=1e-12)
        # An unturned key's bias shifts all scores of a query alike, and softmax does not see it.
        unseen = not one.causal and ("key" in tensor or tensor.startswith("k_")) and tensor.endswith("bias")
        assert changed == (tensor not in beside and not unseen), tensor


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("source", [DIM, 10])
def test_torch_multihead_attention_is_adopted(bias: bool, source: int) -> None:
    theirs = nn.MultiheadAttention(
        DIM, HEADS, bias=bias, kdim=source, vdim=source, batch_first=True, dtype=torch.float64, dropout=0.1
    ).eval()
    for i, parameter in enumerate(theirs.parameters()):
        parameter.data = tokens(*parameter.shape, seed=i) * 0.3
    context = X if source == DIM else tokens(2, 7, source, seed=4)
    real = torch.tensor([[True] * context.shape[1], [True] * 4 + [False] * (context.shape[1] - 4)])
    wanted, _ = theirs(X, context, context, key_padding_mask=~real)
    found = adopt_attention(theirs)
    output = found.layer(X, mask=found.mask & keep_keys(real), context=None if source == DIM else context)
    if source == DIM:  # a token that is not there asks nothing
        output, wanted = output[real], wanted[real]
    assert (output - wanted).abs().max() <= 1e-13 * wanted.abs().max()
    assert found.layer.config.dropout == 0.1


@pytest.mark.parametrize("bias", [True, False])
def test_torch_multihead_attention_decodes_from_a_cache(bias: bool) -> None:
    """It has no cache of its own: held against its forward pass under a causal mask, in float32."""
    theirs = nn.MultiheadAttention(DIM, HEADS, bias=bias, batch_first=True).eval()
    for i, parameter in enumerate(theirs.parameters()):
        parameter.data = tokens(*parameter.shape, seed=i, dtype=torch.float32) * 0.3
    x, n = X.float(), LENGTH
    wanted, _ = theirs(x, x, x, attn_mask=torch.ones(n, n, dtype=torch.bool).triu(1), need_weights=False)
    found = adopt_attention(theirs)
    cache = found.layer.new_cache(2, mask=found.mask & causal())
    output = torch.cat([cache.extend(part) for part in x.split([4, 1, 3, 1], dim=1)], dim=1)
    assert (output - wanted).abs().max() <= 1e-6 * wanted.abs().max()
    assert (found.layer(x, mask=causal()) - wanted).abs().max() <= 1e-6 * wanted.abs().max()


@pytest.mark.parametrize("settings", [{"add_zero_attn": True}, {"add_bias_kv": True}, {"kdim": 5, "vdim": 6}])
def test_what_torch_adds_beyond_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(AttentionError, match=r"add_zero_attn=True|left over are bias_k, bias_v|kdim=5 and vdim=6"):
        adopt_attention(nn.MultiheadAttention(DIM, HEADS, **settings))


@pytest.mark.parametrize("before", ["", "bert."])
def test_a_layer_is_found_in_a_whole_checkpoint(before: str) -> None:
    one = PUBLISHED["bert"]
    whole = {
        f"{before}encoder.layer.{layer}.attention.{name}": w * layer for name, w in one.weights().items() for layer in (1, 11)
    }
    whole["embeddings.word_embeddings.weight"] = torch.zeros(3, DIM)
    found = load_attention(whole, one.settings, layer=1)
    assert torch.equal(found.layer(X, mask=found.mask), known(one).layer(X, mask=everything()))
    with pytest.raises(AttentionError, match=r"found nothing under 'encoder.layer.2.attention.'; say which with prefix="):
        load_attention(whole, one.settings, layer=2)


def test_the_weights_are_copied() -> None:
    one = PUBLISHED["gpt_bigcode"]
    weights = one.weights()
    found = load_attention(weights, one.settings, prefix="")
    for tensor in weights.values():
        tensor.zero_()
    assert torch.equal(found.layer(X, mask=found.mask), known(one).layer(X, mask=found.mask))


def test_loading_throws_no_dice() -> None:
    torch.manual_seed(0)
    expected_next = torch.rand(3)
    torch.manual_seed(0)
    known(PUBLISHED["llama"])
    assert torch.equal(torch.rand(3), expected_next)


def test_a_weight_that_nobody_reads_is_refused() -> None:
    one = PUBLISHED["llama"]
    with pytest.raises(AttentionError, match=r"llama: left over are k_norm.weight, q_norm.weight"):
        load_attention(
            one.weights() | {"q_norm.weight": torch.ones(6), "k_norm.weight": torch.ones(6)}, one.settings, prefix=""
        )


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("llama", {"model_type": "gpt_oss"}, "model_type: found 'gpt_oss', known are bert, "),
        ("llama", {"hidden_size": None}, "llama: the settings do not say 'hidden_size'"),
        ("llama", {"num_key_value_heads": 4}, r"key.weight comes out as \(12, 24\), and the settings make it \(24, 24\)"),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "found rope_type 'dynamic', known are default, lin"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0, "beta_fast": 3}}, "linear is not known to take beta_f"),
        ("llama", {"rope_scaling": {"type": "linear"}}, "llama: rope_scaling: the settings do not say 'factor'"),
        (
            "llama",
            {"rope_scaling": {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 9, "truncate": False}},
            "found truncate=false",
        ),
        ("gemma2, full", {"sliding_window": None, "layer_types": ["sliding_attention"] * 2}, "do not say 'sliding_window'"),
        ("longformer", {"attention_window": None}, "do not say 'attention_window'"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(name: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(AttentionError, match=message):
        known(PUBLISHED[name], **changed)


@pytest.mark.parametrize(("layer", "slides"), [(1, False), (2, True), (3, True)])
def test_the_first_layers_of_qwen3_have_no_window(layer: int, slides: bool) -> None:
    """In settings from before `layer_types`; `max_window_layers` counts the layers that go without."""
    one = PUBLISHED["qwen3"]
    settings = one.settings | {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}
    found = load_attention(one.weights(), settings, layer=layer, prefix="")
    assert found.mask == (causal() & window(4, 0) if slides else causal())


def test_missing_mixed_and_biased_weights_are_named() -> None:
    one = PUBLISHED["llama"]
    weights = one.weights()
    with pytest.raises(AttentionError, match=r"llama: no weight 'v_proj.weight'; found o_proj.weight"):
        load_attention({k: v for k, v in weights.items() if k != "v_proj.weight"}, one.settings, prefix="")
    with pytest.raises(AttentionError, match=r"some have none \(missing \['key.bias', 'value.bias'\], beyond \[\]\)"):
        load_attention(weights | {"q_proj.bias": torch.zeros(24)}, one.settings, prefix="")
    with pytest.raises(AttentionError, match=r"found weights of torch.float64 and torch.float32"):
        load_attention(weights | {"v_proj.weight": weights["v_proj.weight"].float()}, one.settings, prefix="")
    latent = PUBLISHED["deepseek_v3"]
    with pytest.raises(AttentionError, match="our latents have no bias"):
        load_attention(latent.weights() | {"q_a_proj.bias": torch.zeros(10)}, latent.settings, prefix="")
    with pytest.raises(AttentionError, match="Linear has no `config`"):
        adopt_attention(nn.Linear(2, 2))


def test_the_layout_of_pairs_follows_the_settings() -> None:
    """Rows of an interleaved query and key, evens before odds, are the half-split ones."""
    one = PUBLISHED["deepseek_v3"]
    weights = one.weights()
    order = torch.cat([torch.arange(6), torch.tensor([6, 8, 7, 9])])
    weights["q_b_proj.weight"] = weights["q_b_proj.weight"].unflatten(0, (HEADS, 10))[:, order].flatten(0, 1)
    weights["kv_a_proj_with_mqa.weight"] = weights["kv_a_proj_with_mqa.weight"][torch.tensor([*range(8), 8, 10, 9, 11])]
    found = load_attention(weights, one.settings | {"rope_interleave": False}, prefix="")
    assert torch.allclose(found.layer(X, mask=found.mask), expected(one), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("given", "amplitude", "score_scale"),
    [
        ({}, 0.1 * math.log(40) + 1, 1.0),
        ({"mscale": 0.7, "mscale_all_dim": 0.7}, 1.0, (0.07 * math.log(40) + 1) ** 2),
        ({"mscale": 1.0, "mscale_all_dim": 0.5}, (0.1 * math.log(40) + 1) / (0.05 * math.log(40) + 1), None),
        ({"mscale_all_dim": 0.5}, 0.1 * math.log(40) + 1, (0.05 * math.log(40) + 1) ** 2),
        ({"attention_factor": 1.25}, 1.25, 1.0),
        ({"attention_factor": 1.25, "mscale": 2.0, "mscale_all_dim": 0.5}, 1.25, (0.05 * math.log(40) + 1) ** 2),
    ],
)
def test_both_temperatures_of_yarn_are_those_published(
    given: dict[str, float], amplitude: float, score_scale: float | None
) -> None:
    rope = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 64, "beta_fast": 32, "beta_slow": 1} | given
    scaling = known(PUBLISHED["deepseek_v3"], rope_scaling=rope).layer.config.rotary.scaling  # type: ignore[attr-defined]
    assert isinstance(scaling, YarnScaling)
    assert scaling.amplitude == pytest.approx(amplitude, rel=1e-12)
    if score_scale is not None:
        assert scaling.score_scale == pytest.approx(score_scale, rel=1e-12)
