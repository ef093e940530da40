"""An append-only log of requests, one JSON object a line, each with the hash of the line before: a changed line is found.

Entries hold time, request id, route, status, client, model and a keyed hash of the inputs: nothing of a patient. An entry is on
the disk before its answer goes out. A chain shows changes within, not a cut-off end and not a log rewritten from the first line
on: note the last hash that `attending audit-log verify` prints somewhere else, and ask for it later.
"""

import asyncio
import fcntl
import hashlib
import hmac
import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attending.privacy import PrivacyError, project_key

START = "0" * 64
"""What the first line has for the hash of the line before."""
PREVIOUS, HASH = "previous", "hash"
_LONGEST_LINE = 1 << 16


class AuditLogError(ValueError):
    """The log is not what it should be, or cannot be written."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a log holds. `broken` is the number of the first line that does not follow; `torn_bytes` an unfinished end."""

    entries: int
    last: str
    broken: int | None = None
    torn_bytes: int = 0
    size: int = 0
    holds: bool = False


class AuditLog:
    """The log in a file, for one process at a time. Its secret lies beside it as `FILE.key`, readable by its owner only."""

    def __init__(self, path: Path, *, model: str) -> None:
        """Open it, or begin it. An unfinished last line, as a killed process leaves, is cut off and that is noted.

        Raises `AuditLogError` for a log whose lines do not follow one another, and for one that another process has open.
        """
        self.path, self._model = path, model
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise AuditLogError(f"--audit-log {path}: another process writes to it; name another file") from None
        try:
            self._secret = project_key(path.with_name(path.name + ".key"))
            found = verify(path)
            if found.broken is not None:
                raise AuditLogError(
                    f"--audit-log {path}: line {found.broken} does not follow from the line before; "
                    "keep the file for whoever looks into it, and name another"
                )
        except PrivacyError as error:
            os.close(self._file)
            raise AuditLogError(f"--audit-log {path}: its secret {path.name}.key is damaged ({error})") from None
        except BaseException:
            os.close(self._file)
            raise
        if found.torn_bytes:
            os.ftruncate(self._file, found.size - found.torn_bytes)
        self._last = found.last
        self._waiting: deque[tuple[dict[str, Any], asyncio.AbstractEventLoop | None, asyncio.Future[None] | None]] = deque()
        self._changed = threading.Condition()
        self._stops = False
        self._failed = False
        noted = {"cut_bytes": found.torn_bytes} if found.torn_bytes else {}
        secret = hashlib.sha256(self._secret).hexdigest()[:16]  # so that a lost secret shows
        self._write([self._entry({"event": "opened", "secret": secret, **noted})])
        self._thread = threading.Thread(target=self._work, name="attending-audit-log", daemon=True)
        self._thread.start()

    @property
    def is_writable(self) -> bool:
        """Whether entries reach the disk. Once they did not, no more are taken: a gap would look like nothing was asked."""
        return not self._failed and not self._stops

    def hash_of(self, inputs: bytes) -> str:
        """A keyed hash of what was sent: equal for equal bytes, and nothing that can be guessed without the secret."""
        return hmac.new(self._secret, inputs, hashlib.sha256).hexdigest()

    async def append(self, entry: Mapping[str, Any]) -> None:
        """Return when the entry is on the disk. Raises `AuditLogError` when it cannot be."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        with self._changed:
            if not self.is_writable:
                raise AuditLogError("the audit log cannot be written")
            self._waiting.append((self._entry(entry), loop, written))
            self._changed.notify()
        await asyncio.shield(written)

    def close(self) -> None:
        """Write what waits, note the end, and let go of the file."""
        with self._changed:
            if self._stops:
                return
            self._stops = True
            self._changed.notify()
        self._thread.join()
        if not self._failed:
            self._write([self._entry({"event": "closed"})])
        os.close(self._file)

    def _entry(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"time": time, **entry, "model": self._model}

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._stops):
                    self._changed.wait()
                batch = list(self._waiting)
                self._waiting.clear()
                if not batch:
                    return
            failed: Exception | None = None
            try:
                self._write([entry for entry, _, _ in batch])
            except OSError as error:
                self._failed = True
                failed = AuditLogError(f"the audit log cannot be written ({error.strerror})")
            for _, loop, written in batch:
                if loop is not None and written is not None and not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, written, failed)

    def _write(self, entries: list[dict[str, Any]]) -> None:
        """All lines in one write and one flush to the disk."""
        lines, last = [], self._last
        for entry in entries:
            line, last = _line(entry, last)
            lines.append(line)
        content = b"".join(lines)
        while content:
            content = content[os.write(self._file, content) :]
        os.fsync(self._file)
        self._last = last


def _settle(written: "asyncio.Future[None]", failed: Exception | None) -> None:
    if written.done():
        return
    if failed is None:
        written.set_result(None)
    else:
        written.set_exception(failed)


def verify(path: Path, *, holds: str | None = None) -> Verdict:
    """Whether every line follows from the one before. `holds` is a hash noted earlier, which must be in the chain.

    Raises `OSError` where the file cannot be read.
    """
    entries, last, torn, found = 0, START, 0, False
    for number, line in enumerate(_lines(path), start=1):
        if not line.endswith(b"\n"):
            torn = len(line)
            break
        following = _following(line, last)
        if following is None:
            return Verdict(entries=entries, last=last, broken=number, size=path.stat().st_size, holds=found)
        entries, last = entries + 1, following
        found = found or (holds is not None and hmac.compare_digest(holds.encode(), last.encode()))
    return Verdict(entries=entries, last=last, torn_bytes=torn, size=path.stat().st_size, holds=found)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while line := handle.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):  # no line of ours: an end of zeros, or another file
                rest = len(handle.read())
                yield line + b"\0" * rest
                return
            yield line


def _line(entry: Mapping[str, Any], previous: str) -> tuple[bytes, str]:
    """The line and its hash, which is over all that stands before it on the line, the previous hash among it."""
    body = json.dumps({**entry, PREVIOUS: previous}, ensure_ascii=True, separators=(",", ":"))[:-1]
    own = hashlib.sha256(body.encode()).hexdigest()
    return f'{body},"{HASH}":"{own}"}}\n'.encode(), own


def _following(line: bytes, previous: str) -> str | None:
    """The hash of a line that follows, else None. The very bytes are hashed, so that no other spelling passes."""
    body, mark, end = line.rpartition(f',"{HASH}":"'.encode())
    own = hashlib.sha256(body).hexdigest()
    if not mark or end != f'{own}"}}\n'.encode() or not body.endswith(f'"{PREVIOUS}":"{previous}"'.encode()):
        return None
    return own
