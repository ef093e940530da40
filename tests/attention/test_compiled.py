"""Plain paths through torch.compile with its own code generator, which needs a C++ compiler; the contract traces them all."""

import shutil

import pytest
import torch

from attending.attention import causal
from tests.attention.examples import BATCH, EXAMPLES, LENGTH, tokens


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler: install g++")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's generator imports what PyTorch deprecates
@pytest.mark.parametrize("length", [LENGTH, 300])
@pytest.mark.parametrize("name", ["mha", "rotary", "mla"])
def test_generated_code_gives_the_same_with_the_same_gradients(name: str, length: int) -> None:
    config = EXAMPLES[name].config
    torch.manual_seed(0)
    torch.compiler.reset()
    module = config.build().double()
    compiled = torch.compile(module, fullgraph=True)
    probe, results = tokens(BATCH, length, config.dim, seed=3), []
    for one in (compiled, module):
        x = tokens(BATCH, length, config.dim).requires_grad_()
        output = one(x, mask=causal())
        results.append((output.detach(), *torch.autograd.grad((output * probe).sum(), [x, *module.parameters()])))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
