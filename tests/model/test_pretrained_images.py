"""A vision transformer from a folder: the weights mean what they mean elsewhere, and a cell is where it says it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from attending.attention import GroupedConfig
from attending.case import Box, Case, Demographics, Place, Scan
from attending.diagnosis import Task
from attending.model.catalog import from_plain, to_plain
from attending.model.demographics import DemographicsConfig
from attending.model.diagnoser import Diagnoser, DiagnoserConfig, Tokenizers
from attending.model.frozen_image import FrozenImageConfig, FrozenViewer
from attending.model.pretrained import IMAGE_FILES, EncoderError, find_encoder
from attending.model.trained import load_model
from attending.model.vit import Vit, VitConfig
from attending.study import Plan, hold_study
from tests.model.cases_at_hand import patient, patients
from tests.tables import EVERYTHING, rows, taken_in, tiny_recipe, with_notes_and_films, write_rows

DIM, HEADS, LAYERS, HIDDEN, PATCH = 16, 2, 2, 24, 8
TASK = Task(findings=("sick", "old"))


def vit_folder(folder: Path, *, side: int = 32, **changes: object) -> Path:
    """A tiny vision transformer with random weights under the hub's names."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "vit",
        "hidden_act": "gelu",
        "image_size": side,
        "patch_size": PATCH,
        "num_channels": 3,
        "hidden_size": DIM,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "intermediate_size": HIDDEN,
        "layer_norm_eps": 1e-12,
        "qkv_bias": True,
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.5, 0.2]}))
    torch.manual_seed(0)
    network = Vit(VitConfig.from_architecture(config))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    weights = {network.hub_name(name): value.clone() for name, value in network.state_dict().items()}
    weights |= {"pooler.dense.weight": torch.zeros(DIM, DIM), "pooler.dense.bias": torch.zeros(DIM)}
    save_file({f"vit.{name}": value for name, value in weights.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vit_folder(tmp_path_factory.mktemp("encoders") / "vit")


def frozen(folder: Path, **changes: object) -> FrozenImageConfig:
    digest = find_encoder(str(folder), needed=IMAGE_FILES).digest
    return replace(FrozenImageConfig(encoder=str(folder), digest=digest), **changes)


def viewer(folder: Path) -> FrozenViewer:
    chosen = frozen(folder)
    return FrozenViewer(chosen.encoder, digest=chosen.digest, cache=None)


def torchs_own(folder: Path, picture: torch.Tensor) -> torch.Tensor:
    """The states by torch.nn.TransformerEncoderLayer and an unfold: another implementation of the same network."""
    weights = {name.removeprefix("vit."): value for name, value in load_file(folder / "model.safetensors").items()}
    kernel = weights["embeddings.patch_embeddings.projection.weight"].flatten(1)
    patches = nn.functional.unfold(picture[None], PATCH, stride=PATCH).transpose(1, 2) @ kernel.T
    patches = patches + weights["embeddings.patch_embeddings.projection.bias"]
    x = torch.cat([weights["embeddings.cls_token"], patches], dim=1) + weights["embeddings.position_embeddings"]
    for number in range(LAYERS):
        own = {name.removeprefix(f"encoder.layer.{number}."): value for name, value in weights.items()}
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, HIDDEN, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True, norm_first=True
        ).eval()
        named = {"weight": "in_proj_weight", "bias": "in_proj_bias"}
        state = {
            f"self_attn.{name}": torch.cat([own[f"attention.attention.{part}.{kind}"] for part in ("query", "key", "value")])
            for kind, name in named.items()
        }
        for kind in ("weight", "bias"):
            state |= {
                f"self_attn.out_proj.{kind}": own[f"attention.output.dense.{kind}"],
                f"linear1.{kind}": own[f"intermediate.dense.{kind}"],
                f"linear2.{kind}": own[f"output.dense.{kind}"],
                f"norm1.{kind}": own[f"layernorm_before.{kind}"],
                f"norm2.{kind}": own[f"layernorm_after.{kind}"],
            }
        layer.load_state_dict(state)
        x = layer(x)
    return nn.functional.layer_norm(x, (DIM,), weights["layernorm.weight"], weights["layernorm.bias"], eps=1e-12)[0, 1:]


def test_a_film_is_seen_as_torchs_own_layers_see_it(folder: Path) -> None:
    pixels = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    picture = torch.from_numpy(pixels)[None].expand(3, -1, -1)
    mean, deviation = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.5, 0.5, 0.2])[:, None, None]
    with torch.no_grad():
        expected = torchs_own(folder, (picture - mean) / deviation)
    assert np.allclose(viewer(folder).states(Scan(pixels=pixels)), expected, atol=5e-3)  # float16 keeps 11 bits


