"""A finished model with cheaper attention: the folder answers, the receipt says what it cost, the impossible is refused."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attending.attention import GroupedConfig
from attending.attention.conversion import ConversionError
from attending.comparison.conversion import ConversionPlan, convert_model, parted
from attending.comparison.receipt import receipt_record
from attending.intake import Intake
from attending.model.diagnoser import Diagnoser, Tokenizers
from attending.model.image import ImageConfig
from attending.model.text import TextConfig
from attending.model.trained import TrainedModel, load_model
from attending.records import to_toml
from attending.training.bridge import outcomes_of
from attending.training.settling import Declared, settle
from tests.command_line import call
from tests.tables import TABULAR, rows, taken_in, tiny_recipe, with_notes_and_films, write_rows

N = 160  # half of them calibrate: fewer, and what recovery learns there need not hold for the others


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and, beside it, a model of two networks with wide random weights: self-attention, summaries, pairs, readout."""
    place = tmp_path_factory.mktemp("convert")
    intake = _intake(place)
    attention = GroupedConfig(dim=16, n_heads=4)
    notes = TextConfig(min_patients=2, chunk=8, attention=attention, n_summaries=2)
    recipe = tiny_recipe(modalities=(*TABULAR, notes, ImageConfig(side=16, n_atoms=8, hidden=8)))
    config = replace(recipe.diagnoser, fusion=(attention,), readout=attention, pair_rank=2)
    tokenizers = Tokenizers.fit(config, intake.cases)
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = Diagnoser(config, tokenizers=tokenizers, n_findings=1).eval()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "attention" in name and parameter.dim() == 2 and "norm" not in name:
                    parameter.mul_(2.0)
        networks.append(network)
    rough = torch.linspace(0.1, 0.9, len(intake.cases))[:, None].double().numpy()
    TrainedModel(
        task=intake.task,
        config=config,
        tokenizers=tokenizers,
        networks=tuple(networks),
        settling=settle(outcomes_of(intake.cases, rough, task=intake.task), Declared()),
        schema=to_toml(intake.schema),
        provenance={"data_sha256": "elsewhere"},
    ).save(place / "model")
    return place


def _intake(place: Path) -> Intake:
    table = place / "table.csv"
    if not table.exists():
        write_rows(table, with_notes_and_films(place, rows(N)))
    return taken_in(table, target="sick", ignore="kind,a,b")


def test_a_converted_folder_is_a_full_model_folder(folder: Path, tmp_path: Path) -> None:
    table = folder / "table.csv"
    said = call("convert", folder, "--to", "gqa:2", "--cases", table, "--out", tmp_path / "out", "--threads", 1)
    assert said.code == 0, said.err
    assert "times smaller" in said.out
    made = load_model(tmp_path / "out")
    assert made.provenance["converted_from"] == load_model(folder).id != made.id
    assert made.provenance["conversion"] == "gqa:2"
    assert made.networks[1].blocks[0].attention.config == GroupedConfig(dim=16, n_heads=4, n_kv_heads=2, output_bias=True)
    said = call("predict", tmp_path / "out", table, "--out", tmp_path / "predictions.csv", "--threads", 1)
    assert said.code == 0, said.err
    with (tmp_path / "predictions.csv").open(newline="") as handle:
        assert {row["model"] for row in csv.DictReader(handle)} == {made.id}
    said = call("evaluate", tmp_path / "out", table, "--out", tmp_path / "report", "--threads", 1)
    assert said.code == 0, said.err
    record = json.loads((tmp_path / "out" / "receipt.json").read_text())
    assert len(record["networks"]) == 2
    layers = record["networks"][0]["layers"]
    assert {"blocks.0.attention", "readout.attention"} < {layer["name"] for layer in layers}
    assert all(0.0 < layer["output_error"] < 1.0 and len(layer["head_errors"]) == 4 for layer in layers)
    assert record["total"]["cache_before"] == 2 * record["total"]["cache_after"]
    assert record["total"]["is_foretold"]
    difference = next(r for r in record["results"] if r["comparator"] == "original" and r["metric"] == "auroc")
    assert difference["low"] <= difference["value"] <= difference["high"]
    page = (tmp_path / "out" / "receipt.html").read_text()
    assert "Attention converted to gqa:2" in page
    assert "original" in page


