"""Asking a service: in this process through ASGI, or over a socket as a client would."""

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from attending.model.trained import TrainedModel
from attending.service.app import create_app
from attending.service.audit_log import AuditLog
from attending.service.credentials import Credentials
from attending.service.desk import Desk
from attending.service.guard import Guard
from attending.service.pages import Pages
from attending.service.server import bound, server_of
from attending.service.settings import Settings

HERE = "http://127.0.0.1:8000"
FREELY = Settings(rate=0, port=0)
WHOLE: Mapping[str, Any] = {
    "notes": [{"text": "Patient reports fever days, productive cough."}],
    "values": [{"code": "crp", "value": 31.5, "unit": "mg/L"}],
    "signs": [{"name": "cough", "level": "wet"}],
    "age_years": 61,
    "sex": "f",
}
"""A case with everything but a film."""


class Client:
    """A service in this process, asked one request after the other."""

    def __init__(
        self,
        model: TrainedModel,
        *,
        settings: Settings = FREELY,
        credentials: Credentials | None = None,
        audit_log: AuditLog | None = None,
        pages: Callable[[Desk], Pages] | None = None,
        raises: bool = True,
    ) -> None:
        self.app: Guard = create_app(model, settings=settings, credentials=credentials, audit_log=audit_log, pages=pages)
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=raises)
        self._client = httpx.AsyncClient(transport=transport, base_url=HERE, timeout=30)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer."""
        return self._loop.run_until_complete(self._client.request(method, path, **more))

    def together(self, *requests: Mapping[str, Any]) -> list[httpx.Response]:
        """Answers to requests that are asked at once."""

        async def all_of_them() -> list[httpx.Response]:
            return await asyncio.gather(*(self._client.request(**request) for request in requests))

        return self._loop.run_until_complete(all_of_them())

    def diagnose(self, case: Mapping[str, Any]) -> httpx.Response:
        """The answer for a case."""
        return self.ask("POST", "/v1/diagnoses", json=case)

    def close(self) -> None:
        """End the application as a server would."""
        self._loop.run_until_complete(self._client.aclose())
        self._loop.run_until_complete(_lifespan(self.app))
        self._loop.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _lifespan(app: Guard) -> None:
    waiting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, str]:
        return waiting.pop(0)

    async def send(_: Any) -> None:
        return None

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


@contextmanager
def listening(model: TrainedModel, *, settings: Settings = FREELY, **more: Any) -> Iterator[str]:
    """A real server on a free loopback port; gives its address."""
    with bound(settings) as socket:
        server = server_of(create_app(model, settings=settings, **more), settings)
        thread = threading.Thread(target=lambda: server.run(sockets=[socket]))
        thread.start()
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def case_of_row(row: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """What a row of the tests' table is as a message."""
    case: dict[str, Any] = {"age_years": float(row["age"]), "sex": row["sex"], "identity": [row["patient_id"]]}
    if row["crp_mg_l"]:
        case["values"] = [{"code": "crp", "value": float(row["crp_mg_l"]), "unit": "mg/L"}]
    if row["cough"]:
        case["signs"] = [{"name": "cough", "level": row["cough"]}]
    if row["note"]:
        case["notes"] = [{"field": "note", "text": row["note"]}]
    if row["film"]:
        case["images"] = [{"field": "film", "data": base64.b64encode((folder / row["film"]).read_bytes()).decode()}]
    return case