def test_many_patches_are_averaged_to_cells_and_the_boxes_say_which(tmp_path: Path) -> None:
    found = viewer(vit_folder(tmp_path / "vit", side=72))  # 9 patches a side: 5 cells of 2, the last of 1
    assert found.n_cells == 5
    boxes = found.boxes((90, 180))
    assert boxes[0] == Box(top=0, left=0, bottom=20, right=40)
    assert boxes[-1] == Box(top=80, left=160, bottom=90, right=180)
    covered = np.zeros((90, 180), dtype=int)
    for box in boxes:
        covered[box.top : box.bottom, box.left : box.right] += 1
    assert (covered == 1).all()
    states = found.states(Scan(pixels=np.random.default_rng(0).random((72, 72)).astype(np.float32)))
    assert states.shape == (25, DIM)


@pytest.mark.parametrize("is_visible", [False, True])
def test_the_modality_keeps_the_contract(folder: Path, is_visible: bool) -> None:
    attention = GroupedConfig(dim=16, n_heads=2)
    reads = frozen(folder, visible=("image",) if is_visible else ())
    chosen = DiagnoserConfig(modalities=(reads, DemographicsConfig(n_bins=4)), fusion=(attention,), readout=attention)
    assert from_plain(to_plain(chosen)) == chosen
    tokenizers = Tokenizers.fit(chosen, patients(20))
    torch.manual_seed(0)
    made = Diagnoser(chosen, tokenizers=tokenizers, n_findings=2).eval()
    nn.init.normal_(made.additive)
    cases: list[Case] = patients(7)
    with torch.inference_mode():
        together = made(tokenizers.batch(cases, TASK).inputs)
        alone = torch.cat([made(tokenizers.batch([case], TASK).inputs) for case in cases])
        picked = made(tokenizers.batch(cases, TASK).rows(torch.tensor([5, 1])).inputs)
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(picked, together[[5, 1]], atol=1e-5)
    for case in (patient(4), patient(4).without(Scan)):
        places = tokenizers.places(case)
        weights = made.weights(tokenizers.batch([case], TASK).inputs)[0].sum(dim=(0, 1))
        assert [place is None for place in places] == (weights == 0).tolist()
        assert (Place(-1) in places[1:]) == (is_visible and not case.of(Scan))
    only_age = patient(4, kinds=(Demographics,))
    read = tokenizers.by_kind[Scan].read([only_age])
    assert not read.present.any()


def test_a_study_looks_at_its_films_through_an_encoder(folder: Path, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "table.csv", with_notes_and_films(tmp_path, rows(40)))
    intake = taken_in(table, target="sick", ignore="kind,a,b,note")
    recipe = tiny_recipe(modalities=EVERYTHING, epochs=2)
    plan = Plan(protocol="split", threads=1, recipe=recipe, image_encoder=str(folder))
    study = hold_study(intake, plan=plan, out=tmp_path / "out")
    model = load_model(tmp_path / "out")
    assert isinstance(model.config.modalities[-1], FrozenImageConfig)
    assert np.array_equal(model.probability(intake.cases), study.model.probability(intake.cases))


def test_an_encoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="model_type = 'resnet'; only \"vit\" is read"):
        viewer(vit_folder(tmp_path / "resnet", model_type="resnet"))
    made = vit_folder(tmp_path / "vit")
    (made / "preprocessor_config.json").write_text("{}")
    with pytest.raises(EncoderError, match="states no image_mean and image_std"):
        viewer(made)


def test_it_agrees_with_transformers(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason='needs the extra "hub": pip install "attending[hub]"')
    theirs = transformers.ViTModel.from_pretrained(folder).eval()
    found = find_encoder(str(folder), needed=IMAGE_FILES)
    mine = Vit(VitConfig.from_architecture(found.architecture)).eval()
    mine.load_hub_weights(found.weights())
    picture = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(mine(picture), theirs(picture).last_hidden_state[:, 1:], atol=1e-5)