@pytest.mark.parametrize("to", ["mla", "gqa:4", "clustered:4"])
def test_at_full_size_the_answers_stay(folder: Path, tmp_path: Path, to: str) -> None:
    model, intake = load_model(folder), _intake(folder)
    done = convert_model(model, intake.cases, ConversionPlan(to=to))
    before = model.raw_probability(intake.cases)
    np.testing.assert_allclose(done.model.raw_probability(intake.cases), before, atol=2e-6)
    done.model.save(tmp_path / "model")
    assert np.array_equal(
        load_model(tmp_path / "model").raw_probability(intake.cases), done.model.raw_probability(intake.cases)
    )
    total = receipt_record(done.receipt)["total"]
    assert total["worst_error"] < 1e-5


def test_the_given_model_stays_as_it_is(folder: Path) -> None:
    model, intake = load_model(folder), _intake(folder)
    before = model.raw_probability(intake.cases)
    convert_model(model, intake.cases, ConversionPlan(to="mqa"))
    assert np.array_equal(model.raw_probability(intake.cases), before)


def test_recovery_brings_answers_nearer_to_what_they_were(folder: Path) -> None:
    model, intake = load_model(folder), _intake(folder)
    plan = ConversionPlan(to="mla:latent=3", recover=30, refits=False)
    done = convert_model(model, intake.cases, plan)
    assert done.receipt.recovery is not None
    assert done.receipt.recovery.divergence_after < done.receipt.recovery.divergence_before
    assert {row.model for row in done.receipt.results} == {"original", "converted", "recovered"}
    _, judged = parted(intake.cases, seed=0)
    before = convert_model(model, intake.cases, replace(plan, recover=0)).model
    target = model.raw_probability(judged)
    far, near = (np.abs(one.raw_probability(judged) - target).mean() for one in (before, done.model))
    assert near < far


def test_no_patient_calibrates_and_is_judged_whatever_the_order(folder: Path) -> None:
    cases = _intake(folder).cases
    fitted, judged = parted(cases, seed=3)
    assert {case.group for case in fitted}.isdisjoint(case.group for case in judged)
    assert len(fitted) + len(judged) == len(cases)
    assert {case.id for case in parted(cases[::-1], seed=3)[0]} == {case.id for case in fitted}
    assert {case.id for case in parted(cases, seed=4)[0]} != {case.id for case in fitted}
    with pytest.raises(ConversionError, match="found 9 patients, expected 16 or more"):
        parted(cases[:9], seed=0)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("gqa:3", "gqa:3: found 4 KV heads, which do not divide into 3 groups of one size; possible are 1, 2, 4"),
        ("mla:latent=99", "has at most 16; possible are 1 to 16"),
        ("mla:latent=8,rope=2", "has at most 0; possible are even numbers 0 to 0"),
        ("clustered:9", "clustered:9: found 4 heads; possible are 1 to 4"),
        ("flash", "found 'flash', known are gqa:HEADS"),
    ],
)
def test_the_impossible_is_refused_in_one_sentence(folder: Path, tmp_path: Path, to: str, said: str) -> None:
    told = call("convert", folder, "--to", to, "--cases", folder / "table.csv", "--out", tmp_path / "out", "--threads", 1)
    assert told.code == 2
    assert said in told.sentence
    assert not (tmp_path / "out" / "model").exists()


def test_what_was_converted_is_not_converted_again(folder: Path) -> None:
    model, intake = load_model(folder), _intake(folder)
    once = convert_model(model, intake.cases, ConversionPlan(to="gqa:2"))
    with pytest.raises(ConversionError, match="was converted before; convert the original"):
        convert_model(once.model, intake.cases, ConversionPlan(to="mqa"))


def test_layers_over_a_context_stay_when_windows_are_asked_for(folder: Path) -> None:
    model, intake = load_model(folder), _intake(folder)
    done = convert_model(model, intake.cases, ConversionPlan(to="window:2"))
    member = done.receipt.members[0]
    assert {layer.name for layer in member.layers} == {"blocks.0.attention", "encoders.3.block.attention"}
    assert "readout.attention" in member.left
    assert any("readout.attention stayed as it was: window" in caution for caution in done.receipt.cautions)
