"""HTTP front of the job service: routes, documents, and what errors look like. Nothing is decided here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from cluster.jobs import webpage
from cluster.jobs.guard import Guard
from cluster.jobs.metrics import render_metrics
from cluster.jobs.model import JOB_ID, JobRequest, job_document
from cluster.jobs.reportpage import REPORT_POLICY, render_report
from cluster.jobs.schema import parameter_document
from cluster.jobs.service import (
    InvalidRequestError,
    JobService,
    RateLimit,
    RefusedError,
    TooManyRequestsError,
)
from cluster.jobs.state import ACTIVE, IllegalTransitionError, JobState
from cluster.jobs.store import ConflictError, Filter, JobNotFoundError, LimitError
from cluster.jobs.tokens import Caller, TokenStore
from mosaic.errors import MosaicError

POLL_S: Final = 0.25
"""Time between two looks for new events of a job that is watched."""
KEEPALIVE_S: Final = 15.0
STATUS_OF: Final[dict[type[MosaicError], int]] = {
    JobNotFoundError: 404,
    RefusedError: 403,
    ConflictError: 409,
    IllegalTransitionError: 409,
    LimitError: 429,
    TooManyRequestsError: 429,
    InvalidRequestError: 422,
}
JobId = Annotated[str, PathParameter(pattern=f"^{JOB_ID}$", description="Identity of the job.")]
PROBLEM: Final = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers of a route other than success, for the OpenAPI document."""
    texts = {
        400: "Malformed",
        401: "No valid token",
        403: "Not allowed for this role",
        404: "No such job, or not yours",
        409: "Contradicts the state of things",
        413: "Body too large",
        422: "Something in the request is wrong",
        429: "Too many requests or jobs",
    }
    content = {"application/json": {"schema": PROBLEM}}
    return {status: {"description": texts[status], "content": content} for status in (400, 401, *statuses)}


router = APIRouter()


def _service(request: Request) -> JobService:
    service: JobService = request.app.state.service
    return service


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


@router.get("/health")
def health(request: Request) -> dict[str, str]:
    """Whether the service works; needs no token and tells nothing else."""
    _service(request).store.counts()
    return {"status": "ok"}


@router.get("/service", responses=_refusals())
def describe_service(request: Request) -> dict[str, Any]:
    """Who you are here, what the service has, and where jobs may read and write."""
    service, caller = _service(request), _caller(request)
    places, capacity = service.places_of(caller), service.config.capacity
    return {
        "version": _version(),
        "user": caller.owner,
        "role": caller.role,
        "csrf": caller.csrf,
        "cores": capacity.cores,
        "memory": capacity.memory_bytes,
        "job_memory": service.config.job_memory_bytes,
        "input_roots": [str(root) for root in places.readable()],
        "output_roots": [*map(str, places.own_folders()), *places.own_urls()],
        "buckets": sorted(places.buckets),
        "dashboard": service.config.dashboard,
    }


@router.get("/parameters", responses=_refusals())
def parameters() -> dict[str, Any]:
    """All parameters of a job with meaning, kind, limits and default: those of ``mosaic drizzle``."""
    return parameter_document()


@router.post(
    "/jobs",
    status_code=201,
    responses={
        **_refusals(403, 409, 413, 422, 429),
        200: {"description": "Valid (dry run), or known already under this key"},
    },
)
def submit(
    request: Request,
    response: Response,
    body: JobRequest,
    *,
    dry_run: Annotated[bool, Query(description="Only say whether the request is valid.")] = False,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=128, pattern=r"^[!-~]+$")] = None,
) -> dict[str, Any]:
    """Put a job into the queue. The same request under the same Idempotency-Key is the same job."""
    service, caller = _service(request), _caller(request)
    if dry_run:
        response.status_code = 200
        return {
            "valid": True,
            **{name: value for name, value in service.check(caller, body).items() if name != "options"},
        }
    job, is_new = service.submit(caller, body, idempotency_key)
    if not is_new:
        response.status_code = 200
    response.headers["location"] = f"/jobs/{job.id}"
    return job_document(job)


