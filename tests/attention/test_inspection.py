"""Looking at the weights: chosen rows, the summary of a pass, and how much memory that takes."""

import math

import torch

from attending.attention import GroupedConfig, causal
from attending.attention.grid import aligned
from attending.attention.inspection import summarise, weights_by
from attending.attention.scoring import Scoring
from tests.attention.examples import tokens


def scoring(n: int) -> Scoring:
    return Scoring(mask=causal(), grid=aligned(n, n, torch.device("cpu")), scale=0.5)


def test_the_summary_is_that_of_the_whole_matrix(monkeypatch) -> None:
    monkeypatch.setattr("attending.attention.inspection._WEIGHTS_AT_ONCE", 200)
    q, k = tokens(2, 4, 13, 6), tokens(2, 2, 13, 6, seed=1)
    weights = weights_by(q, k, scoring(13))
    found = summarise(q, k, scoring(13), top=3)
    logs = torch.where(weights > 0, weights.log(), 0.0)
    torch.testing.assert_close(found.entropy, -(weights * logs).sum(-1))
    torch.testing.assert_close(found.top_weights, weights.topk(3).values)
    distance = (torch.arange(13)[:, None] - torch.arange(13)).abs().double()
    torch.testing.assert_close(found.mean_reach, (weights * distance).sum(-1))
    one, two = weights[:, 0], weights[:, 3]
    middle = (one + two) / 2
    divergence = sum((p * torch.where(p > 0, (p / middle).log(), 0.0)).sum(-1) / 2 for p in (one, two))
    torch.testing.assert_close(found.head_distance[:, 0, 3], (divergence.clamp(min=0) / math.log(2)).sqrt().mean(-1))
    torch.testing.assert_close(found.head_distance, found.head_distance.mT)
    assert bool((found.head_distance.diagonal(dim1=1, dim2=2) < 1e-6).all())


def test_heads_that_look_at_different_keys_are_one_apart() -> None:
    q = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[None, :, None] * 1e3
    k = torch.eye(2)[None, None]
    grid = aligned(1, 2, torch.device("cpu"))
    found = summarise(q, k, Scoring(mask=causal(), grid=grid, scale=1.0), top=1)
    torch.testing.assert_close(found.head_distance[0], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert found.top_keys.flatten().tolist() == [0, 1]
    torch.testing.assert_close(found.entropy, torch.zeros(1, 2, 1))


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
