"""The routes, their OpenAPI description, and the guard around them. What they answer is said by `Desk`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse

from attending.model.trained import TrainedModel
from attending.service.audit_log import AuditLog
from attending.service.credentials import Credentials
from attending.service.desk import Desk
from attending.service.guard import OPEN, Guard
from attending.service.messages import AnswerOut, CaseIn, HealthOut, ModelOut, ProblemOut
from attending.service.metrics import CONTENT_TYPE, Metrics
from attending.service.multipart import parts_of
from attending.service.pages import Pages
from attending.service.problem import PROBLEM_JSON, Problem
from attending.service.settings import Settings
from attending.service.words import DESCRIPTION, NOTICE

_SCHEMAS = "#/components/schemas/"
_TELLING = ("PIL", "python_multipart", "multipart")
"""Libraries that write what they read (EXIF texts, headers of parts) into their logs at some level."""
_READING = {
    400: "not JSON or multipart at all",
    408: "the body came too slowly",
    413: "the body is too large",
    415: "another media type, or a compressed body",
    422: "fields that the model's schema does not have or cannot read, each named",
}
_ALWAYS = {
    401: "no token, or none that is known",
    403: "without tokens: asked by a page of another site",
    421: "without tokens: asked for by another name than a loopback one",
    429: "too many requests of this client; `Retry-After` says when to come back",
    431: "too many headers, or too long ones",
    500: "something went wrong in the service",
    503: "busy, or the audit log cannot be written",
}


def create_app(
    model: TrainedModel,
    *,
    settings: Settings,
    credentials: Credentials | None = None,
    audit_log: AuditLog | None = None,
    pages: Callable[[Desk], Pages] | None = None,
) -> Guard:
    """The service as an ASGI application. The caller opened the audit log; the application closes it when it ends.

    `pages` makes the pages that are served beside the API, if any, from the desk that answers both.
    """
    metrics = Metrics()
    desk = Desk(model, most_body_bytes=settings.most_body_bytes, threads=settings.threads, batch_seen=metrics.count_batch)
    metrics.describe(model.id, desk.about.software, lambda: desk.worker.waiting)
    for name in _TELLING:
        _silence(name)
    beside = None if pages is None else pages(desk)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if beside is not None:
            beside.close()
        desk.close()
        if audit_log is not None:
            audit_log.close()

    app = FastAPI(
        title="attending",
        version=version("attending"),
        description=DESCRIPTION,
        docs_url=None,  # both fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the query that was sent
        lifespan=lifespan,
    )
    _add_diagnoses(app, desk, metrics)
    _add_standing(app, desk, metrics, audit_log)
    if beside is not None:
        beside.add_to(app)
    _add_problems(app)
    app.openapi_schema = _described(app, desk, has_tokens=credentials is not None)
    return Guard(app, settings=settings, credentials=credentials, audit_log=audit_log, metrics=metrics, pages=beside)


def _add_diagnoses(app: FastAPI, desk: Desk, metrics: Metrics) -> None:
    """Cases in, answers out."""

    def answered(answer: AnswerOut) -> Response:
        """Written once: the framework would check and copy the answer again, for a tenth of the time of a case."""
        if answer.abstained is not None:
            metrics.count_abstention()
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.post(
        "/v1/diagnoses",
        operation_id="diagnose",
        response_model=AnswerOut,
        summary="Estimates for one case, as JSON.",
        responses=_problems(_READING | _ALWAYS),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _ref("CaseIn")}}}},
    )
    async def diagnose(request: Request) -> Response:
        if _media_type(request) != "application/json":
            raise Problem(415, "media-type", "send application/json, or pictures as files to /v1/diagnoses/upload")
        return answered(await desk.diagnose(await request.body(), request=request.state.request_id))

    @app.post(
        "/v1/diagnoses/upload",
        operation_id="diagnose_upload",
        response_model=AnswerOut,
        summary="Estimates for one case, with pictures as files: each part is named after the field it is of.",
        responses=_problems(_READING | _ALWAYS),
        openapi_extra={"requestBody": _upload(desk)},
    )
    async def diagnose_upload(request: Request) -> Response:
        body, media_type = await request.body(), request.headers.get("content-type", "")
        case, pictures = await asyncio.to_thread(parts_of, body, media_type)  # up to 16 MB are searched for boundaries
        return answered(await desk.diagnose(case, request=request.state.request_id, pictures=pictures))


def _add_standing(app: FastAPI, desk: Desk, metrics: Metrics, audit_log: AuditLog | None) -> None:
    """What the service says of itself: its model, whether it runs, whether it answers, and its counts."""

    @app.get(
        "/v1/model",
        operation_id="model",
        response_model=ModelOut,
        summary="What the model reads and answers.",
        responses=_problems(_ALWAYS),
    )
    async def about() -> ModelOut:
        return desk.about

    @app.get(
        "/health",
        operation_id="health",
        response_model=HealthOut,
        summary="Whether the process runs.",
        responses=_problems({status: _ALWAYS[status] for status in (403, 421, 431, 500)}),
    )
    async def health() -> HealthOut:
        return HealthOut(status="ok")

    @app.get(
        "/ready",
        operation_id="ready",
        response_model=HealthOut,
        summary="Whether cases are answered.",
        responses=_problems({status: _ALWAYS[status] for status in (403, 421, 431, 500, 503)}),
    )
    async def ready() -> HealthOut:
        if not desk.worker.is_alive or not (audit_log is None or audit_log.is_writable):
            raise Problem(503, "not-ready", "no case is answered now", retry_after_seconds=5)
        return HealthOut(status="ready")

    @app.get(
        "/metrics",
        operation_id="metrics",
        response_class=Response,
        summary="Counts and durations, as Prometheus reads them.",
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_problems(_ALWAYS)},
    )
    async def measured() -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})


def _add_problems(app: FastAPI) -> None:
    """Everything that is not an answer is problem+json with no word of the request."""

    def told(request: Request, problem: Problem, more: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse(
            problem.body(request.state.request_id), status_code=problem.status, headers={**(more or {}), **problem.headers()}
        )

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return told(request, error)

    async def http(request: Request, error: Exception) -> JSONResponse:
        status = getattr(error, "status_code", 500)
        if status == 405:
            allowed = (getattr(error, "headers", None) or {}).get("Allow", "")
            return told(request, Problem(405, "method", f"this path is asked with {allowed}"), {"allow": allowed})
        if status == 404:
            return told(request, Problem(404, "path", "there is no such path; GET /openapi.json lists them"))
        return told(request, Problem(status, "http", "the request cannot be answered"))

    async def invalid(request: Request, _: Exception) -> JSONResponse:
        return told(request, Problem(422, "case-not-readable", "the request has another shape; see GET /openapi.json"))

    for status in (404, 405):
        app.add_exception_handler(status, http)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _described(app: FastAPI, desk: Desk, *, has_tokens: bool) -> dict[str, Any]:
    """The OpenAPI description, with this model's fields, units and levels where they may stand."""
    found = app.openapi()
    schema = CaseIn.model_json_schema(ref_template=_SCHEMAS + "{model}")
    parts = schema.pop("$defs")
    about = desk.about
    for part, member, words in (
        ("NoteIn", "field", about.notes),
        ("ValueIn", "code", [value.code for value in about.values]),
        ("SignIn", "name", [sign.name for sign in about.signs]),
        ("ImageIn", "field", about.images),
        ("EmbeddingIn", "name", [embedding.name for embedding in about.embeddings]),
    ):
        if words:
            parts[part]["properties"][member]["examples"] = words
    found["components"]["schemas"] |= {"CaseIn": schema, **parts}
    found["info"]["x-notice"] = NOTICE
    if has_tokens:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in found["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if path in OPEN else [{"token": []}]
    return found


def _problems(statuses: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    content = {PROBLEM_JSON: {"schema": _ref(ProblemOut.__name__)}}
    return {status: {"description": told, "content": content} for status, told in statuses.items()}


def _upload(desk: Desk) -> dict[str, Any]:
    files = {name: {"type": "string", "format": "binary"} for name in desk.fields.images}
    properties = {"case": _ref("CaseIn"), **files}
    encoding = {"case": {"contentType": "application/json"}} | {
        name: {"contentType": "image/png, image/jpeg"} for name in files
    }
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _SCHEMAS + name}


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _silence(name: str) -> None:
    """Nothing of this library is logged, whatever level is asked for."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
