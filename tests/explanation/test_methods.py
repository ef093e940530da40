"""Every method on small models: what adds up, what is planted, and what two ways must agree on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attending.attention import GroupedConfig, LatentConfig, WindowedConfig
from attending.case import Box, Characters, Demographics, Lab, Note, Place, Scan, Sign
from attending.explanation import (
    EXPLAINERS,
    AttentionConfig,
    AttentionFlowConfig,
    ExplanationError,
    GradientsConfig,
    OcclusionConfig,
    PlaceShapleyConfig,
    Shapley,
    WindowOcclusionConfig,
    explainer_named,
)
from attending.explanation.games import coalitions, shapley_values
from attending.explanation.opened import OpenCase
from attending.explanation.scale import score_of
from attending.explanation.vicinity import vicinity
from attending.model.trained import TrainedModel
from tests.explanation.models_at_hand import ATTENTION, CASES, EITHER, TASK, WHOLE, model_of, plant_value

MODELS = {
    "plain": model_of(),
    "exclusive": model_of(task=EITHER),
    "blocks": model_of(fusion=(ATTENTION, ATTENTION)),
    "one network": model_of(members=1),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> TrainedModel:
    return MODELS[request.param]


def test_modalities_add_up_to_the_answer(model: TrainedModel) -> None:
    for case in CASES[:6]:
        shares = Shapley(model).all_shares(case)
        nothing = case
        for kind in model.tokenizers.by_kind:
            nothing = nothing.without(kind)
        ends = score_of(model.probability([nothing, case]), is_exclusive=model.task.exclusive)
        for column, finding in enumerate(model.task.findings):
            share = shares[finding]
            assert share.empty + sum(share.values.values()) == pytest.approx(ends[1, column], abs=1e-5)
            assert share.empty == pytest.approx(ends[0, column], abs=1e-5)
            assert set(share.values) == {kind for kind in model.tokenizers.by_kind if case.of(kind)}
            assert max(abs(value) for value in share.values.values()) > 1e-3


def test_shares_are_those_of_cases_rebuilt_and_each_kind_is_read_once(
    model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    for tokenizer in model.tokenizers.by_kind.values():
        plain = tokenizer.read

        def counted(cases, plain=plain):
            read.append(len(cases))
            return plain(cases)

        monkeypatch.setattr(tokenizer, "read", counted)
    for case in (*CASES[:6], WHOLE):
        read.clear()
        found = Shapley(model).all_shares(case)
        assert read == [2] * len(model.tokenizers.by_kind)  # with its kind and without, for all networks
        present = [kind for kind in model.tokenizers.by_kind if case.of(kind)]
        cases = []
        for row in coalitions(len(present)):
            cases.append(case)
            for kind in set(model.tokenizers.by_kind) - {one for one, is_in in zip(present, row, strict=True) if is_in}:
                cases[-1] = cases[-1].without(kind)
        worth = score_of(model.probability(cases), is_exclusive=model.task.exclusive)
        for column, finding in enumerate(model.task.findings):
            expected = dict(zip(present, shapley_values(worth[:, column]), strict=True))
            assert found[finding].values == pytest.approx(expected, rel=0, abs=1e-9)
            assert found[finding].empty == pytest.approx(worth[0, column], rel=0, abs=1e-9)
            assert found[finding].full == pytest.approx(worth[-1, column], rel=0, abs=1e-9)


def test_an_opened_case_answers_as_the_model(model: TrainedModel) -> None:
    opened = OpenCase(model, WHOLE)
    everything = opened.scores(np.ones((1, len(opened)), dtype=bool))
    assert everything == pytest.approx(score_of(model.probability([WHOLE]), is_exclusive=model.task.exclusive), abs=1e-5)


@pytest.mark.parametrize("kind", [Note, Scan, Lab, Sign, Demographics])
def test_a_modality_without_its_places_is_absent(kind: type) -> None:
    """Two ways to take a modality away: no token seen, and no evidence of the kind in the case."""
    model = MODELS["plain"]
    opened = OpenCase(model, WHOLE)
    kept = np.array([[other is not kind for other in opened.kinds]])
    expected = score_of(model.probability([WHOLE.without(kind)]), is_exclusive=False)
    assert opened.scores(kept) == pytest.approx(expected, abs=1e-5)
    assert np.abs(opened.scores(np.ones_like(kept)) - expected).max() > 1e-3


def test_an_opened_case_leaves_the_network_as_it_was() -> None:
    model = MODELS["plain"]
    encoders, before = model.networks[0].encoders, model.probability([WHOLE])
    opened = OpenCase(model, WHOLE)
    opened.scores(np.zeros((3, len(opened)), dtype=bool))
    assert model.networks[0].encoders is encoders
    assert np.array_equal(model.probability([WHOLE]), before)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_method_explains_in_places_of_the_case(name: str, model: TrainedModel) -> None:
    for case in CASES[:3]:
        found = EXPLAINERS[name].build(model, CASES).explain(case, "old")
        assert (found.finding, found.method, found.faithfulness) == ("old", name, None)
        assert {place.evidence for place, _ in found.weights} <= set(range(len(case.evidence)))
        assert all(np.isfinite(weight) for _, weight in found.weights)
        assert len({place for place, _ in found.weights}) == len(found.weights)
        if not EXPLAINERS[name].has_sign:
            assert all(weight >= 0 for _, weight in found.weights)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_method_repeats_itself(name: str) -> None:
    explainer = EXPLAINERS[name].build(MODELS["plain"], CASES)
    assert explainer.explain(WHOLE, "sick") == explainer.explain(WHOLE, "sick")


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_signed_method_finds_the_planted_value(name: str) -> None:
    """crp alone drives the answer, whatever its size; attention knows nothing of the path it drives it by."""
    if name in ("attention", "attention-flow", "shapley"):
        return
    model = plant_value(model_of(), "wbc")
    if name == "integrated-gradients":  # which compares with the usual token: let wbc be unusual here
        for network in model.networks:
            labs = [kind.__name__ for kind in network.kinds].index("Lab")
            with torch.no_grad():
                network.encoders[labs].weight[1, :, 0] = 1.0
    weights = dict(EXPLAINERS[name].build(model, CASES).explain(WHOLE, "sick").weights)
    planted = next(index for index, e in enumerate(WHOLE.evidence) if isinstance(e, Lab) and e.code == "wbc")
    heaviest = max(weights, key=lambda place: abs(weights[place]))
    assert heaviest == Place(planted)
    assert abs(weights[heaviest]) > 100 * max(abs(w) for place, w in weights.items() if place != heaviest)


def test_occlusion_is_the_difference_of_two_answers() -> None:
    """Against the model's own verb: a sign taken from the case."""
    model = MODELS["plain"]
    weights = dict(OcclusionConfig().build(model, ()).explain(WHOLE, "sick").weights)
    sign = next(index for index, e in enumerate(WHOLE.evidence) if isinstance(e, Sign))
    scores = score_of(model.probability([WHOLE, WHOLE.without(Sign)]), is_exclusive=False)[:, 0]
    assert weights[Place(sign)] == pytest.approx(scores[0] - scores[1], abs=1e-5)


