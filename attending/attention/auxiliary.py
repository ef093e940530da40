"""What mechanisms ask to be trained on beside the task, gathered while a network runs.

Whoever trains a network knows neither which mechanisms are in it nor with what each is called; the mechanisms know.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from attending.attention.mechanism import Mechanism

_ASKED_WITH = ("mask", "context")


@contextmanager
def auxiliary_losses(network: nn.Module) -> Iterator[list[Tensor]]:
    """Within, every call of a mechanism in `network` that has an auxiliary loss appends it to the list; most have none.

    >>> with auxiliary_losses(network) as beside:
    ...     loss = task_loss(network(x))
    >>> sum(beside, loss).backward()
    """
    found: list[Tensor] = []

    def called(mechanism: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], _: object) -> None:
        assert isinstance(mechanism, Mechanism)
        found.append(mechanism.auxiliary_loss(*given, **{name: named[name] for name in _ASKED_WITH if name in named}))

    hooks = [
        module.register_forward_hook(called, with_kwargs=True)
        for module in network.modules()
        if isinstance(module, Mechanism) and type(module).auxiliary_loss is not Mechanism.auxiliary_loss
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
