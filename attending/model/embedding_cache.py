"""What a frozen encoder said of a text or picture, kept so that it is asked once and not in every fit.

In memory up to a limit, and in a folder where one is given. An entry is known by the hash of what was encoded and of the
encoder, so that neither can change unnoticed. The folder holds what patients' evidence became: it belongs where the data are.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16

BYTES_IN_MEMORY = 512 * 2**20

States = Float16[np.ndarray, "token width"]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """What is computed inside has the same bits whatever number of threads its process has; nothing is learned from it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


class EmbeddingCache:
    """States by content, computed when they are asked for first."""

    def __init__(self, *, encoder: str, folder: Path | None) -> None:
        self._encoder, self._folder = encoder, folder
        self._held: dict[str, States] = {}
        self._bytes = 0

    def states(self, content: bytes, compute: Callable[[], States]) -> States:
        """The states of `content`: remembered, read or computed."""
        key = hashlib.sha256(self._encoder.encode() + b"\0" + content).hexdigest()
        if key not in self._held:
            found = self._read(key)
            if found is None:
                found = compute()
                self._write(key, found)
            self._remember(key, found)
        return self._held[key]

    def _remember(self, key: str, states: States) -> None:
        if self._bytes + states.nbytes > BYTES_IN_MEMORY:
            self._held.clear()
            self._bytes = 0
        self._held[key] = states
        self._bytes += states.nbytes

    def _read(self, key: str) -> States | None:
        """The entry, or None where there is none that is whole: it is computed again."""
        if self._folder is None:
            return None
        try:
            states = np.load(self._folder / f"{key}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return states if states.dtype == np.float16 and states.ndim == 2 else None

    def _write(self, key: str, states: States) -> None:
        """Whole or not at all to other readers; not flushed to the disk, because what is lost is only computed again."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".writing.")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                np.save(handle, states, allow_pickle=False)
            Path(temporary).replace(self._folder / f"{key}.npy")
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise
