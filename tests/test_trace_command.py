"""`attending trace`: on a sentence through a mechanism, an encoder or a model, and on one case; and what it refuses."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attending.attention import GroupedConfig
from attending.case import Note, Scan
from attending.commands.traced import OF_A_PATIENT, trace_case
from attending.model.diagnoser import Diagnoser, Tokenizers
from attending.model.image import ImageConfig
from attending.model.text import TextConfig
from attending.model.trained import TrainedModel
from attending.records import to_toml
from attending.training.bridge import outcomes_of
from attending.training.recipe import Recipe
from attending.training.settling import Declared, settle
from tests.command_line import Said, call
from tests.model.encoder_at_hand import bert_folder
from tests.tables import TABULAR, rows, taken_in, tiny_recipe, with_notes_and_films, write_rows

SENTENCE = "no fever but productive cough , worse since two days"


def model_over(folder: Path, *, reads_notes: bool = True) -> Path:
    """A model with random weights, its table beside it: notes with summaries and attention within, films, one fusion block."""
    table = write_rows(folder / "table.csv", with_notes_and_films(folder, rows(20)))
    intake = taken_in(table, target="sick", ignore="kind,a,b")
    attention = GroupedConfig(dim=16, n_heads=2)
    notes = TextConfig(min_patients=2, chunk=8, attention=attention, n_summaries=2)
    films = ImageConfig(side=16, n_atoms=8, hidden=8)
    recipe: Recipe = tiny_recipe(modalities=(*TABULAR, notes, films) if reads_notes else TABULAR)
    config = replace(recipe.diagnoser, fusion=(attention,), pair_rank=2)
    tokenizers = Tokenizers.fit(config, intake.cases)
    torch.manual_seed(0)
    network = Diagnoser(config, tokenizers=tokenizers, n_findings=1).eval()
    rough = torch.linspace(0.1, 0.9, len(intake.cases))[:, None].double().numpy()
    model = TrainedModel(
        task=intake.task,
        config=config,
        tokenizers=tokenizers,
        networks=(network,),
        settling=settle(outcomes_of(intake.cases, rough, task=intake.task), Declared()),
        schema=to_toml(intake.schema),
        provenance={},
    )
    model.save(folder / "model")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_over(tmp_path_factory.mktemp("traced"))


def layers_of(page: str) -> list[str]:
    return re.findall(r'<section id="layer-\d+">\s*<h2>(?:\d+ · )?<code>([^<]+)</code>', page)


@pytest.mark.parametrize(
    "mechanism", ["mha", "gqa:2", "latent", "indexed", "clustered", "nsa", "windowed:n_global=1", "low rank"]
)
def test_a_sentence_through_every_mechanism(tmp_path: Path, mechanism: str) -> None:
    said = call("trace", "--text", SENTENCE, "--mechanism", mechanism, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    page = (tmp_path / "out" / "trace.html").read_text(encoding="utf-8")
    assert "Attention is not explanation." in page
    assert "Words and weights are random" in page
    assert all(f">{word}<" in page for word in ("fever", "productive", "days"))
    assert "masked" in said.out
    assert "result" in said.out
    assert len(layers_of(page)) == 1


def test_the_same_seed_gives_the_same_page_and_another_one_does_not(tmp_path: Path) -> None:
    pages = []
    for number, seed in enumerate(("0", "0", "1")):
        assert call("trace", "--text", SENTENCE, "--seed", seed, "--out", tmp_path / str(number)).code == 0
        pages.append((tmp_path / str(number) / "trace.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1] != pages[2]


def test_every_plot_is_written_as_png_where_asked_for(tmp_path: Path) -> None:
    said = call("trace", "--text", "no fever", "--out", tmp_path, "--png")
    assert said.code == 0, said.err
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == [*(f"layer-1-{kind}.png" for kind in ("heads", "links", "mean", "numbers", "similarity")), "trace.html"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in found if name.endswith("png"))


def test_a_sentence_through_a_text_encoder(tmp_path: Path) -> None:
    bert_folder(tmp_path / "bert")
    said = call("trace", "--text", "no dyspnoea", "--encoder", tmp_path / "bert", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    page = (tmp_path / "out" / "trace.html").read_text(encoding="utf-8")
    assert layers_of(page) == ["layers.0.attention", "layers.1.attention"]
    assert all(f">{piece}<" in page for piece in ("[CLS]", "no", "dys", "ea", "[SEP]"))
    assert "over layers" in page
    assert "1 more layers in the page" in said.out


def test_a_sentence_through_a_trained_model(folder: Path, tmp_path: Path) -> None:
    said = call("trace", folder, "--text", "Patient reports fever and cough.", "--out", tmp_path)
    assert said.code == 0, said.err
    page = (tmp_path / "trace.html").read_text(encoding="utf-8")
    assert "on a case that has nothing but this note" in page
    assert "summaries.Note.attention" in layers_of(page)
    assert ">fever<" in page


def test_one_case_of_a_trained_model_and_no_word_of_it_in_the_terminal(folder: Path, tmp_path: Path) -> None:
    said = call("trace", folder, folder / "table.csv", "--patient", "p003", "--out", tmp_path / "out", "--png")
    assert said.code == 0, said.err
    page = (tmp_path / "out" / "trace.html").read_text(encoding="utf-8")
    found = layers_of(page)
    assert {"readout.attention", "blocks.0.attention", "summaries.Note.attention"} <= set(found)
    assert any(name.startswith("encoders.") for name in found)
    assert any(name.startswith("pairs.") for name in found)
    assert OF_A_PATIENT.replace("'", "&#39;") in page
    assert ">reports<" in page
    assert ">note, summary 2<" in page
    assert ">register<" in page
    assert "(lab not there)" not in page
    assert "Sample 1 of 3 is drawn" in page
    for private in ("p003", "reports", "cough,", "Patient reports"):
        assert private not in said.out + said.err
    assert "p003" not in page


def test_every_traced_layer_of_a_case_has_its_names(folder: Path) -> None:
    from attending.model.trained import load_model

    model, intake = load_model(folder), taken_in(folder / "table.csv", target="sick", ignore="kind,a,b")
    for case in (intake.cases[3], intake.cases[4], intake.cases[6]):
        found = trace_case(case, model=model)
        by_name = {view.name: view for view in found.views}
        assert by_name["readout.attention"].rows == list(model.task.findings)
        assert by_name["readout.attention"].columns[0] == "register"
        assert {"crp_mg_l", "cough", "age_years"} & set(by_name["readout.attention"].columns)
        assert ("film 0,0" in by_name["readout.attention"].columns) == bool(case.of(Scan))
        has_note = bool(case.of(Note))
        assert ("summaries.Note.attention" in by_name) == has_note
        assert ("note" in found.page.sentence) != has_note


def refused(said: Said, *parts: str) -> None:
    assert said.code == 2, said.err
    assert "Traceback" not in said.err
    assert said.sentence.startswith("attending: "), said.err
    assert len(said.err.strip().splitlines()) == 1 or "absent evidence" in said.err
    for part in parts:
        assert part in said.sentence


def test_bad_input_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    out, table = ("--out", tmp_path / "out"), folder / "table.csv"
    refused(call("trace", *out), "nothing to look into; give --text")
    refused(call("trace", folder, *out), "give TABLE and --patient ID")
    refused(call("trace", folder, table, *out), "give TABLE and --patient ID")
    refused(call("trace", folder, table, "--patient", "p003", "--text", "a", *out), "--text and a case of a table")
    refused(call("trace", folder, "--text", "a", "--mechanism", "mha", *out), "found MODEL and --mechanism")
    refused(call("trace", "--text", "a", "--encoder", "minilm", "--mask", "causal", *out), "found --encoder and --mechanism")
    refused(call("trace", "--text", " ", *out), "found no words")
    refused(call("trace", "--text", "word " * 600, *out), "found 600 words, expected at most 512")
    refused(call("trace", "--text", "a", "--mask", "sideways", *out), "--mask sideways: expected causal or everything")
    refused(call("trace", "--text", "a", "--mechanism", "flash", *out), "found 'flash', known are mha")
    refused(
        call("trace", "--text", "a b", "--mechanism", "low rank", "--mask", "causal", *out), "low rank: found the rule causal"
    )
    refused(call("trace", "--text", "a", "--encoder", tmp_path / "no", *out), "no such folder")
    refused(call("trace", tmp_path / "no", table, "--patient", "p003", *out), "no such folder")
    refused(call("trace", folder, table, "--patient", "p999", *out), "found 0 cases of that id among 20", "check the id")
    refused(call("trace", "--text", "a", "--out", table), "found a file, expected a folder")
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_no_notes_says_what_it_reads(tmp_path: Path) -> None:
    model = model_over(tmp_path, reads_notes=False)
    refused(call("trace", model, "--text", "fever", "--out", tmp_path / "out"), "this model reads no notes, it reads lab, sign")
