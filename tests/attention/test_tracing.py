"""Looking inside: the steps follow from each other, end in what the mechanism gives, and are printed with their shapes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attending.attention import AttentionError, GroupedConfig, LatentConfig, causal, everything, keep_keys
from attending.attention.tracing import Trace, range_of, trace, traces_within
from tests.attention.examples import BATCH, CONTEXT, EXAMPLES, LENGTH, Example, MaskKind, tokens
from tests.attention.sweeps import built, crossing, sweep, sweep_with_masks

FIRST_STEPS = {"queries", "unrotated queries"}


def check_weights_and_result(found: Trace, weights: Tensor, result: Tensor, rows: Tensor | None = None) -> None:
    """`rows` [batch, query] are those that exist."""
    torch.testing.assert_close(found.result, result, rtol=1e-9, atol=1e-10)
    kept = torch.ones(weights.shape[0], weights.shape[2], dtype=torch.bool) if rows is None else rows
    torch.testing.assert_close(found.weights.transpose(1, 2)[kept], weights.transpose(1, 2)[kept], rtol=1e-9, atol=1e-10)


@sweep_with_masks()
def test_the_trace_ends_in_what_the_mechanism_gives(example: Example, kind: MaskKind) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    found = trace(module, x, kind.mask)
    check_weights_and_result(found, module.weights(x, mask=kind.mask), module(x, mask=kind.mask), kind.exists)


@crossing
def test_the_trace_over_a_context_ends_in_what_the_mechanism_gives(example: Example) -> None:
    module, x, context = built(example), *(tokens(BATCH, n, example.config.dim, seed=n) for n in (LENGTH, CONTEXT))
    kept = torch.rand(BATCH, CONTEXT, generator=torch.Generator().manual_seed(1)) > 0.4
    for mask in (everything(), keep_keys(kept)):
        given = {"mask": mask, "context": context}
        check_weights_and_result(trace(module, x, **given), module.weights(x, **given), module(x, **given))


@sweep(lambda example: example.weights_sum)
def test_positions_and_biases_reach_the_trace(example: Example) -> None:
    module, x = built(example), tokens(BATCH, LENGTH, example.config.dim)
    bias = tokens(BATCH, example.config.n_heads, LENGTH, LENGTH, seed=4)
    places = torch.arange(LENGTH).expand(BATCH, -1).flip(1) + 2
    for given in ({"bias": bias}, {"positions": places})[0 if example.biases else 1 :]:
        given["mask"] = example.plain
        check_weights_and_result(trace(module, x, **given), module.weights(x, **given), module(x, **given))


@sweep()
def test_the_steps_follow_from_each_other(example: Example) -> None:
    found = trace(built(example), tokens(BATCH, LENGTH, example.config.dim), example.plain)
    assert next(iter(found)) in FIRST_STEPS or "query latents" in found
    assert list(found)[-1] == "result"
    assert len(set(found)) == len(found.steps), "every step has a name of its own"
    assert [one.axes for one in found.steps if one.name == "weights"] == [("batch", "head", "query", "key")]
    masked = [name for name in found if name.startswith("masked ")]
    for name in masked:
        plain = found[name.removeprefix("masked ")]
        seen = found[name] > -torch.inf
        assert seen.shape == plain.shape
        if not any("biased" in other or "capped" in other for other in found):
            assert torch.equal(found[name][seen], plain[seen])
    assert masked


@sweep(lambda example: hasattr(example.config, "dropout"))
def test_a_trace_never_drops_and_carries_no_gradient(example: Example) -> None:
    whole, x = built(example), tokens(BATCH, LENGTH, example.config.dim).requires_grad_()
    dropping = replace(example.config, dropout=0.5).build().double().train()
    dropping.load_state_dict(whole.state_dict())
    found = trace(dropping, x, example.plain)
    torch.testing.assert_close(found.result, whole(x, mask=example.plain).detach(), rtol=1e-9, atol=1e-10)
    assert not any(one.values.requires_grad for one in found.steps)


def test_latent_scores_are_the_same_absorbed() -> None:
    module = built(EXAMPLES["mla with a query latent"])
    found = trace(module, tokens(BATCH, LENGTH, 24), causal())
    held = torch.cat([found["latents"], found["rotary keys"]], dim=-1)[:, None]
    torch.testing.assert_close(found["absorbed queries"] @ held.mT * module.config.score_scale, found["scores"])
    torch.testing.assert_close(module.projections.from_latent(found["mean latents"]), found["heads"])


def test_latents_without_norm_and_rotary_part_are_told_so() -> None:
    sizes = {"latent_dim": 8, "rope_dim": 0, "nope_dim": 6, "value_dim": 5}
    module = LatentConfig(dim=24, n_heads=4, norms_latents=False, bias=True, **sizes).build().double()
    x = tokens(BATCH, LENGTH, 24)
    found = trace(module, x, causal())
    check_weights_and_result(found, module.weights(x, mask=causal()).detach(), module(x, mask=causal()).detach())
    assert not any("rotary" in name for name in found)
    assert next(one.told for one in found.steps if one.name == "latents") == "small projection; kept"


def test_what_the_indexer_did_not_pick_is_masked() -> None:
    found = trace(built(EXAMPLES["dsa"]), tokens(BATCH, LENGTH, 24), causal())
    seen = torch.arange(1, LENGTH + 1).clamp(max=EXAMPLES["dsa"].config.top_k)
    assert torch.equal(found["picked"].sum(dim=-1), seen.expand(BATCH, -1))
    assert torch.equal(found["masked scores"] > -torch.inf, found["picked"][:, None].expand(-1, 4, -1, -1))


def test_heads_of_a_cluster_show_their_representatives_scores() -> None:
    found = trace(built(EXAMPLES["chai by sample"]), tokens(BATCH, LENGTH, 24), causal())
    late = found["weights"][:, :, EXAMPLES["chai by sample"].config.observe :]
    for sample in range(BATCH):
        for head, cluster in enumerate(found["cluster of head"][sample].tolist()):
            own = found["cluster weights"][sample, cluster, -late.shape[2] :]
            assert torch.equal(late[sample, head], own)
            leader = found["representatives"][sample, cluster]
            torch.testing.assert_close(own, found["weights of all heads"][sample, leader, -late.shape[2] :])


def test_global_rows_take_the_global_weights() -> None:
    found = trace(built(EXAMPLES["longformer"]), tokens(BATCH, LENGTH, 24), everything())
    assert found["global tokens"].int().tolist() == [[1, 1] + [0] * (LENGTH - 2)]
    assert torch.equal(found["weights"][:, :, :2], found["global weights"][:, :, :2])
    assert torch.equal(found["weights"][:, :, 2:], found["local weights"][:, :, 2:])
    assert not torch.allclose(found["local heads"][:, :, :2], found["heads"][:, :, :2])


def test_a_low_rank_trace_goes_over_slots() -> None:
    found = trace(built(EXAMPLES["linformer"]), tokens(BATCH, LENGTH, 24), everything())
    assert [one.axes[-1] for one in found.steps if one.name == "masked scores"] == ["slot"]
    torch.testing.assert_close(found["slot weights"] @ found["F"], found["weights"])
    torch.testing.assert_close(found["weights"] @ found["values"], found["heads"])


def test_the_table_tells_name_shape_range_and_origin() -> None:
    module = GroupedConfig(dim=24, n_heads=4, n_kv_heads=2).build()
    told = str(trace(module, torch.zeros(1, 5, 24), causal())).splitlines()
    assert told[0] == "grouped: dim=24, n_heads=4, n_kv_heads=2"
    assert told[2].split() == ["step", "shape", "values", "what", "it", "is"]
    assert [line for line in told if line.startswith("keys")] == [
        "keys           batch 1 · kv_head 2 · key 5 · dim 6    0 … 0           projected, split into heads"
    ]
    assert "0 … 0, 40 % −∞" in next(line for line in told if line.startswith("masked scores"))


def test_ranges_say_what_is_hidden() -> None:
    assert range_of(torch.tensor([-torch.inf, -torch.inf])) == "all −∞"
    assert range_of(torch.tensor([-torch.inf, 1.0, -2.5, 0.0])) == "−2.5 … 1, 25 % −∞"
    assert range_of(torch.tensor([True, False, True])) == "2 of 3"
    assert range_of(torch.tensor([3, 1])) == "1 … 3"
    assert range_of(torch.zeros(0)) == "none"


def test_an_unknown_step_is_answered_with_those_there_are() -> None:
    found = trace(GroupedConfig(dim=8, n_heads=2).build(), torch.zeros(1, 3, 8), everything())
    with pytest.raises(KeyError, match="'keyz'; this trace has queries, keys, values, scores"):
        found["keyz"]


def test_what_exists_is_told_apart_from_what_is_seen() -> None:
    module, x = GroupedConfig(dim=8, n_heads=2).build(), torch.zeros(2, 3, 8)
    kept = torch.tensor([[True, False, True], [True, True, True]])
    found = trace(module, x, keep_keys(kept) & causal())
    assert [found.exists(sample).tolist() for sample in (0, 1)] == kept.tolist()
    assert trace(module, x, causal()).exists(1).tolist() == [True] * 3
    over = trace(module, x, everything(), context=torch.zeros(2, 5, 8))
    assert over.exists(0).tolist() == [True] * 5


class Two(nn.Module):
    """Two layers, the first called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = GroupedConfig(dim=8, n_heads=2).build()
        self.second = GroupedConfig(dim=8, n_heads=2, n_kv_heads=1).build()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(self.first(x, mask=causal()), mask=causal()), mask=everything(), context=x)


def test_every_call_inside_a_model_is_traced_and_changes_nothing() -> None:
    model, x = Two(), torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))
    found = traces_within(model, lambda: model(x))
    assert {name: len(calls) for name, calls in found.items()} == {"first": 2, "second": 1}
    torch.testing.assert_close(found["second"][0].result, model(x))
    assert not any(module._forward_pre_hooks for module in model.modules())
    with pytest.raises(AttentionError, match="no attention layer of Two was called; it has 2"):
        traces_within(model, lambda: None)
