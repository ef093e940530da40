"""The network: absence is native, places are right, and what is for judging changes nothing."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from attending.attention import GroupedConfig
from attending.case import Box, Case, Characters, Demographics, Embedding, Evidence, Lab, Note, Scan, Sign
from attending.diagnosis import Task
from attending.model.catalog import from_plain, to_plain
from attending.model.demographics import DemographicsConfig
from attending.model.diagnoser import Diagnoser, DiagnoserConfig, Tokenizers
from attending.model.image import ImageConfig
from attending.model.numbers import NumbersConfig
from attending.model.signs import SignsConfig
from attending.model.text import WORD, TextConfig
from attending.model.tokens import Tokens
from attending.model.vectors import VectorsConfig
from tests.model.cases_at_hand import patient, patients

TASK = Task(findings=("sick", "old"))
KINDS = (Note, Scan, Lab, Sign, Demographics, Embedding)
ATTENTION = GroupedConfig(dim=16, n_heads=2)


def config(**changes: object) -> DiagnoserConfig:
    return replace(
        DiagnoserConfig(
            modalities=(
                NumbersConfig(n_bins=4),
                SignsConfig(),
                DemographicsConfig(),
                TextConfig(min_patients=2, chunk=8, attention=ATTENTION, n_summaries=3),
                ImageConfig(side=32, n_atoms=20, hidden=16, n_summaries=2),
                VectorsConfig(),
            ),
            fusion=(ATTENTION,),
            readout=ATTENTION,
        ),
        **changes,
    )


def network(tokenizers: Tokenizers, chosen: DiagnoserConfig | None = None) -> Diagnoser:
    torch.manual_seed(0)
    made = Diagnoser(chosen or config(), tokenizers=tokenizers, n_findings=2).eval()
    torch.nn.init.normal_(made.additive)
    return made


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    return Tokenizers.fit(config(), patients(40))


def logits(made: Diagnoser, tokenizers: Tokenizers, cases: list[Case]) -> torch.Tensor:
    with torch.inference_mode():
        return made(tokenizers.batch(cases, TASK).inputs)


def test_any_subset_of_modalities_gives_finite_answers(tokenizers: Tokenizers) -> None:
    subsets = [tuple(k for k, is_in in zip(KINDS, bits, strict=True) if is_in) for bits in product((0, 1), repeat=len(KINDS))]
    cases = [patient(3, kinds=kinds) for kinds in subsets]
    assert len(cases) == 64
    assert torch.isfinite(logits(network(tokenizers), tokenizers, cases)).all()


def test_tokens_that_are_not_seen_have_no_influence_bit_for_bit(
    tokenizers: Tokenizers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, cases = network(tokenizers), patients(12)
    before = logits(made, tokenizers, cases)
    encode = made._encode

    def with_rubbish_unseen(inputs: object) -> dict[type[Evidence], Tokens]:
        encoded = encode(inputs)
        hidden = sum(int((~tokens.seen).sum()) for tokens in encoded.values())
        assert hidden > 20
        return {
            kind: Tokens(values=torch.where(t.seen[..., None], t.values, torch.full_like(t.values, 1e6)), seen=t.seen)
            for kind, t in encoded.items()
        }

    monkeypatch.setattr(made, "_encode", with_rubbish_unseen)
    assert torch.equal(logits(made, tokenizers, cases), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_taken_away_is_the_kind_that_never_was(tokenizers: Tokenizers, kind: type[Evidence]) -> None:
    made, case = network(tokenizers), patient(4)
    never = patient(4, kinds=KINDS)
    never = replace(never, evidence=tuple(e for e in never.evidence if type(e) is not kind))
    assert torch.equal(logits(made, tokenizers, [case.without(kind)]), logits(made, tokenizers, [never]))


def test_blanking_site_strata_and_truth_changes_no_answer(tokenizers: Tokenizers) -> None:
    made, cases = network(tokenizers), patients(9)
    blank = [replace(case, truth={}, site=None, strata={"band": "x"}) for case in cases]
    assert torch.equal(logits(made, tokenizers, blank), logits(made, tokenizers, cases))


def test_visible_absence_differs_from_dropped_evidence_and_from_presence() -> None:
    seen = config(modalities=(NumbersConfig(n_bins=4, visible=("crp",)),))
    hidden = config(modalities=(NumbersConfig(n_bins=4),))
    everyone, lacking = patients(40), patient(5, kinds=())
    fitted = Tokenizers.fit(seen, everyone)
    tokens_seen = network(fitted, seen)._encode(fitted.batch([lacking], TASK).inputs)[Lab]
    assert tokens_seen.seen.sum() == 1
    fitted = Tokenizers.fit(hidden, everyone)
    tokens_hidden = network(fitted, hidden)._encode(fitted.batch([lacking], TASK).inputs)[Lab]
    assert tokens_hidden.seen.sum() == 0


def test_places_name_the_evidence_that_moves_the_token(tokenizers: Tokenizers) -> None:
    case = patient(7)
    made = network(tokenizers, config(fusion=()))
    places = tokenizers.places(case)
    weights = made.weights(tokenizers.batch([case], TASK).inputs)
    assert weights.shape[-1] == len(places)
    assert torch.allclose(weights.sum(-1), torch.ones(1))
    for place, weight in zip(places, weights[0].sum(dim=(0, 1)), strict=True):
        assert (place is None) == (weight == 0)
    assert made.summaries.keys() == {"Note", "Scan"}
    note = case.of(Note)[0]
    words = [p for p in places if p is not None and isinstance(p.part, Characters)]
    assert [note.text[p.part.start : p.part.stop] for p in words] == WORD.findall(note.text)
    boxes = [p.part for p in places if p is not None and isinstance(p.part, Box)]
    covered = sum((b.bottom - b.top) * (b.right - b.left) for b in boxes)
    assert covered >= case.of(Scan)[0].pixels.size


def test_the_latest_value_comes_first_and_carries_its_age(tokenizers: Tokenizers) -> None:
    case = patient(7)
    numbers = tokenizers.by_kind[Lab]
    read = numbers.read([case])
    crp = [e for e in case.evidence if isinstance(e, Lab) and e.code == "crp"]
    assert read.age_log_days[0, 0] == pytest.approx(0.0408, abs=1e-4)  # log(1 + 1/24)
    assert read.age_log_days[0, 1] == pytest.approx(0.8109, abs=1e-4)  # log(1 + 30/24)
    assert [p.evidence for p in numbers.places(case)[:2]] == [case.evidence.index(e) for e in crp]


def test_chunks_do_not_cut_a_long_note(tokenizers: Tokenizers) -> None:
    made, case = network(tokenizers), patient(3, kinds=(Note,))
    long = replace(case, evidence=(Note(text="cough , " * 500 + "fever", field_name="history"),))
    assert tokenizers.by_kind[Note].read([long]).seen.sum() == 1001
    shorter = replace(case, evidence=(Note(text="cough , " * 500, field_name="history"),))
    assert not torch.equal(logits(made, tokenizers, [long]), logits(made, tokenizers, [shorter]))


def test_a_configuration_comes_back_from_plain_values() -> None:
    assert from_plain(to_plain(config())) == config()
    with pytest.raises(ValueError, match="known are"):
        from_plain(to_plain(config()) | {"modalities": [{"modality": "smell"}]})


def test_every_parameter_of_the_network_is_used(tokenizers: Tokenizers) -> None:
    made = network(tokenizers, config(modalities=tuple(replace(m, visible=_all_visible(m)) for m in config().modalities)))
    fitted = Tokenizers.fit(made.config, patients(40))
    made = network(fitted, made.config)
    made(fitted.batch(patients(40), TASK).inputs).square().sum().backward()
    unused = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert unused == []


def _all_visible(modality: object) -> tuple[str, ...]:
    return ("crp", "wbc", "pain", "age_years", "sex", "history", "image", "ecg")


def test_weights_through_summaries_are_products_of_the_two_attentions() -> None:
    chosen = config(modalities=(TextConfig(min_patients=2, n_summaries=3),), fusion=())
    everyone, case = patients(40), patient(7)
    fitted = Tokenizers.fit(chosen, everyone)
    made = network(fitted, chosen)
    inputs = fitted.batch([case], TASK).inputs
    encoded = made._encode(inputs)
    words = encoded[Note]
    values, seen = made._spoken(encoded)
    over = made.readout.weights(values, seen=seen)
    through = over[..., 1:] @ made._summary(Note).origin(words).unsqueeze(1)
    torch.testing.assert_close(made.weights(inputs), torch.cat([over[..., :1], through], dim=-1))


@pytest.fixture(scope="module")
def with_pairs() -> Diagnoser:
    return network(Tokenizers.fit(config(), patients(40)), config(pair_rank=4))


def test_what_a_modality_says_alone_is_what_is_said_of_cases_that_have_no_other(
    tokenizers: Tokenizers, with_pairs: Diagnoser
) -> None:
    cases = patients(12)
    with torch.no_grad():
        together, alone = with_pairs.together_and_alone(tokenizers.batch(cases, TASK).inputs)
    torch.testing.assert_close(together, logits(with_pairs, tokenizers, cases))
    kinds = [kind for kind in with_pairs.kinds if kind is not Demographics]
    assert len(alone) == len(kinds)
    for kind, (said, is_its_own) in zip(kinds, alone, strict=True):
        lonely = [replace(c, evidence=tuple(e for e in c.evidence if isinstance(e, (kind, Demographics)))) for c in cases]
        torch.testing.assert_close(said, logits(with_pairs, tokenizers, lonely))
        assert is_its_own.tolist() == [bool(case.of(kind)) for case in cases]


def test_pairs_say_nothing_of_one_kind_of_evidence_and_something_of_two(tokenizers: Tokenizers, with_pairs: Diagnoser) -> None:
    pairs = with_pairs.pairs
    assert pairs is not None

    def said(evidence: dict[str, Tokens]) -> torch.Tensor:
        return pairs.multiply([pairs.read(name, tokens) for name, tokens in evidence.items()])

    with torch.no_grad():
        evidence = with_pairs._encode(tokenizers.batch([patient(4)], TASK).inputs)
        assert all(tokens.seen.any() for tokens in evidence.values())
        by_name = {kind.__name__: tokens for kind, tokens in evidence.items()}
        for name, tokens in by_name.items():
            torch.testing.assert_close(said({name: tokens}), torch.zeros(1, 2))
        a, b, c = (by_name[name] for name in ("Lab", "Sign", "Note"))
        two = [said(dict(zip(n, t, strict=True))) for n, t in (
            (("Lab", "Sign"), (a, b)), (("Lab", "Note"), (a, c)), (("Sign", "Note"), (b, c)))]  # fmt: skip
        assert all(one.abs().min() > 1e-6 for one in two)
        torch.testing.assert_close(said({"Lab": a, "Sign": b, "Note": c}), sum(two))


def test_a_network_with_pairs_is_written_down_and_read_back() -> None:
    assert from_plain(to_plain(config(pair_rank=4))) == config(pair_rank=4)
