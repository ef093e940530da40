"""Looking at the weights: chosen rows, the summary of a pass, and how much memory that takes."""

import math

import pytest
import torch

from attending.attention import GroupedConfig, causal, everything, window
from attending.attention.core import recorded
from attending.attention.inspection import summarise
from tests.attention.examples import EXAMPLES, tokens


def test_the_summary_is_that_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attending.attention.mechanism._WEIGHTS_AT_ONCE", 400)
    module, x = GroupedConfig(dim=16, n_heads=4).build().double(), tokens(2, 13, 16) * 4
    weights, found = module.weights(x, mask=causal()), module.summary(x, mask=causal(), top=3)
    logs = torch.where(weights > 0, weights.log(), 0.0)
    torch.testing.assert_close(found.entropy, -(weights * logs).sum(-1))
    torch.testing.assert_close(found.top_weights, weights.topk(3).values)
    torch.testing.assert_close(weights.gather(3, found.top_keys), found.top_weights)
    distance = (torch.arange(13)[:, None] - torch.arange(13)).abs().double()
    torch.testing.assert_close(found.mean_reach, (weights * distance).sum(-1))
    one, two = weights[:, 0], weights[:, 3]
    middle = (one + two) / 2
    divergence = sum((p * torch.where(p > 0, (p / middle).log(), 0.0)).sum(-1) / 2 for p in (one, two))
    torch.testing.assert_close(found.head_distance[:, 0, 3], (divergence.clamp(min=0) / math.log(2)).sqrt().mean(-1))
    torch.testing.assert_close(found.head_distance, found.head_distance.mT)
    assert bool((found.head_distance.diagonal(dim1=1, dim2=2) < 1e-6).all())


def test_heads_that_look_at_different_keys_are_one_apart() -> None:
    weights = torch.eye(2)[None, :, None]
    found = summarise(lambda rows: weights, n_query=1, rows_at_once=4, top=1)
    torch.testing.assert_close(found.head_distance[0], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert found.top_keys.flatten().tolist() == [0, 1]
    assert found.mean_reach.flatten().tolist() == [1.0, 0.0]
    torch.testing.assert_close(found.entropy, torch.zeros(1, 2, 1))


def test_all_of_the_summary_comes_from_one_pass_over_the_rows() -> None:
    weights, asked = tokens(2, 3, 10, 10).softmax(-1), []

    def of(rows: range) -> torch.Tensor:
        asked.extend(rows)
        return weights[:, :, rows.start : rows.stop]

    few = summarise(of, n_query=10, rows_at_once=4, top=3)
    assert asked == [*range(10)]
    whole = summarise(of, n_query=10, rows_at_once=10, top=3)
    for name in ("entropy", "top_weights", "top_keys", "head_distance", "mean_reach"):
        torch.testing.assert_close(getattr(few, name), getattr(whole, name))


def test_weights_are_those_of_the_forward_pass_whichever_core_ran() -> None:
    module, cores = GroupedConfig(dim=16, n_heads=2).build().double(), set()
    for length, mask, learns in (
        (40, causal(), False),
        (400, causal(), False),
        (400, causal() & window(40, 0), False),
        (400, causal() & window(40, 0), True),
    ):
        x = tokens(2, length, 16)
        with torch.set_grad_enabled(learns), recorded() as choices:
            output = module(x, mask=mask)
        cores |= {choice.core for choice in choices}
        heads = module.weights(x, mask=mask) @ module.value(x).unflatten(-1, (2, 8)).transpose(1, 2)
        torch.testing.assert_close(output, module.output(heads.transpose(1, 2).flatten(2)), rtol=1e-10, atol=1e-11)
    assert cores == {"eager", "sdpa", "banded", "blocked"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_mechanism_can_be_summarised(name: str) -> None:
    config = EXAMPLES[name].config
    mask = everything() if EXAMPLES[name].masks and "causal" not in EXAMPLES[name].masks else causal()
    found = config.build().summary(tokens(2, 11, config.dim, dtype=torch.float32), mask=mask, top=2)
    assert found.top_weights.shape == (2, config.n_heads, 11, 2)
    assert bool((found.entropy <= math.log(11) + 1e-5).all())


def test_rows_of_weights_never_make_the_square() -> None:
    module, x = GroupedConfig(dim=16, n_heads=2).build(), tokens(1, 3000, 16, dtype=torch.float32)
    shapes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                shapes.append(result.numel())
            return result

    with torch.no_grad(), Watch():
        module.weights(x, mask=causal(), rows=[5, 2999])
    assert max(shapes) <= 3000 * 16
