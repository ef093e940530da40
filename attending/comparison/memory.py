"""How many bytes of tensors live at once while something is computed: the same on every run of every machine.

Counts every tensor that an operation of PyTorch gives back, buffers of blocked cores among them; scratch space inside a kernel
is not seen. Not the memory of the process, which holds the library and what the allocator keeps.
"""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(call: Callable[[], object]) -> int:
    """Most bytes alive at once, of those that came into being inside `call`."""
    with _Living() as living:
        result = call()
    del result
    return living.most


class _Living(TorchDispatchMode):
    """Watches storages come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._watch(leaf, given)
        return result

    def _watch(self, tensor: Tensor, given: set[int]) -> None:
        place = _storage(tensor)
        if place in given or place in self._known:
            return
        storage = tensor.untyped_storage()
        self._known.add(place)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, place, storage.nbytes())

    def _forget(self, place: int, n_bytes: int) -> None:
        self._known.discard(place)
        self.now -= n_bytes


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