def test_a_window_takes_the_neighbours_too() -> None:
    """By hand: words by order, cells by rows and columns, values alone."""
    words = [Place(0, Characters(start, start + 2)) for start in (0, 5, 9, 20)]
    cells = [Place(1, Box(top, left, top + 8, left + 8)) for top in (0, 8, 16) for left in (0, 8, 16)]
    near = vicinity([*words, *cells, Place(2), Place(3)], reach=1)
    assert near[1].nonzero()[0].tolist() == [0, 1, 2]
    assert near[3].nonzero()[0].tolist() == [2, 3]
    assert near[4 + 4, 4:13].all()
    assert near[4].nonzero()[0].tolist() == [4, 5, 7, 8]
    assert near[13].nonzero()[0].tolist() == [13]
    assert (near == near.T).all()
    assert np.array_equal(vicinity([*words, *cells], reach=0), np.eye(13, dtype=bool))
    with pytest.raises(ValueError, match="reach=0"):
        WindowOcclusionConfig(reach=0)


def test_a_window_over_everything_takes_the_whole_modality() -> None:
    model = MODELS["plain"]
    weights = dict(WindowOcclusionConfig(reach=99).build(model, ()).explain(WHOLE, "sick").weights)
    note = next(index for index, e in enumerate(WHOLE.evidence) if isinstance(e, Note))
    scores = score_of(model.probability([WHOLE, WHOLE.without(Note)]), is_exclusive=False)[:, 0]
    of_note = [weight for place, weight in weights.items() if place.evidence == note]
    assert of_note == pytest.approx([scores[0] - scores[1]] * len(of_note), abs=1e-5)


