"""T13: a test set, or a model, that gives something else when it is asked again.

Seen in the field: an evaluation set whose items are drawn anew, with replacement, each time they are read.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from attending.audit.finding import Finding, Severity

_EFFECT = "two readings of one result differ, some cases are judged twice and others never, and nobody can repeat the figures"


class Items(Protocol):
    """What a dataset is here: it has a length and an item at every index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def check_items(items: Items, *, most: int = 500) -> tuple[Finding, ...]:
    """Whether an item is a function of its index alone, and no item stands at two indices. Reads at most `most` items twice."""
    asked = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)) if len(items) else np.zeros(0, int)
    first = [digest(items[int(index)]) for index in asked]
    again = [digest(items[int(index)]) for index in asked[::-1]][::-1]  # the other way round: no state may carry over
    changed = sum(a != b for a, b in zip(first, again, strict=True))
    if changed:
        return (_found("items of the dataset change when they are read again", f"{changed} of {len(asked)} items differ"),)
    doubled = len(first) - len(set(first))
    if doubled:
        return (_found("items of the dataset stand at several indices", f"{doubled} of {len(asked)} items repeat another"),)
    return ()


def check_answers(
    answer: Callable[[Sequence[Any]], np.ndarray], cases: Sequence[Any], *, tolerance: float = 1e-6
) -> tuple[Finding, ...]:
    """Whether the same cases get the same answers twice, also in another order."""
    if not len(cases):
        return ()
    first, again, back = answer(cases), answer(cases), answer(cases[::-1])[::-1]
    apart = max(float(np.abs(first - other).max()) for other in (again, back))
    if apart <= tolerance:
        return ()
    return (_found("the model answers otherwise when it is asked again", f"answers differ by up to {apart:.3g}"),)


def digest(item: object) -> str:
    """SHA-256 of what an item holds: numbers, texts, arrays, tensors, and containers and dataclasses of them."""
    held = hashlib.sha256()
    for piece in _pieces(item):
        held.update(piece)
        held.update(b"\0")
    return held.hexdigest()


def _pieces(item: object) -> Iterable[bytes]:
    if hasattr(item, "detach"):
        item = item.detach().cpu().numpy()
    if isinstance(item, np.ndarray) and item.dtype != object:
        yield f"{item.dtype}{item.shape}".encode()
        yield np.ascontiguousarray(item).tobytes()
    elif isinstance(item, Mapping):
        for key in sorted(item, key=str):
            yield str(key).encode()
            yield from _pieces(item[key])
    elif isinstance(item, list | tuple | np.ndarray):
        yield f"{len(item)}".encode()
        for each in item:
            yield from _pieces(each)
    elif hasattr(item, "__dataclass_fields__"):
        for name in item.__dataclass_fields__:
            yield from _pieces(getattr(item, name))
    else:
        yield repr(item).encode()


def _found(told: str, evidence: str) -> Finding:
    return Finding(
        trap="T13",
        check="repetition",
        severity=Severity.BLOCK,
        told=told,
        evidence=evidence,
        effect=_EFFECT,
        remedy="make every item a function of its index: draw pairs and crops once, by a written seed; "
        "put the model into evaluation mode",
    )
