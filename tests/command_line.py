"""The command line, called in this process as a person would call it, with no way out to a network."""

import socket
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest

from attending.cli import main

IGNORE = ("--ignore", "kind,a,b")
ASKED = ("--target", "sick", *IGNORE)
"""The question of `tests/tables.py`'s rows."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error: the one line that the command ends with."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


class NetworkError(AssertionError):
    """Something tried to reach a network."""


def _no_network(*_: Any, **__: Any) -> NoReturn:
    raise NetworkError("a command opened a socket")


def call(*arguments: str | Path) -> Said:
    """Run `attending ARGUMENTS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _no_network)
        patch.setattr(socket, "create_connection", _no_network)
        patch.setattr(socket, "getaddrinfo", _no_network)
        patch.setattr(sys, "argv", ["attending", *(str(argument) for argument in arguments)])
        with _Captured() as captured:
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
    return Said(code=code, out=captured.out, err=captured.err)


class _Captured:
    """Standard output and error as text."""

    out = err = ""

    def __enter__(self) -> "_Captured":
        self._streams = sys.stdout, sys.stderr
        self._held = StringIO(), StringIO()
        sys.stdout, sys.stderr = self._held
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self._streams
        self.out, self.err = (stream.getvalue() for stream in self._held)


def refused(said: Said, *parts: str) -> None:
    """It ended with code 2 and one sentence that holds these parts, and printed no traceback."""
    assert said.code == 2, said.err
    assert "Traceback" not in said.err
    assert said.sentence.startswith("attending: "), said.err
    for part in parts:
        assert part in said.sentence


def declared(folder: Path, table: Path) -> Path:
    """The inferred schema with every time declared, as --strict wants it."""
    path = folder / "declared.toml"
    assert call("schema", table, *ASKED, "--out", path).code == 0
    path.write_text(path.read_text().replace("not recorded: taken at the question", "at the question"))
    return path
