"""What stands before the routes: who asks, how often, how much and for how long; and what is written down of it.

Every answer leaves through here: with a request id, the notice, and, before it leaves, its entry in the audit log. An error
that nobody expected becomes 500 with nothing in it; the log gets its type and the line of code, never its message.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from traceback import extract_tb
from typing import Any

from attending.service.audit_log import AuditLog, AuditLogError
from attending.service.credentials import Credentials, is_loopback
from attending.service.metrics import Metrics
from attending.service.pages import Pages
from attending.service.problem import PROBLEM_JSON, Problem
from attending.service.rates import Rates
from attending.service.settings import Settings
from attending.service.words import NOTICE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("attending.service")
OPEN = frozenset({"/health", "/ready"})
"""Routes for those who watch the process: they say nothing of model or patients, and ask for no token."""
UNLOGGED = OPEN | {"/metrics"}
"""Routes without an entry in the audit log."""
NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"attending-notice", NOTICE.encode()),
)


@dataclass(kw_only=True)
class _Asked:
    """One request on its way through."""

    scope: Scope
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    began: float = field(default_factory=time.monotonic)
    client: str | None = None
    body: bytes = b""
    held: int = 0

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.scope["headers"])

    def header(self, name: bytes) -> str | None:
        """The one header of this name; None where there is none or more than one."""
        found = [value for key, value in self.headers if key.lower() == name]
        return found[0].decode("latin-1") if len(found) == 1 else None

    @property
    def address(self) -> str:
        return str((self.scope.get("client") or ("none",))[0])

    @property
    def route(self) -> str:
        """The path as the program writes it, never as it was asked for."""
        return str(getattr(self.scope.get("route"), "path", NO_ROUTE))

    @property
    def method(self) -> str:
        return self.scope["method"] if self.scope["method"] in _METHODS else "OTHER"


@dataclass(kw_only=True)
class _Answer:
    """What a route sent, held back until it may leave."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


