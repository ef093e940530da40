"""T14: attention that does nothing, because a query has one key to look at, so that its weight is 1 whatever it learned.

Seen in the field: cross-modal attention over one token per modality. Watches PyTorch's `MultiheadAttention` and the mechanisms
of `attending.attention` while something runs; or reads the weights with which a trained model attended.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attending.attention.mechanism import Mechanism
from attending.audit.finding import Finding, Severity

_SEEN = 1e-6
"""A weight above this is a key that is looked at."""


_FLAT = 0.995
"""From this share of the greatest entropy on, weights are those of a plain mean. A query that has learned to look at one of
three keys twice as much as at the others lies at 0.95."""


def check_weights(weights: Mapping[str, Float[np.ndarray, "case head query key"]]) -> tuple[Finding, ...]:
    """Which attentions, by name, looked at one key at most in every case, or at all keys alike whatever they hold.

    Rows sum to 1; absent keys weigh nothing. Alike is told as a note: a mean is no fault, but it is not attention either.
    """
    keys = {name: (held > _SEEN).sum(axis=-1) for name, held in weights.items() if held.size}
    idle = [name for name, n in keys.items() if n.max() <= 1]
    found = [_idle(idle, len(keys))] if idle else []
    entropies = {name: _entropy(weights[name]) for name in keys if name not in idle}
    flat = [name for name, share in entropies.items() if share >= _FLAT]
    if flat:
        told = ", ".join(f"{name} {entropies[name]:.3f}" for name in flat)
        found.append(
            Finding(
                trap="T14",
                check="attention",
                severity=Severity.NOTE,
                told="attention that weighs everything it sees alike, and so does nothing but average",
                evidence=f"{len(flat)} of {len(keys)} attentions that ran, entropy as a share of the greatest: {told}",
                effect="its weights say nothing of what the model goes by",
                remedy="do not show its weights as an explanation; train longer, or take it for the mean that it is",
            )
        )
    return tuple(found)


def _entropy(weights: np.ndarray) -> float:
    """The least of any head and query: entropy as a share of its greatest, averaged over cases with two keys or more."""
    n = (weights > _SEEN).sum(axis=-1)
    entropy = -np.where(weights > _SEEN, weights * np.log(np.maximum(weights, _SEEN)), 0.0).sum(axis=-1)
    total, times = np.where(n > 1, entropy / np.log(np.maximum(n, 2)), 0.0).sum(axis=0), (n > 1).sum(axis=0)
    return float((total[times > 0] / times[times > 0]).min())


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
    return (_idle(idle, len(most)),)


def _idle(names: list[str], n: int) -> Finding:
    return Finding(
        trap="T14",
        check="attention",
        severity=Severity.WARN,
        told="attention that has one key to look at, and so does nothing but a linear map",
        evidence=f"{len(names)} of {n} attentions that ran had at most one key for any query: {', '.join(names)}",
        effect="what is said of attention, fusion or interaction is not what the model does",
        remedy="give each modality several tokens, let all modalities' tokens be keys of one attention, or take it out",
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
