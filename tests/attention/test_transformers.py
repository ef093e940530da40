"""Models of Hugging Face transformers on our cores: the logits, the tokens and the gradients of their own eager attention."""

from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attending.attention import AttentionError, causal, window
from attending.attention.core import recorded
from attending.attention.transformers import NAME, absorbed, register
from tests.attention import hub

LENGTH = 24  # more than sixteen rows, so that masks are followed by rule
NAMES = [name for name in hub.MODELS if name not in ("bert", "vit", "longformer")]
LATENT = ["deepseek_v2", "deepseek_v3", "deepseek_v3, half-split"]
PADDED = {
    "none": torch.ones(2, LENGTH, dtype=torch.long),
    "right": (torch.arange(LENGTH) < torch.tensor([[LENGTH], [15]])).long(),
    "left": (torch.arange(LENGTH) >= torch.tensor([[0], [9]])).long(),
}
IDS = torch.randint(3, 50, (2, LENGTH), generator=torch.Generator().manual_seed(1))
SHARE = 2e-6  # of the largest logit, two layers and the head in float32


@pytest.mark.skipif(find_spec("transformers") is not None, reason="transformers is installed: uninstall it to see the refusal")
def test_what_is_missing_is_named() -> None:
    with pytest.raises(AttentionError, match=r'comes with the extra "hub": pip install "attending\[hub\]"'):
        register()
    with pytest.raises(AttentionError, match=r'comes with the extra "hub"'), absorbed(nn.Linear(2, 2)):
        pass


@pytest.fixture
def library() -> Any:
    transformers = hub.hub()
    register()
    return transformers


def pair(name: str, head: str = "ForCausalLM") -> tuple[nn.Module, nn.Module]:
    """The same model twice, eager and on our cores."""
    eager, ours = hub.model(name, head), hub.model(name, head)
    ours.set_attn_implementation(NAME)
    return eager, ours


def same(found: Tensor, wanted: Tensor, share: float = SHARE) -> None:
    assert (found - wanted).abs().max() <= share * wanted.abs().max()


@pytest.mark.parametrize("side", PADDED)
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_logits_agree(library: Any, name: str, side: str) -> None:
    eager, ours = pair(name)
    given = {"input_ids": IDS, "attention_mask": PADDED[side]}
    real = PADDED[side].bool()
    with recorded() as choices:
        found = ours(**given).logits
    assert len(choices) == 2
    same(found[real], eager(**given).logits[real])


@pytest.mark.parametrize("side", PADDED)
@torch.no_grad()
def test_encoders_agree(library: Any, side: str) -> None:
    eager, ours = pair("bert", "Model")
    given = {"input_ids": IDS, "attention_mask": PADDED[side]}
    real = PADDED[side].bool()
    same(ours(**given).last_hidden_state[real], eager(**given).last_hidden_state[real])
    eager, ours = pair("vit", "Model")
    pixels = hub.tokens(2, 16, 16)[:, None]
    same(ours(pixels).last_hidden_state, eager(pixels).last_hidden_state)


def agree_on_tokens(eager: nn.Module, ours: nn.Module, inside: Any = None, **settings: Any) -> None:
    """Greedy tokens are the same up to the first step at which eager's two best are nearly equal."""
    given = {"input_ids": IDS, "attention_mask": PADDED["left"], "max_new_tokens": 10, "do_sample": False, "pad_token_id": 0}
    given |= {"eos_token_id": None, "output_scores": True, "return_dict_in_generate": True} | settings
    wanted = eager.generate(**given)
    with nullcontext() if inside is None else inside:
        found = ours.generate(**given)
    assert torch.equal(found.sequences[:, :LENGTH], wanted.sequences[:, :LENGTH])
    compared = 0
    for sample in range(2):
        for step, scores in enumerate(wanted.scores):
            best = scores[sample].topk(2).values
            if best[0] - best[1] <= 1e-4:
                break
            assert found.sequences[sample, LENGTH + step] == wanted.sequences[sample, LENGTH + step]
            compared += 1
    assert compared >= 10


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2", "mistral", "gpt_bigcode", "deepseek_v3", "deepseek_v32"])
@torch.no_grad()
def test_greedy_tokens_agree(library: Any, name: str, cache: str) -> None:
    eager, ours = pair(name)
    agree_on_tokens(eager, ours, cache_implementation=cache, disable_compile=True)