class Guard:
    """An ASGI application around another."""

    def __init__(
        self,
        app: App,
        *,
        settings: Settings,
        credentials: Credentials | None,
        audit_log: AuditLog | None,
        metrics: Metrics,
        pages: Pages | None = None,
    ) -> None:
        self.app, self.settings, self.credentials = app, settings, credentials
        self.audit_log, self.metrics, self.pages = audit_log, metrics, pages
        self._rates = Rates(settings.rate)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """HTTP is guarded, the lifespan passed on, and all else turned away."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        asked = _Asked(scope=scope)
        scope.setdefault("state", {})["request_id"] = asked.id
        try:
            answer = await self._guarded(asked, receive)
            answer = self._paged(asked, await self._noted(asked, answer))
        finally:
            self._held -= asked.held
        seconds = time.monotonic() - asked.began
        self.metrics.count(route=asked.route, method=asked.method, status=answer.status, seconds=seconds)
        log.info("%s %s %s %d %.1f ms", asked.id, asked.method, asked.route, answer.status, 1000 * seconds)
        await send({"type": "http.response.start", "status": answer.status, "headers": _dressed(asked, answer)})
        body = b"" if asked.method == "HEAD" else bytes(answer.body)
        await send({"type": "http.response.body", "body": body})

    async def _guarded(self, asked: _Asked, receive: Receive) -> _Answer:
        try:
            self._check_headers(asked)
            self._admit(asked)
            await self._read(asked, receive)
            answer = _Answer()
            async with asyncio.timeout(self.settings.answer_seconds):
                await self.app(asked.scope, _replayed(asked.body), answer.send)
        except Problem as problem:
            return _told(problem, asked)
        except TimeoutError:
            return _told(Problem(503, "too-slow", "the answer took too long; come back later", retry_after_seconds=5), asked)
        except Exception as error:
            _log_error(error, asked)
            return _told(Problem(500, "internal", "something went wrong here; its log names the place by this id"), asked)
        return answer

    def _check_headers(self, asked: _Asked) -> None:
        headers = asked.headers
        if (
            len(headers) > self.settings.most_headers
            or sum(len(k) + len(v) for k, v in headers) > self.settings.most_header_bytes
        ):
            raise Problem(
                431, "headers-too-large", f"more than {self.settings.most_headers} headers, or too long ones; send fewer"
            )
        if self.credentials is None and not is_loopback(_host(asked.header(b"host") or "")):
            # a page of another site whose name was made to lead here would otherwise read the answers (DNS rebinding)
            raise Problem(421, "host", "without tokens the service answers to its loopback name only; ask for 127.0.0.1")
        origin = asked.header(b"origin")
        if self.credentials is None and origin is not None and not is_loopback(_host(origin.partition("://")[2])):
            raise Problem(403, "origin", "without tokens the service answers no page of another site; make a token")

    def _admit(self, asked: _Asked) -> None:
        """Count the request for whoever sends it, and turn away who has no token."""
        path = asked.scope["path"]
        if path in OPEN:
            return
        pages = self.pages if self.pages is not None and self.pages.has(path) else None
        if self.credentials is not None:
            asked.client = self.credentials.holder(asked.header(b"authorization"))
            if asked.client is None and pages is not None:
                asked.client = pages.holder(asked.header(b"cookie"))
            asked.scope["state"]["client"] = asked.client
        who = f"token {asked.client}" if asked.client else f"address {asked.address}"
        wait = self._rates.wait_of(who)
        if wait:
            raise Problem(
                429, "rate", f"more than {self.settings.rate:g} requests a second; slow down", retry_after_seconds=wait
            )
        if self.credentials is not None and asked.client is None and not (pages is not None and pages.is_open(path)):
            raise Problem(401, "token", "send a token of this service: Authorization: Bearer TOKEN")
        closed = None if self.pages is None else self.pages.closes(path)
        if closed is not None:
            raise Problem(403, "closed", closed)

    async def _read(self, asked: _Asked, receive: Receive) -> None:
        """The body, counted as it comes: what a client says of its length is believed only where it is too much."""
        if asked.method not in ("POST", "PUT", "PATCH"):
            return
        if asked.header(b"content-encoding") not in (None, "identity"):
            raise Problem(415, "encoding", "compressed bodies are not taken; send it as it is")
        too_large = Problem(
            413, "too-large", f"the body has more than {self.settings.most_body_bytes} bytes; shrink pictures or send fewer"
        )
        said = asked.header(b"content-length")
        if said is not None and said.isdecimal() and (len(said) > 18 or int(said) > self.settings.most_body_bytes):
            raise too_large
        pieces = []
        try:
            async with asyncio.timeout(self.settings.read_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(400, "cut-off", "the body ended before it was complete")
                    piece = message.get("body", b"")
                    asked.held += len(piece)
                    self._held += len(piece)
                    if asked.held > self.settings.most_body_bytes:
                        raise too_large
                    if self._held > self.settings.most_held_bytes:
                        raise Problem(503, "busy", "too much is being read at once; come back later", retry_after_seconds=1)
                    pieces.append(piece)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Problem(408, "too-slow", f"the body took more than {self.settings.read_seconds:g} seconds") from None
        asked.body = b"".join(pieces)

    async def _noted(self, asked: _Asked, answer: _Answer) -> _Answer:
        """The answer, after its entry is on the disk; without one there is no answer. A flood (429) fills no disk."""
        path = asked.scope["path"]
        if self.audit_log is None or answer.status == 429 or path in UNLOGGED:
            return answer
        if self.pages is not None and self.pages.is_furniture(path):
            return answer
        entry = {
            "request": asked.id,
            "client": asked.client,
            "method": asked.method,
            "route": asked.route,
            "status": answer.status,
            "inputs": self.audit_log.hash_of(asked.body) if asked.body else None,
        }
        case = asked.scope["state"].get("case")
        if case is not None:
            entry["case"] = self.audit_log.hash_of(str(case).encode())
        try:
            await self.audit_log.append(entry)
        except AuditLogError:
            return _told(Problem(503, "audit-log", "the audit log cannot be written, so nothing is answered"), asked)
        return answer

    def _paged(self, asked: _Asked, answer: _Answer) -> _Answer:
        """A problem with a page in the words of the pages, unless the page's own program asked and reads JSON."""
        is_problem = (b"content-type", PROBLEM_JSON.encode()) in answer.headers
        if self.pages is None or not is_problem or not self.pages.has(asked.scope["path"]):
            return answer
        if asked.header(b"accept") == "application/json":
            return answer
        told = self.pages.told(json.loads(bytes(answer.body)), method=asked.method)
        kept = [(name, value) for name, value in answer.headers if name not in (b"content-type", b"content-length")]
        own = [(name.encode(), value.encode()) for name, value in told.headers.items()]
        return _Answer(status=told.status, headers=[*kept, *own], body=bytearray(told.body))


def _dressed(asked: _Asked, answer: _Answer) -> list[tuple[bytes, bytes]]:
    """The answer's headers, ours where it has none of that name, and always our request id and the length that it has."""
    own = {b"x-request-id": asked.id.encode(), b"content-length": str(len(answer.body)).encode()}
    kept = [(name, value) for name, value in answer.headers if name.lower() not in own]
    names = {name.lower() for name, _ in kept}
    return [*kept, *((name, value) for name, value in _HEADERS if name not in names), *own.items()]


def _told(problem: Problem, asked: _Asked) -> _Answer:
    headers = [(name.encode(), value.encode()) for name, value in problem.headers().items()]
    if problem.status in (408, 413, 431):
        headers.append((b"connection", b"close"))  # what is left of the request is not read
    return _Answer(status=problem.status, headers=headers, body=bytearray(json.dumps(problem.body(asked.id)).encode()))


def _replayed(body: bytes) -> Receive:
    """What has been read, once more, for the route; then nothing more comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return receive


def _log_error(error: Exception, asked: _Asked) -> None:
    """Where it happened and what type it is. A message may hold what was sent."""
    place = extract_tb(error.__traceback__)[-1]
    log.error("%s %s failed: %s at %s:%s", asked.id, asked.route, type(error).__name__, place.filename, place.lineno)


def _host(header: str) -> str:
    """The host of a `Host` header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
