"""How a service is run: where it listens, who may ask, and what it refuses. Checked before a model is loaded."""

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`rate` is requests a second of one client (0: no limit), `most_body_bytes` the largest body.

    `most_held_bytes` bounds all bodies that are held at once. `header_seconds` and `read_seconds` are the times in which
    headers and body must have come, `answer_seconds` that in which it is answered.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    threads: int = 0
    token_file: Path | None = None
    audit_log: Path | None = None
    rate: float = 50.0
    most_body_bytes: int = 16 * MEBIBYTE
    header_seconds: float = 10.0
    read_seconds: float = 20.0
    answer_seconds: float = 30.0
    most_headers: int = 64
    most_header_bytes: int = 16 * 1024
    most_connections: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"--port {self.port}: expected a number from 0 (any free one) to 65535")
        if not (self.rate >= 0 and self.rate < float("inf")):
            raise ValueError(f"--rate {self.rate:g}: expected requests a second, or 0 for no limit")
        if self.most_body_bytes < 1024:
            raise ValueError(f"--max-body {self.most_body_bytes}: expected at least 1024 bytes")

    @property
    def most_held_bytes(self) -> int:
        """Of all requests that are being read or answered at once."""
        return 8 * self.most_body_bytes
