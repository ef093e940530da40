"""How the contract is swept: over every example, over every example with every kind of mask, and the mechanisms they build."""

import pytest
import torch

from attending.attention import Mechanism
from tests.attention.examples import EXAMPLES, MASKS, Example, MaskKind


def built(example: Example, seed: int = 0) -> Mechanism:
    """The mechanism in float64, with weights of a size that makes attention peaked."""
    torch.manual_seed(seed)
    module = example.config.build().double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


def kinds(example: Example) -> dict[str, MaskKind]:
    return {name: kind for name, kind in MASKS.items() if not example.masks or name in example.masks}


def sweep(condition=lambda example: True):
    return pytest.mark.parametrize("example", [pytest.param(e, id=n) for n, e in EXAMPLES.items() if condition(e)])


def sweep_with_masks():
    cases = [pytest.param(e, kind, id=f"{n}-{m}") for n, e in EXAMPLES.items() for m, kind in kinds(e).items()]
    return pytest.mark.parametrize(("example", "kind"), cases)


caching = sweep(lambda example: example.caches)
crossing = sweep(lambda example: example.cross)
