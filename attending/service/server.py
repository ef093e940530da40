"""The service on a port: uvicorn with one process, since one thread owns the networks, and no log that tells paths."""

import logging
import socket
import sys

import uvicorn

from attending.service.guard import Guard
from attending.service.settings import Settings


def server_of(app: Guard, settings: Settings) -> uvicorn.Server:
    """Ready to `run`. Headers are bounded while they are read (h11), connections in number."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http="h11",
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
    found = socket.socket(family, socket.SOCK_STREAM)
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
