"""T14: attention that does nothing, because a query has one key to look at, so that its weight is 1 whatever it learned.

Seen in the field: cross-modal attention over one token per modality. Watches PyTorch's `MultiheadAttention` and the mechanisms
of `attending.attention` while something runs.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from attending.attention.mechanism import Mechanism
from attending.audit.finding import Finding, Severity

_SEEN = 1e-6
"""A weight above this is a key that is looked at."""


def check_keys(module: nn.Module, run: Callable[[], object]) -> tuple[Finding, ...]:
    """Which attentions inside `module` had at most one key for every query of everything that `run` put through them."""
    most: dict[str, int] = {}
    hooks = []

    def watch(name: str) -> Callable[..., None]:
        def seen(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: object) -> None:
            n = _keys(part, args, kwargs)
            most[name] = max(most.get(name, 0), n)

        return seen

    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention | Mechanism):
            hooks.append(part.register_forward_hook(watch(name or "the module itself"), with_kwargs=True))
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    idle = [name for name, n in most.items() if n <= 1]
    if not idle:
        return ()
    return (
        Finding(
            trap="T14",
            check="attention",
            severity=Severity.WARN,
            told="attention that has one key to look at, and so does nothing but a linear map",
            evidence=f"{len(idle)} of {len(most)} attentions that ran had at most one key for any query: {', '.join(idle)}",
            effect="what is said of attention, fusion or interaction is not what the model does",
            remedy="give each modality several tokens, let all modalities' tokens be keys of one attention, or take it out",
        ),
    )


def _keys(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The most keys that any query sees."""
    if isinstance(part, Mechanism):
        x = args[0] if args else kwargs["x"]
        told = part.weights(x, mask=kwargs["mask"], context=kwargs.get("context"))
        return int((told > _SEEN).sum(dim=-1).max()) if told.numel() else 0
    assert isinstance(part, nn.MultiheadAttention)
    key: Tensor = kwargs["key"] if "key" in kwargs else args[1]
    absent = kwargs.get("key_padding_mask", args[3] if len(args) > 3 else None)
    length = key.shape[0] if key.dim() == 2 or not part.batch_first else key.shape[1]
    if absent is None:
        return int(length)
    real = ~absent if absent.dtype == torch.bool else absent == 0
    return int(real.sum(dim=-1).max())
