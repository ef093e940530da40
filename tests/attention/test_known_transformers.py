"""Adopted attention against the modules of Hugging Face transformers, float32, within 1e-6 of the largest output."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from attending.attention import keep_keys
from attending.attention.known import adopt_attention, load_attention
from tests.attention import hub

CAUSAL = [name for name in hub.MODELS if name not in ("bert", "vit", "longformer")]
PADDED = {
    "right": torch.arange(hub.LENGTH) < torch.tensor([[hub.LENGTH], [8]]),
    "left": torch.arange(hub.LENGTH) >= torch.tensor([[0], [5]]),
}


def same(found: Tensor, wanted: Tensor, share: float = 1e-6) -> None:
    assert (found - wanted).abs().max() <= share * wanted.abs().max()


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", [*CAUSAL, "bert"])
def test_forward_agrees(name: str, layer: int) -> None:
    made = hub.model(name)
    x, wanted, _ = hub.watched(made, layer, inputs_embeds=hub.tokens())
    known = adopt_attention(hub.attention_of(made, layer))
    same(known.layer(x, mask=known.mask), wanted)


@pytest.mark.parametrize("side", PADDED)
@pytest.mark.parametrize("name", [*CAUSAL, "bert"])
def test_padded_forward_agrees(name: str, side: str) -> None:
    made, real = hub.model(name), PADDED[side]
    x, wanted, _ = hub.watched(made, 1, inputs_embeds=hub.tokens(), attention_mask=real.long())
    known = adopt_attention(hub.attention_of(made, 1))
    same(known.layer(x, mask=known.mask & keep_keys(real))[real], wanted[real])


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("name", CAUSAL)
def test_cached_decode_agrees(name: str, layer: int) -> None:
    """A prompt and then one token at a time, each library with the cache of its own."""
    made = hub.model(name)
    known = adopt_attention(hub.attention_of(made, layer))
    cache, theirs, found, wanted = known.layer.new_cache(2, mask=known.mask), None, [], []
    for part in hub.tokens().split([8, *[1] * 5], dim=1):
        x, output, returned = hub.watched(made, layer, inputs_embeds=part, past_key_values=theirs, use_cache=True)
        theirs = returned.past_key_values
        found.append(cache.extend(x))
        wanted.append(output)
    same(torch.cat(found, dim=1), torch.cat(wanted, dim=1))


def test_patches_agree() -> None:
    made = hub.model("vit")
    x, wanted, _ = hub.watched(made, 1, pixel_values=hub.tokens(2, 16, 16)[:, None])
    known = adopt_attention(hub.attention_of(made, 1))
    same(known.layer(x, mask=known.mask), wanted)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("places", [[], [0], [0, 6]])
def test_longformer_agrees(layer: int, places: list[int]) -> None:
    made, real = hub.model("longformer"), PADDED["right"]
    is_global = torch.zeros(2, hub.LENGTH, dtype=torch.bool)
    is_global[:, places] = True
    x, wanted, _ = hub.watched(
        made, layer, inputs_embeds=hub.tokens(), attention_mask=real.long(), global_attention_mask=is_global.long()
    )
    beyond = (0, x.shape[1] - hub.LENGTH)  # it fills up to a multiple of its window
    real, is_global = (torch.nn.functional.pad(one, beyond) for one in (real, is_global))
    known = adopt_attention(hub.attention_of(made, layer))
    output = known.layer(x, mask=known.mask & keep_keys(real), global_tokens=is_global)
    same(output[real], wanted[real])


@pytest.mark.parametrize("name", hub.MODELS)
def test_the_files_that_a_model_writes_are_read(name: str, tmp_path: Path) -> None:
    """Names as published, which are not those of the modules everywhere, and settings as config.json has them."""
    made = hub.model(name)
    made.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    read = load_attention(load_file(tmp_path / "model.safetensors"), settings, layer=1)
    adopted = adopt_attention(hub.attention_of(made, 1), layer=1)
    assert read.layer.config == adopted.layer.config
    for key, tensor in adopted.layer.state_dict().items():
        assert torch.equal(tensor, read.layer.state_dict()[key])