def test_sampled_values_of_places_add_up_and_agree_with_exact_ones() -> None:
    model = MODELS["plain"]
    few = replace(WHOLE, evidence=tuple(e for e in WHOLE.evidence if isinstance(e, Lab | Sign | Demographics)))
    account = PlaceShapleyConfig(n_pairs=150).build(model, ()).account(few, "sick")
    assert abs(account.gap) < 1e-9
    opened = OpenCase(model, few)
    from attending.explanation.games import coalitions, shapley_values

    exact = shapley_values(opened.scores(coalitions(len(opened)))[:, 0])
    sampled = np.array([weight for _, weight in account.explanation.weights])
    assert np.abs(exact).max() > 0.02
    assert np.abs(sampled - exact).max() < 0.05 * np.abs(exact).max()


def test_gradients_are_complete(model: TrainedModel) -> None:
    explainer = GradientsConfig(n_points=64).build(model, CASES)
    for case in CASES[:4]:
        account = explainer.account(case, "sick")
        assert abs(account.end - account.start) > 1e-3
        assert abs(account.gap) < 0.01 * max(1.0, abs(account.end - account.start))


def test_gradients_of_a_linear_answer_are_exact() -> None:
    model = plant_value(model_of(members=1), "crp")
    account = GradientsConfig(n_points=2).build(model, CASES).account(WHOLE, "sick")
    assert abs(account.gap) < 1e-5


def test_flow_without_blocks_is_attention() -> None:
    """Two ways to the same numbers: the network's own verb, and the traced layers multiplied."""
    model = MODELS["plain"]
    for case in CASES[:4]:
        looked = dict(AttentionConfig().build(model, ()).explain(case, "sick").weights)
        flowed = dict(AttentionFlowConfig().build(model, ()).explain(case, "sick").weights)
        assert flowed == pytest.approx(looked, abs=1e-6)


@pytest.mark.parametrize(
    "attention",
    [
        GroupedConfig(dim=16, n_heads=4),
        LatentConfig(dim=16, n_heads=2, latent_dim=8, rope_dim=4, nope_dim=4, value_dim=8),
        WindowedConfig(dim=16, n_heads=2, before=8, after=8),
    ],
    ids=lambda config: type(config).__name__,
)
def test_attention_flows_through_other_mechanisms(attention: GroupedConfig) -> None:
    model = model_of(fusion=(attention, attention))
    flowed = dict(AttentionFlowConfig().build(model, ()).explain(WHOLE, "sick").weights)
    looked = dict(AttentionConfig().build(model, ()).explain(WHOLE, "sick").weights)
    assert 0.3 < sum(flowed.values()) <= 1 + 1e-5
    assert max(abs(flowed[place] - looked[place]) for place in flowed) > 1e-4


def test_what_cannot_be_explained_is_refused_in_one_sentence() -> None:
    model = MODELS["plain"]
    empty = replace(WHOLE, evidence=())
    with pytest.raises(ExplanationError, match='finding "gout" is not asked about; this model answers sick, old'):
        OcclusionConfig().build(model, ()).explain(WHOLE, "gout")
    for config in EXPLAINERS.values():
        with pytest.raises(ExplanationError, match="no evidence of a kind that the model reads"):
            config.build(model, CASES).explain(empty, "sick")
    with pytest.raises(ExplanationError, match="need reference cases"):
        GradientsConfig().build(model, ())
    with pytest.raises(ExplanationError, match='method "lime" is not known; known are shapley'):
        explainer_named("lime")
    with pytest.raises(ValueError, match="n_pairs=0"):
        PlaceShapleyConfig(n_pairs=0)
    assert TASK.findings == ("sick", "old")