@pytest.mark.parametrize("name", ["llama", "gemma2", "deepseek_v3"])
def test_gradients_agree(library: Any, name: str) -> None:
    losses, gradients = [], []
    labels = torch.where(PADDED["right"].bool(), IDS, -100)
    for model in pair(name):
        loss = model(input_ids=IDS, attention_mask=PADDED["right"], labels=labels).loss
        loss.backward()
        losses.append(loss.detach())
        gradients.append({key: p.grad for key, p in model.named_parameters() if p.grad is not None})
    same(losses[1], losses[0])
    assert gradients[0].keys() == gradients[1].keys()
    for key, wanted in gradients[0].items():
        same(gradients[1][key], wanted, 2e-5)


@pytest.mark.parametrize("name", ["llama", "gemma2", "bert"])
@torch.no_grad()
def test_weights_come_from_the_same_cores(library: Any, name: str) -> None:
    eager, ours = pair(name, "Model")
    given = {"input_ids": IDS, "attention_mask": PADDED["left"], "output_attentions": True}
    rows = PADDED["left"].bool()[:, None, :, None]
    for found, wanted in zip(ours(**given).attentions, eager(**given).attentions, strict=True):
        assert ((found - wanted) * rows).abs().max() <= 1e-6


def test_masks_are_followed_by_rule(library: Any) -> None:
    from transformers.masking_utils import chunked_causal_mask_function, sliding_window_causal_mask_function

    from attending.attention.transformers.seen import rules_of, seen_pairs

    def rule_of(mask: Tensor | None) -> list[str]:
        rules, biases = rules_of(mask, n_query=LENGTH, is_causal=True, dtype=torch.float32)
        assert biases == ()
        return [type(rule).__name__ for rule in rules.rules]

    given: dict[str, Any] = {"batch_size": 2, "q_length": LENGTH, "kv_length": LENGTH}
    sliding = {"mask_function": sliding_window_causal_mask_function(5), "local_size": 5}
    chunked = {"mask_function": chunked_causal_mask_function(5, torch.zeros(2, dtype=torch.int)), "local_size": 5}
    real = PADDED["left"].bool()
    assert rule_of(seen_pairs(**given)) == ["Causal"]
    assert rule_of(seen_pairs(**given, attention_mask=real)) == ["Causal", "KeepKeys"]
    assert rule_of(seen_pairs(**given, **sliding)) == ["Causal", "Window"]
    assert rule_of(seen_pairs(**given, **sliding, attention_mask=real)) == ["Causal", "Window", "KeepKeys"]
    assert rule_of(seen_pairs(**given, **chunked)) == ["Keep"]
    rules, _ = rules_of(seen_pairs(**given, **sliding), n_query=LENGTH, is_causal=True, dtype=torch.float32)
    assert rules == causal() & window(4, 0)
    written = seen_pairs(**given, **sliding)
    assert written is not None
    written[0, 0, 20, 3] = True
    assert rule_of(written) == ["Keep"]


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_inference_mode_changes_nothing(library: Any, family: str) -> None:
    """Its tensors count no versions, and the rule beside a mask is believed only while nobody wrote into the mask."""
    _, ours = pair(family)
    with torch.no_grad():
        expected = ours(input_ids=IDS, attention_mask=PADDED["right"]).logits
    with torch.inference_mode():
        assert torch.equal(ours(input_ids=IDS, attention_mask=PADDED["right"]).logits, expected)


