"""Losses that mechanisms ask for themselves are gathered from wherever they stand in a network, and only while asked for."""

import pytest
import torch
from torch import nn

from attending.attention import GroupedConfig, IndexedConfig, Mask, auxiliary_losses, causal, keep_keys

INDEXED = IndexedConfig(
    dim=16, n_heads=2, latent_dim=8, rope_dim=4, nope_dim=4, value_dim=8, top_k=3, index_heads=2, index_dim=8
)
GROUPED = GroupedConfig(dim=16, n_heads=2)


class Stack(nn.Module):
    """Mechanisms one after the other, however deep in the tree."""

    def __init__(self, *configs) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({str(n): nn.ModuleList([config.build()]) for n, config in enumerate(configs)})

    def forward(self, x: torch.Tensor, *, mask: Mask) -> torch.Tensor:
        for one in self.inner.values():
            x = x + one[0](x, mask=mask)
        return x


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))


def test_each_mechanism_with_a_loss_gives_what_it_says_itself(x: torch.Tensor) -> None:
    torch.manual_seed(0)
    network, mask = Stack(INDEXED, GROUPED, INDEXED), causal()
    with auxiliary_losses(network) as found:
        network(x, mask=mask)
    first, second, third = (network.inner[name][0] for name in "012")
    after = x + first(x, mask=mask)
    after = after + second(after, mask=mask)
    expected = [first.auxiliary_loss(x, mask=mask), third.auxiliary_loss(after, mask=mask)]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert all(loss > 0 for loss in found)


def test_only_the_indexer_is_taught_by_it(x: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = Stack(INDEXED)
    with auxiliary_losses(network) as found:
        network(x, mask=causal())
    sum(found).backward()
    taught = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    assert taught
    assert all("indexer" in name for name in taught)


def test_outside_nothing_is_gathered_and_no_hook_stays(x: torch.Tensor) -> None:
    network = Stack(INDEXED)
    with auxiliary_losses(network) as found:
        pass
    with pytest.raises(RuntimeError), auxiliary_losses(network):
        raise RuntimeError
    network(x, mask=causal())
    assert found == []
    assert not any(module._forward_hooks for module in network.modules())


def test_mechanisms_without_a_loss_of_their_own_are_not_asked(x: torch.Tensor) -> None:
    network = Stack(GROUPED)
    with auxiliary_losses(network) as found:
        network(x, mask=keep_keys(torch.ones(2, 9, dtype=torch.bool)))
    assert found == []
