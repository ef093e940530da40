"""The service on a port: uvicorn with one process, since one thread owns the networks, and no log that tells paths."""

import asyncio
import logging
import socket
import sys
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from attending.service.guard import Guard
from attending.service.settings import Settings


class Impatient(H11Protocol):
    """HTTP/1.1 that hangs up on whoever takes longer than `header_seconds` over the headers of a request.

    Without it, connections that never say what they want would hold all places that there are.
    """

    def __init__(self, *arguments: Any, header_seconds: float, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._header_seconds = header_seconds
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: the clock runs."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """More of a request: the clock stops when its headers are there, and runs from the first byte of the next."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._late is None and self.timeout_keep_alive_task is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(self._header_seconds, self.transport.close)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def server_of(app: Guard, settings: Settings) -> uvicorn.Server:
    """Ready to `run`. Headers are bounded in size and time while they are read, connections in number."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=partial(Impatient, header_seconds=settings.header_seconds),  # type: ignore[arg-type]
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=settings.most_header_bytes,
            limit_concurrency=settings.most_connections,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=10,
        )
    )


def bound(settings: Settings) -> socket.socket:
    """The socket that will be listened on, so that a port in use is an error before anything else starts.

    Raises `OSError` that names the address.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named, or asyncio would not turn off Nagle's delay: 40 ms between the head of an answer and its body.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host.strip("[]"), settings.port))
    except OSError as error:
        found.close()
        error.filename = f"--host {settings.host} --port {settings.port}"
        raise
    return found


def log_to_stderr(level: int = logging.INFO) -> None:
    """A line for each request: its id, method, route, status and time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in ("attending.service", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
