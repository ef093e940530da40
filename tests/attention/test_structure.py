"""Masks that are rules stay rules: whatever the mechanism, nothing as large as the square of the length is made for one.

In training indexed attention holds a table of what was picked for each query, whatever the mask: it is asked to serve alone.
"""

from typing import Any

import pytest
import torch

import attending.attention.native_sparse as native_sparse
import attending.attention.picking as picking
from attending.attention import Mask, blocks, causal, documents, keep_keys, padding, window
from tests.attention.examples import EXAMPLES, tokens

LENGTH = 1300
"""Its square is more numbers than any core holds of the scores at once."""
MECHANISMS = ("gqa", "rotary", "mla", "dsa", "longformer", "sliding window", "chai", "chai by sample", "nsa")
MASKS: dict[str, Mask] = {
    "causal": causal(),
    "window": causal() & window(100, 0),
    "padding": causal() & padding(torch.tensor([LENGTH - 100])),
    "holes": causal() & keep_keys(torch.arange(LENGTH)[None] % 7 != 0),
    "documents": causal() & documents(torch.arange(LENGTH)[None] // 400),
    "blocks": causal() & blocks(torch.ones(13, 13).tril().triu(-2).bool(), size=100),
}


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the most numbers that any tensor held; views that repeat hold what they repeat."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.untyped_storage().nbytes() // one.element_size())
        return result


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("kind", MASKS)
def test_no_square_is_made_forward_or_back(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (native_sparse, picking):  # a bound of their own, which is larger than this square
        monkeypatch.setattr(module, "_HELD_AT_ONCE", 1 << 20)
    config: Any = EXAMPLES[name].config
    torch.manual_seed(0)
    layer, x = config.build(), tokens(1, LENGTH, config.dim, dtype=torch.float32)
    with Largest() as found:
        with torch.no_grad():
            layer(x, mask=MASKS[kind])
        if name != "dsa":
            layer(x.requires_grad_(), mask=MASKS[kind]).square().sum().backward()
    assert LENGTH * config.dim <= found.numbers < LENGTH**2


def test_a_square_would_be_noticed() -> None:
    with Largest() as found:
        torch.ones(1, LENGTH).expand(LENGTH, LENGTH)
        assert found.numbers == LENGTH
        torch.zeros(LENGTH, LENGTH, dtype=torch.bool)
    assert found.numbers == LENGTH**2