@router.get("/jobs", responses=_refusals(422))
def jobs(
    request: Request,
    state: Annotated[list[JobState] | None, Query(max_length=6)] = None,
    owner: Annotated[str | None, Query(max_length=32)] = None,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """List jobs, newest first: your own, or all for operators."""
    wanted = Filter(owner, state or (), before, limit + 1)
    found = _service(request).find(_caller(request), wanted)
    page = found[:limit]
    return {"jobs": [job_document(job) for job in page], "next": page[-1].seq if len(found) > limit else None}


@router.get("/jobs/{job_id}", responses=_refusals(404, 422))
def job(request: Request, job_id: JobId) -> dict[str, Any]:
    """One job: request, state, progress, and how it ended."""
    service = _service(request)
    found = service.get(_caller(request), job_id)
    folder = service.store.folder_of(job_id)
    return {
        **job_document(found),
        "request": folder.read()["request"],
        "progress": service.runner.progress_of(job_id).document(),
        "outcome": folder.outcome,
    }


@router.post("/jobs/{job_id}/cancel", responses=_refusals(403, 404, 409, 422))
def cancel(request: Request, job_id: JobId) -> dict[str, Any]:
    """Stop a job. What is finished is kept."""
    return job_document(_service(request).cancel(_caller(request), job_id))


@router.post("/jobs/{job_id}/retry", responses=_refusals(403, 404, 409, 422, 429))
def retry(request: Request, job_id: JobId) -> dict[str, Any]:
    """Queue a failed or cancelled job again; it continues from what is finished."""
    return job_document(_service(request).retry(_caller(request), job_id))


@router.delete(
    "/jobs/{job_id}", status_code=204, response_class=Response, responses=_refusals(403, 404, 409, 422)
)
def delete(request: Request, job_id: JobId) -> Response:
    """Forget a job that has ended: record, events, log, preview. Products and mosaic job folder stay."""
    _service(request).delete(_caller(request), job_id)
    return Response(status_code=204)


@router.get("/jobs/{job_id}/tiles", responses=_refusals(404, 422))
def tiles(request: Request, job_id: JobId) -> dict[str, Any]:
    """Grids of tiles, and which tiles each phase has finished."""
    service = _service(request)
    service.get(_caller(request), job_id)
    return service.runner.progress_of(job_id).tile_document()


@router.get("/jobs/{job_id}/log", response_class=PlainTextResponse, responses=_refusals(404, 422))
def log(
    request: Request,
    job_id: JobId,
    tail: Annotated[int, Query(ge=1, le=4 << 20, description="Bytes.")] = 65536,
) -> PlainTextResponse:
    """End of the log."""
    service = _service(request)
    service.get(_caller(request), job_id)
    return PlainTextResponse(service.store.folder_of(job_id).log_tail(tail))


@router.get(
    "/jobs/{job_id}/preview.png",
    response_class=Response,
    responses={**_refusals(404, 422), 200: {"content": {"image/png": {}}}},
)
def preview(request: Request, job_id: JobId) -> Response:
    """Picture of what is finished of the mosaic."""
    service = _service(request)
    service.get(_caller(request), job_id)
    try:
        # Read at once: it may be replaced by a picture of another length at any time.
        picture = service.store.folder_of(job_id).preview.read_bytes()
    except FileNotFoundError:
        raise JobNotFoundError("no tile of the mosaic is finished yet") from None
    return Response(picture, media_type="image/png")


@router.get(
    "/jobs/{job_id}/report",
    response_class=Response,
    responses={**_refusals(404, 422), 200: {"content": {"text/html": {}, "application/json": {}}}},
)
def report(
    request: Request, job_id: JobId, accept: Annotated[str, Header()] = "application/json"
) -> Response:
    """How a job ended: products, timing, memory, what was set aside; as HTML for browsers."""
    service = _service(request)
    found = service.get(_caller(request), job_id)
    outcome = service.store.folder_of(job_id).outcome
    if outcome is None:
        raise JobNotFoundError(f"job {job_id} is {found.state}: there is no report yet")
    if "text/html" not in accept:
        return JSONResponse(outcome)
    headers = {"content-security-policy": REPORT_POLICY}
    page = service.read_report(found) or render_report(job_id, outcome)
    return Response(page, media_type="text/html", headers=headers)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={**_refusals(404, 422), 200: {"content": {"text/event-stream": {}}}},
)
async def events(
    request: Request,
    job_id: JobId,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None,
    after: Annotated[
        int, Query(ge=0, le=2**62, description="Like Last-Event-ID, for the first request.")
    ] = 0,
) -> StreamingResponse:
    """What happens to a job, as server-sent events; goes on after Last-Event-ID, ends with the job."""
    service, caller = _service(request), _caller(request)
    await run_in_threadpool(service.get, caller, job_id)
    start = after if last_event_id is None else int(last_event_id)
    return StreamingResponse(
        _stream(request, service, job_id, start),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


def _is_over(service: JobService, job_id: str) -> bool:
    """Whether nothing more happens to a job: it has ended, or was deleted meanwhile."""
    try:
        return service.store.get(job_id).state not in ACTIVE
    except JobNotFoundError:
        return True


async def _stream(request: Request, service: JobService, job_id: str, offset: int) -> AsyncIterator[bytes]:
    folder = service.store.folder_of(job_id)
    quiet_s = 0.0
    while not await request.is_disconnected():
        # Asked before the events are read: what was told before the end is then never missed.
        is_over = await run_in_threadpool(_is_over, service, job_id)
        lines = await run_in_threadpool(folder.events, offset)
        for line in lines:
            offset = line.end
            yield format_sse_event(
                data_str=json.dumps(line.event), event=str(line.event["kind"]), id=str(line.end)
            )
        if lines:
            quiet_s = 0.0
            continue
        if is_over:
            yield format_sse_event(data_str="{}", event="over", id=str(offset))
            return
        await asyncio.sleep(POLL_S)
        quiet_s += POLL_S
        if quiet_s >= KEEPALIVE_S:
            quiet_s = 0.0
            yield KEEPALIVE_COMMENT


@router.get("/metrics", response_class=PlainTextResponse, responses=_refusals(403))
def metrics(request: Request) -> PlainTextResponse:
    """Numbers of the service for Prometheus; for operators."""
    if not _caller(request).is_operator:
        raise RefusedError("metrics are for operators")
    service = _service(request)
    text = render_metrics(service.store, service.runner)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def create_app(service: JobService, tokens: TokenStore) -> Guard:
    """Put the application together; its runner starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.runner.start()
        yield
        await run_in_threadpool(service.runner.stop)

    app = FastAPI(
        title="mosaic job service",
        version=_version(),
        description="Submit, watch, cancel and continue mosaics of Hubble exposures.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=_refusals(),
    )
    app.state.service = service
    app.state.tokens = tokens
    app.state.logins = RateLimit(webpage.LOGINS_PER_MINUTE / 60.0, webpage.LOGINS_PER_MINUTE)
    app.include_router(router)
    app.include_router(webpage.router)
    app.add_exception_handler(MosaicError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    _declare_token(app)
    return Guard(app, tokens)


def _declare_token(app: FastAPI) -> None:
    """Say in the OpenAPI document that everything but the health check needs a token."""
    document = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    document["paths"]["/health"]["get"]["security"] = []


async def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    """Answer an error of ours with one line."""
    status = next((code for kind, code in STATUS_OF.items() if isinstance(error, kind)), 400)
    body: dict[str, Any] = {"detail": str(error)}
    headers = {}
    if isinstance(error, InvalidRequestError):
        body["problems"] = [{"field": field, "message": message} for field, message in error.problems]
    if isinstance(error, TooManyRequestsError):
        headers["retry-after"] = str(max(1, round(error.wait_s)))
    return JSONResponse(body, status_code=status, headers=headers)


async def _answer_invalid(_request: Request, error: Exception) -> JSONResponse:
    """Answer a request that does not have the form of its model; what was sent is not repeated."""
    parts = error.errors() if isinstance(error, RequestValidationError) else []
    is_json = not any(part["type"] == "json_invalid" for part in parts)
    problems = [{"field": _place(part["loc"]), "message": str(part["msg"])} for part in parts]
    detail = "; ".join(f"{problem['field']}: {problem['message']}" for problem in problems[:20])
    return JSONResponse({"detail": detail, "problems": problems}, status_code=422 if is_json else 400)


def _place(location: tuple[Any, ...]) -> str:
    """Name of the part of a request that is wrong."""
    names = [str(part) for part in location if part not in {"body", "query", "path", "header"}]
    # Names that were sent need not be text that can be sent back.
    return ".".join(names[:2])[:100].encode("utf-8", "replace").decode() or "body"


def _version() -> str:
    try:
        return version("mosaic-hst")
    except PackageNotFoundError:
        return "unknown"
