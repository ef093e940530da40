"""Every mechanism learns, on each kind of device that is here; on another device it learns the same."""

import copy

import pytest
import torch
from torch import Tensor

from tests.attention.examples import BATCH, LENGTH, Example, tokens
from tests.attention.sweeps import built, sweep

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run it on one")),
]


@sweep()
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_few_steps_lower_the_loss(example: Example, device: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = example.config.build().to(device, dtype).train()
    x, wanted = (tokens(BATCH, LENGTH, example.config.dim, seed=seed, dtype=dtype).to(device) for seed in (0, 1))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(6):
        output = module(x, mask=example.plain)
        loss = (output - wanted).float().square().mean() + module.auxiliary_loss(x, mask=example.plain)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.97 * losses[0]


@sweep()
@pytest.mark.parametrize("device", DEVICES[1:])
def test_another_device_gives_the_same_output_and_gradients(example: Example, device: str) -> None:
    here = built(example)
    there = copy.deepcopy(here).to(device)
    results: list[list[Tensor]] = []
    for module in (here, there):
        of = next(module.parameters()).device
        x = tokens(BATCH, LENGTH, example.config.dim).to(of).requires_grad_()
        output = module(x, mask=example.plain)
        gradients = torch.autograd.grad(output.square().sum(), [x, *module.parameters()], allow_unused=True)
        parts = [torch.zeros(()) if one is None else one.detach().cpu() for one in (output, *gradients)]
        results.append(parts)
        if example.caches:
            parts.append(module.eval().new_cache(BATCH, mask=example.plain).extend(x.detach()).cpu())
    for found, wanted in zip(*reversed(results), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)
