"""What is said of heads, by hand: entropy, reach, sinks, distance, clusters."""

import math

import pytest
import torch
from torch import Tensor

from attending.attention import GroupedConfig, causal, everything, trace
from attending.attention.profiles import profile
from attending.attention.steps import step
from attending.attention.tracing import Trace
from tests.attention.examples import EXAMPLES, tokens

FIRST = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0]])
OWN = torch.eye(3)
EVEN = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]])


def of(*heads: Tensor, is_self: bool = True, sink: Tensor | None = None, there: Tensor | None = None) -> Trace:
    steps = [step("weights", torch.stack(heads)[None], "batch head query key", "")]
    if sink is not None:
        steps.append(step("sink weights", sink[None], "batch head query", ""))
    return Trace(mechanism="by hand", is_self=is_self, there=there, steps=tuple(steps))


def test_numbers_by_hand() -> None:
    found = profile(of(FIRST, OWN, EVEN))
    torch.testing.assert_close(found.entropy, torch.tensor([0.0, 0.0, (math.log(2) + math.log(3)) / 2]).double())
    assert found.most_entropy == pytest.approx((math.log(2) + math.log(3)) / 2)
    assert found.reach is not None
    assert found.sink_mass is not None
    torch.testing.assert_close(found.reach, torch.tensor([1.5, 0.0, (0.5 + 1.0) / 2]).double())
    torch.testing.assert_close(found.sink_mass, torch.tensor([1.0, 0.0, (0.5 + 1 / 3) / 2]).double())
    # The first query has no choice; in the others the two heads have nothing in common.
    assert float(found.distance[0, 1]) == pytest.approx(1.0)


def test_a_query_with_one_key_has_no_choice_and_does_not_count() -> None:
    found = profile(of(torch.tensor([[1.0, 0.0], [0.0, 0.0]])))
    assert math.isnan(float(found.entropy[0]))
    assert math.isnan(found.diversity)


def test_a_learned_sink_counts_as_parked() -> None:
    found = profile(of(EVEN / 2, sink=torch.full((1, 3), 0.5)))
    assert found.sink_mass is not None
    torch.testing.assert_close(found.sink_mass, torch.tensor([(0.25 + 1 / 6) / 2 + 0.5]).double())


def test_heads_that_do_the_same_are_one_cluster() -> None:
    found = profile(of(FIRST, OWN, FIRST, OWN))
    assert found.clusters.n_clusters == 2
    assert found.clusters.leaders[0] == found.clusters.leaders[2] != found.clusters.leaders[1] == found.clusters.leaders[3]
    assert found.diversity == pytest.approx(8 / 12)


def test_dead_rows_and_tokens_that_are_not_there_change_nothing() -> None:
    alone = profile(of(EVEN, FIRST))
    room = torch.zeros(2, 5, 5)
    room[0, :3, :3], room[1, :3, :3] = EVEN, FIRST
    room[:, 3, :3] = torch.tensor([0.2, 0.3, 0.5])  # the token at 3 is not there, and still asks
    found = profile(of(*room, there=torch.tensor([[True, True, True, False, True]])))
    for name in ("entropy", "reach", "sink_mass", "distance"):
        torch.testing.assert_close(getattr(found, name), getattr(alone, name))
    assert found.most_entropy == alone.most_entropy


def test_over_a_context_nothing_is_said_of_places() -> None:
    found = profile(of(FIRST, EVEN, is_self=False))
    assert found.reach is None
    assert found.sink_mass is None


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_mechanism_has_a_profile(name: str) -> None:
    example = EXAMPLES[name]
    mask = everything() if example.causal == "cannot" else causal()
    found = profile(trace(example.config.build().double(), tokens(2, 9, example.config.dim), mask), sample=1)
    assert bool(found.entropy.isfinite().all())
    assert bool((found.entropy <= found.most_entropy + 1e-6).all())
    assert 0.0 <= found.diversity <= 1.0
    assert (found.reach is None) == found.is_over_slots == (not example.weights_sum)


def test_the_profile_of_a_learned_sink_layer_comes_from_its_trace() -> None:
    module = GroupedConfig(dim=8, n_heads=2, sinks=True).build().double()
    with torch.no_grad():
        module.sink.fill_(40.0)
    found = profile(trace(module, tokens(1, 5, 8), causal()))
    assert found.sink_mass is not None
    assert bool((found.sink_mass > 0.999).all())
