"""What other rooms ask of the network beside its answer: what a query has read, and a case with fewer kinds of evidence."""

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attending.attention import GroupedConfig, MechanismConfig
from attending.case import Case, Demographics, Evidence, Lab, Note, Scan, Sign
from attending.diagnosis import Task
from attending.model.diagnoser import Diagnoser, DiagnoserConfig, Tokenizers
from attending.model.frozen_text import FrozenTextConfig
from attending.model.image import ImageConfig
from attending.model.modality import ModalityConfig
from attending.model.numbers import NumbersConfig
from attending.model.pretrained import TEXT_FILES, find_encoder
from attending.model.signs import SignsConfig
from attending.model.text import TextConfig
from attending.model.tuned_text import TunedTextConfig
from tests.model.cases_at_hand import patient, patients
from tests.model.encoder_at_hand import bert_folder

TASK = Task(findings=("sick", "old"))
ATTENTION = GroupedConfig(dim=16, n_heads=2)
NOTES = ("words", "visible", "frozen", "tuned")


def notes(name: str, folder: Path) -> ModalityConfig:
    if name in ("words", "visible"):
        return TextConfig(min_patients=2, chunk=8, visible=("history",) if name == "visible" else ())
    encoder = bert_folder(folder / "bert")
    digest = find_encoder(str(encoder), needed=TEXT_FILES).digest
    if name == "frozen":
        return FrozenTextConfig(encoder=str(encoder), digest=digest, chunk=8, visible=("history",))
    return TunedTextConfig(encoder=str(encoder), digest=digest, chunk=8)


def made(
    modality: ModalityConfig, *, fusion: tuple[MechanismConfig, ...] = (), pair_rank: int = 0
) -> tuple[Diagnoser, Tokenizers]:
    """A network with random weights over notes read by this modality, and films, values and signs."""
    others = (ImageConfig(side=32, n_atoms=20, hidden=16, n_summaries=2), NumbersConfig(n_bins=4), SignsConfig())
    config = DiagnoserConfig(modalities=(modality, *others), fusion=fusion, readout=ATTENTION, pair_rank=pair_rank)
    tokenizers = Tokenizers.fit(config, patients(20))
    torch.manual_seed(0)
    network = Diagnoser(config, tokenizers=tokenizers, n_findings=2).eval()
    torch.nn.init.normal_(network.additive)
    return network, tokenizers


@pytest.mark.parametrize("fusion", [(), (ATTENTION,)], ids=["queries alone", "one block"])
def test_what_is_fused_is_what_the_answer_reads(fusion: tuple[MechanismConfig, ...]) -> None:
    network, tokenizers = made(TextConfig(min_patients=2, chunk=8), fusion=fusion, pair_rank=2)
    inputs = tokenizers.batch(patients(9), TASK).inputs
    caught: list[Tensor] = []
    network.readout.answer_norm.register_forward_hook(lambda _module, _given, result: caught.append(result))
    with torch.inference_mode():
        network(inputs)
        fused = network.fused(inputs)
    assert fused.shape == (9, 2, 16)
    assert torch.equal(fused, caught[0])  # bit for bit what passes by in answering


def test_an_answer_that_nothing_is_added_to_is_linear_in_what_is_fused() -> None:
    network, tokenizers = made(TextConfig(min_patients=2, chunk=8), fusion=(ATTENTION,))
    inputs = tokenizers.batch(patients(9), TASK).inputs
    with torch.inference_mode():
        network.additive.zero_()
        said = (network.fused(inputs) * network.readout.answer).sum(dim=-1) + network.readout.bias
        torch.testing.assert_close(network(inputs), said)


def rebuilt(case: Case, kept: tuple[type[Evidence], ...], kinds: tuple[type[Evidence], ...]) -> Case:
    for kind in kinds:
        case = case if kind in kept else case.without(kind)
    return case


@pytest.mark.parametrize("name", NOTES)
def test_a_subset_is_the_case_rebuilt_without_the_other_kinds(name: str, tmp_path: Path) -> None:
    network, tokenizers = made(notes(name, tmp_path), fusion=(ATTENTION,), pair_rank=2)
    kinds = tuple(tokenizers.by_kind)
    kept = [tuple(k for k, is_in in zip(kinds, row, strict=True) if is_in) for row in product((False, True), repeat=4)]
    case = patient(1)
    inputs = tokenizers.subsets(case, kept)
    expected = tokenizers.batch([rebuilt(case, one, kinds) for one in kept], TASK).inputs
    assert all(type(inputs[kind]) is type(expected[kind]) for kind in kinds)
    with torch.inference_mode():
        torch.testing.assert_close(network(inputs), network(expected), rtol=0, atol=1e-6)
        for kind, encoder in zip(kinds, network.encoders, strict=True):
            given, asked = encoder(inputs[kind]), encoder(expected[kind])
            assert torch.equal(given.seen, asked.seen)


def test_a_subset_may_keep_nothing_and_kinds_that_are_not_there() -> None:
    network, tokenizers = made(TextConfig(min_patients=2, chunk=8))
    lacking = patient(1, kinds=(Lab, Sign))
    with torch.inference_mode():
        said = network(tokenizers.subsets(lacking, [(), (Note, Scan, Demographics), (Lab, Sign), (Lab, Sign, Note)]))
    assert torch.equal(said[0], said[1])
    assert torch.equal(said[2], said[3])
    assert not torch.equal(said[0], said[2])
