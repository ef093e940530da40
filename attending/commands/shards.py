"""Work that is done in pieces beside the file that it will become, so that what was killed goes on from where it stopped.

A folder holds one shard per piece, each written whole with its sum, and says what it was made of. Shards of anything else are
begun anew. Knows neither tables nor models.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attending.artefacts import ArtefactError, sha256, write_pieces, write_text

MADE_OF = "made_of.json"
SUFFIX = ".pieces"


class Shards:
    """The pieces of one file. A shard is bytes for the file, and a summary as JSON values."""

    def __init__(self, out: Path, *, made_of: Mapping[str, Any], said: Callable[[str], None]) -> None:
        """Shards found beside `out` are kept where they were made of the same; `said` is told what becomes of them.

        Raises `ArtefactError` where the folder's name is taken by something else.
        """
        self.out, self.folder = out, out.with_name(out.name + SUFFIX)
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(out))
        before = self._found()
        changed = (
            [] if before is None else sorted(name for name in {*before, *made_of} if before.get(name) != made_of.get(name))
        )
        if changed:
            self.remove()
            said(f"{self.folder}: its pieces were made with another {' and '.join(changed)}; begun anew")
        write_text(self.folder / MADE_OF, json.dumps(dict(made_of), indent=2) + "\n")

    def _found(self) -> Mapping[str, Any] | None:
        """What the shards that are there were made of; None where there are none."""
        if not self.folder.exists():
            return None
        if not self.folder.is_dir() or set(self.folder.iterdir()) - set(self._files()):
            raise ArtefactError(f"{self.folder}: is no folder of pieces; move it away, or name another --out")
        try:
            found = json.loads((self.folder / MADE_OF).read_text(encoding="utf-8"))
        except FileNotFoundError:  # killed before it was said
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def summary(self, number: int) -> Mapping[str, Any] | None:
        """The summary of a shard that is there and whole, else None."""
        try:
            found = json.loads(self._summary(number).read_text(encoding="utf-8"))
            is_whole = sha256(self._content(number)) == found["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found["summary"] if is_whole else None

    def write(self, number: int, content: str, summary: Mapping[str, Any]) -> None:
        """Keep a shard. It is there once its summary is."""
        write_text(self._content(number), content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        write_text(self._summary(number), json.dumps({"sha256": digest, "summary": dict(summary)}) + "\n")

    def join(self, n: int, *, header: str) -> None:
        """Write the file of `n` shards, whole or not at all, and take the folder away."""

        def pieces() -> Iterator[bytes]:
            yield header.encode()
            for number in range(n):
                yield self._content(number).read_bytes()

        write_pieces(self.out, pieces())
        self.remove()

    def remove(self) -> None:
        """Take the folder and what was written into it away."""
        for path in self._files():
            path.unlink(missing_ok=True)
        self.folder.rmdir()

    def _files(self) -> list[Path]:
        own = (path for pattern in (MADE_OF, "piece-*.csv", "piece-*.json", ".*") for path in self.folder.glob(pattern))
        return [path for path in own if path.is_file()]

    def _content(self, number: int) -> Path:
        return self.folder / f"piece-{number:06d}.csv"

    def _summary(self, number: int) -> Path:
        return self.folder / f"piece-{number:06d}.json"
