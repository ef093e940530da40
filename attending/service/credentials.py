"""Who may ask: bearer tokens (RFC 6750) by name, of which a file keeps hashes only.

A token is 256 random bits, so its SHA-256 needs neither salt nor slowness: there is nothing to guess.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_PREFIX = "att_"


class CredentialError(ValueError):
    """The token file cannot be used, or the service may not run without one."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Names by the hash of their token."""

    by_hash: Mapping[str, str] = field(repr=False)

    def holder(self, authorization: str | None) -> str | None:
        """Whose token an `Authorization` header carries; None for none that is known. Takes as long for any."""
        scheme, _, token = (authorization or "").partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", errors="surrogateescape")).hexdigest()
        found = None
        for known, name in self.by_hash.items():
            if hmac.compare_digest(known, given):
                found = name
        return found if scheme.lower() == "bearer" else None


def read_tokens(path: Path) -> Credentials:
    """The file's lines `NAME HASH`; empty lines and those that begin with # mean nothing. Raises `CredentialError`."""
    if not path.is_file():
        raise CredentialError(f"--token-file {path}: no such file; attending token NAME --token-file {path} makes one")
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CredentialError(f"--token-file {path}: others may write to it; chmod 600 it")
    by_hash: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _HASH.fullmatch(words[1]):
            raise CredentialError(
                f"--token-file {path}: line {number} is not NAME and SHA-256 in hexadecimal; no token itself stands there: "
                "make entries with attending token NAME --token-file FILE"
            )
        if words[0] in by_hash.values() or words[1] in by_hash:
            raise CredentialError(f"--token-file {path}: line {number} repeats a name or a token; each stands there once")
        by_hash[words[1]] = words[0]
    if not by_hash:
        raise CredentialError(f"--token-file {path}: holds no token; attending token NAME --token-file {path} makes one")
    return Credentials(by_hash=by_hash)


def new_token(path: Path, name: str) -> str:
    """A fresh token for `name`, whose hash is appended to the file. It is shown once and can be had from nowhere later."""
    check_name(name)
    if path.exists() and path.read_text(encoding="utf-8").strip() and name in read_tokens(path).by_hash.values():
        raise CredentialError(f"--token-file {path}: {name} has a token already; remove its line first, or take another name")
    token = _PREFIX + secrets.token_urlsafe(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as handle:
        handle.write(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n")
        handle.flush()
        os.fsync(handle.fileno())
    return token


def check_name(name: str) -> None:
    """Raise `CredentialError` for a name that could not stand on a line of a log."""
    if not _NAME.fullmatch(name):
        raise CredentialError("a name has up to 64 letters, digits, dots, dashes and underscores; it stands in the log")


def is_loopback(host: str) -> bool:
    """Whether this address reaches no further than this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, credentials: Credentials | None) -> None:
    """Raise `CredentialError` where anybody on the network could ask."""
    if credentials is None and not is_loopback(host):
        raise CredentialError(
            f"--host {host}: without --token-file the service listens on a loopback address only; "
            "make a token (attending token NAME --token-file FILE) and name the file, or take --host 127.0.0.1"
        )