@torch.no_grad()
def test_numbers_that_are_added_stay_numbers(library: Any) -> None:
    eager, ours = pair("llama")
    added = torch.randn(2, 1, LENGTH, LENGTH, generator=torch.Generator().manual_seed(2))
    added.masked_fill_(torch.ones(LENGTH, LENGTH).triu(1).bool(), torch.finfo(torch.float32).min)
    same(ours(input_ids=IDS, attention_mask=added).logits, eager(input_ids=IDS, attention_mask=added).logits)


@torch.no_grad()
def test_sinks_agree(library: Any) -> None:
    logits = []
    for attention in ("eager", NAME):
        config = library.GptOssConfig(**_SINKS)
        config._attn_implementation = attention
        model = library.GptOssForCausalLM(config).eval()
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)) * 0.3)
        logits.append(model(input_ids=IDS, attention_mask=PADDED["right"]).logits[PADDED["right"].bool()])
    same(logits[1], logits[0])


_SINKS = {
    **{"vocab_size": 50, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 5},
    **{"max_position_embeddings": 64, "pad_token_id": 0, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    "eos_token_id": 1,
}


def test_what_a_call_says_of_the_scores_is_followed(library: Any) -> None:
    """Biases, fixed caches and dropout, against transformers' own function for PyTorch's attention."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from attending.attention.transformers.interface import attend_for

    q, k, v = (hub.tokens(2, 4 * 6, 8, seed=seed).view(2, 4, 6, 8) for seed in range(3))
    bias = hub.tokens(4, 6, 6, seed=3)[None]
    module = nn.Identity()
    for given in ({}, {"is_causal": False}, {"scaling": 0.9}, {"position_bias": bias}):
        wanted, _ = sdpa_attention_forward(module, q, k, v, None, **given)
        same(attend_for(module, q, k, v, None, **given)[0], wanted)
    wide_k, wide_v = (torch.cat([one, hub.tokens(2, 16, 8).view(2, 4, 4, 8)], dim=2) for one in (k, v))
    same(attend_for(module, q, wide_k, wide_v, None)[0], attend_for(module, q, k, v, None)[0])
    torch.manual_seed(0)
    counts = [attend_for(module, q, k, v.new_ones(1).expand(v.shape), None, dropout=0.5)[0] for _ in range(60)]
    assert len({round(float(one[0, 0, 0, 0]), 3) for one in counts}) == 2  # one key: kept twice, or lost
    assert torch.stack(counts).mean().item() == pytest.approx(1.0, abs=0.05)


def test_what_is_not_served_is_refused(library: Any) -> None:
    from attending.attention.transformers.interface import attend_for

    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(AttentionError, match='paged caches are not served; take "sdpa" or "eager"'):
        attend_for(nn.Identity(), q, q, q, None, cache=object())


@pytest.mark.parametrize("side", PADDED)
@pytest.mark.parametrize("name", LATENT)
@torch.no_grad()
def test_absorbed_logits_agree_token_by_token(library: Any, name: str, side: str) -> None:
    """A prompt, then one token at a time; every step with and without, each with its own cache."""
    model, real = hub.model(name, "ForCausalLM"), PADDED[side]
    caches: list[Any] = [None, None]
    start = 0
    for stop in (15, 16, 19, *range(20, LENGTH + 1)):
        logits = []
        for i in range(2):
            with absorbed(model) if i else nullcontext():
                given = {"input_ids": IDS[:, start:stop], "attention_mask": real[:, :stop]}
                answer = model(**given, past_key_values=caches[i], use_cache=True)
            caches[i] = answer.past_key_values
            logits.append(answer.logits[real[:, start:stop].bool()])
        if logits[0].numel():
            same(logits[1], logits[0], 5e-6)
        start = stop
    assert [type(layer).__name__ for layer in caches[0].layers] == ["DynamicLayer"] * 2
    assert [type(layer).__name__ for layer in caches[1].layers] == ["LatentLayer"] * 2


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"cache_implementation": "static", "disable_compile": True}])
@pytest.mark.parametrize("name", LATENT)
@torch.no_grad()
def test_absorbed_tokens_agree(library: Any, name: str, settings: dict[str, Any]) -> None:
    eager, ours = pair(name)
    if settings.get("num_beams"):
        given = {
            "input_ids": IDS,
            "attention_mask": PADDED["left"],
            "max_new_tokens": 8,
            "pad_token_id": 0,
            "eos_token_id": None,
        }
        wanted = eager.generate(**given, **settings)
        with absorbed(ours):
            assert torch.equal(ours.generate(**given, **settings), wanted)
    else:
        agree_on_tokens(eager, ours, absorbed(ours), **settings)


@torch.no_grad()
def test_a_cache_crosses_the_border(library: Any) -> None:
    """Prompt outside, steps inside, steps outside again."""
    model = hub.model("deepseek_v3", "ForCausalLM")
    wanted, cache, found = model(input_ids=IDS).logits, None, []
    for part, inside in zip(IDS.split([10, 4, 5, 5], dim=1), (False, True, False, True), strict=True):
        with absorbed(model) if inside else nullcontext():
            answer = model(input_ids=part, past_key_values=cache, use_cache=True)
        cache = answer.past_key_values
        found.append(answer.logits)
    same(torch.cat(found, dim=1), wanted, 5e-6)


@torch.no_grad()
def test_the_latents_grow_in_place_and_survive_what_is_done_to_them(library: Any) -> None:
    model = hub.model("deepseek_v3", "ForCausalLM")
    with absorbed(model):
        cache = model(input_ids=IDS[:, :17], use_cache=True).past_key_values
        layer = cache.layers[0]
        where = layer.joined.data_ptr()
        model(input_ids=IDS[:, 17:20], past_key_values=cache)
        assert layer.joined.data_ptr() == where
        assert layer.joined.shape == (2, 1, 20, 12)
        cache.crop(-2)
        assert layer.joined is None
        cache.reorder_cache(torch.tensor([1, 0]))
        swapped = IDS.flip(0)
        answer = model(input_ids=swapped[:, 18:], past_key_values=cache).logits
    same(answer, model(input_ids=swapped).logits[:, 18:], 5e-6)


def test_absorbed_trains_and_leaves_no_trace(library: Any) -> None:
    model = hub.model("deepseek_v3", "ForCausalLM")
    gradients = []
    for inside in (False, True):
        model.zero_grad()
        with absorbed(model) if inside else nullcontext():
            cache = model(input_ids=IDS[:, :17], use_cache=True).past_key_values
            model(input_ids=IDS[:, 17:], labels=IDS[:, 17:], past_key_values=cache).loss.backward()
        gradients.append({key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None})
    for key, wanted in gradients[0].items():
        same(gradients[1][key], wanted, 2e-5)
    assert all("forward" not in vars(module) for module in model.modules())
    with pytest.raises(ZeroDivisionError), absorbed(model):
        raise ZeroDivisionError
    assert all("forward" not in vars(module) for module in model.modules())


def test_models_without_latents_are_refused(library: Any) -> None:
    with (
        pytest.raises(AttentionError, match="LlamaForCausalLM has no DeepSeek-V2 or V3 attention"),
        absorbed(hub.model("llama", "ForCausalLM")),
    ):
        pass


def test_what_a_gradient_still_needs_is_not_written_over(library: Any) -> None:
    from attending.attention.transformers.latents import LatentLayer

    layer, parts = LatentLayer(), [hub.tokens(2, 1, 12, seed=seed)[:, None].requires_grad_() for seed in range(3)]
    total = torch.zeros(())
    for part in parts:
        latent, rope = layer.update(part[..., :8], part[..., 8:])
        total = total + latent.square().sum() + rope.square().sum()
    total.backward()
    for i, part in enumerate(parts):
        assert part.grad is not None
        same(part.grad, 2.0 * (3 - i) * part.detach())
