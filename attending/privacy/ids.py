"""Ids nobody can turn back without the project's key: HMAC-SHA256 (RFC 2104), and one offset of dates per patient from it.

The key belongs to the project and stays where the identified data are. With it the same patient gets the same id in every
table of the project; without it a list of guessed ids cannot be tried.
"""

import hashlib
import hmac
import os
import secrets
from datetime import timedelta
from pathlib import Path

KEY_BYTES = 32
LEAST_KEY_BYTES = 16
_ID_DIGITS = 16  # 64 bits: two of a million ids collide with probability 3e-8
MOST_SHIFT_DAYS = 365


class PrivacyError(ValueError):
    """Something may not pass from charts to cases."""


def hashed(name: str, *, key: bytes, kind: str) -> str:
    """The keyed hash of an id, in hexadecimal. `kind` (case, patient, group) keeps equal names of different things apart."""
    return hmac.new(key, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()[:_ID_DIGITS]


def date_shift(patient: str, *, key: bytes) -> timedelta:
    """The offset of all of a patient's dates: one whole year at most, never zero, the same for all visits."""
    number = int.from_bytes(hmac.new(key, f"shift\0{patient}".encode(), hashlib.sha256).digest()[:8], "big")
    days = number % (2 * MOST_SHIFT_DAYS) - MOST_SHIFT_DAYS
    return timedelta(days=days if days < 0 else days + 1)


def check_key(key: bytes) -> None:
    """Raise `PrivacyError` for a key that could be guessed."""
    if len(key) < LEAST_KEY_BYTES or len(set(key)) < 4:
        raise PrivacyError(
            f"the privacy key has {len(key)} bytes, expected at least {LEAST_KEY_BYTES} random ones; "
            "make one with attending.privacy.project_key(PATH)"
        )


def project_key(path: Path) -> bytes:
    """The key kept in a file, made on first use and readable by its owner only. Raises `PrivacyError` for a damaged one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        check_key(key)
        return key
    key = secrets.token_bytes(KEY_BYTES)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(key)
        handle.flush()
        os.fsync(handle.fileno())
    return key
