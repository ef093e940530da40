"""What survives a kill in the middle of a long fit: the training, and the best weights so far.

One safetensors file behind its SHA-256, written whole, at most every few seconds; gone when the fit is done, because then its
result is kept.
"""

import hashlib
import math
import time
from pathlib import Path
from types import TracebackType

import torch
from safetensors.torch import load, save
from torch import Tensor

from attending.artefacts import ArtefactError, write_bytes
from attending.training.network import Training

SECONDS_BETWEEN = 10.0
DIGEST_BYTES = 32
SUFFIX = ".checkpoint"


def discard_damaged_checkpoints(folder: Path) -> tuple[str, ...]:
    """Remove the checkpoints in a folder that are damaged, so that their fits begin again. Gives the names of their files."""
    damaged = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            _read(path)
        except ArtefactError:
            path.unlink()
            damaged.append(path.name)
    return tuple(damaged)


def _read(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
        raise ArtefactError(f"{path}: the checkpoint is damaged; remove it, and this fit begins again from its start")
    return load(content[DIGEST_BYTES:])


class Best:
    """The weights at the lowest watched loss."""

    def __init__(self) -> None:
        self.epoch, self.loss = 0, math.inf
        self.weights: dict[str, Tensor] = {}

    def weigh(self, training: Training, loss: float) -> None:
        """Remember the network when its loss is the lowest yet."""
        if loss < self.loss:
            self.epoch, self.loss = training.epochs_done, float(loss)
            self.weights = {name: value.clone() for name, value in training.network.state_dict().items()}

    def age(self, training: Training) -> int:
        """Epochs since the lowest loss."""
        return training.epochs_done - self.epoch

    def restore(self, training: Training) -> None:
        """Put the best weights back."""
        training.network.load_state_dict(self.weights)


class Checkpoint:
    """A file beside a fit. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._written = time.monotonic()

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self.path is not None:
            self.path.unlink(missing_ok=True)

    def resume(self, training: Training, best: Best | None = None) -> None:
        """Continue where the file stopped, if there is one. Raises `ArtefactError` for one that is damaged."""
        if self.path is None or not self.path.is_file():
            return
        state = _read(self.path)
        training.restore({name: value for name, value in state.items() if not name.startswith("best.")})
        if best is not None:
            best.epoch, best.loss = int(state["best.epoch"]), float(state["best.loss"])
            best.weights = {
                name.removeprefix("best.weights."): value for name, value in state.items() if name.startswith("best.weights.")
            }

    def keep(self, training: Training, best: Best | None = None) -> None:
        """Write the state, unless it was written a few seconds ago."""
        if self.path is None or time.monotonic() - self._written < SECONDS_BETWEEN:
            return
        state = training.state()
        if best is not None:
            state |= {"best.epoch": torch.tensor(best.epoch), "best.loss": torch.tensor(best.loss, dtype=torch.float64)}
            state |= {f"best.weights.{name}": value for name, value in best.weights.items()}
        content = save({name: value.contiguous() for name, value in state.items()})
        write_bytes(self.path, hashlib.sha256(content).digest() + content)
        self._written = time.monotonic()
