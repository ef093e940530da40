"""Writing so that a reader finds either the old file or the whole new one, and can tell whether it is intact.

A file is written beside its place, flushed to the disk, renamed, and the folder flushed. A folder of artefacts carries
`manifest.json` with the SHA-256 of each file, because safetensors does not notice a flipped bit.
Standard library only; knows nothing of what is written.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

MANIFEST = "manifest.json"


class ArtefactError(ValueError):
    """An artefact is missing, incomplete or not what its manifest says."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all. Raises `OSError` (a full disk, say) with the old file in place."""
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """As `write_bytes`, of pieces one after the other; one at a time is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            for piece in pieces:
                handle.write(piece)
            handle.flush()
            os.fsync(handle.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a failed write names no file by itself
        raise
    _flush_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def seal(folder: Path, names: Iterable[str]) -> None:
    """Write the manifest of the named files of `folder`. Do this last: a folder without a manifest is unfinished."""
    digests = {name: sha256(folder / name) for name in sorted(names)}
    write_text(folder / MANIFEST, json.dumps({"sha256": digests}, indent=2) + "\n")


def verify(folder: Path) -> tuple[str, ...]:
    """Names of the sealed files of `folder`, each checked against its hash.

    Raises `ArtefactError` when the manifest is absent or a file is missing or changed.
    """
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder}: no readable {MANIFEST}; it is not a finished artefact, so make it again") from error
    for name, digest in digests.items():
        path = folder / name
        if path.parent != folder or not path.is_file():
            raise ArtefactError(f"{folder}: {name} is listed in {MANIFEST} and missing; restore the whole folder")
        if sha256(path) != digest:
            raise ArtefactError(f"{path}: content does not match its SHA-256 in {MANIFEST}; restore the whole folder")
    return tuple(digests)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
