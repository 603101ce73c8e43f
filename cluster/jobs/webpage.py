"""The web page: its files, logging in and out. What it shows comes through the same API as for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from cluster.jobs.guard import COOKIE, cookie_of
from cluster.jobs.service import RateLimit
from cluster.jobs.store import JobNotFoundError
from cluster.jobs.tokens import SESSION_S, TokenStore

WEB: Final = Path(__file__).parent / "web"
STATIC: Final = {
    "app.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "jobs.js": "text/javascript; charset=utf-8",
    "job.js": "text/javascript; charset=utf-8",
    "submit.js": "text/javascript; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Files of the page; nothing else in the folder can be asked for."""
LOGINS_PER_MINUTE: Final = 20
_LOGIN_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
}
_MOST_FORM_BYTES: Final = 4096

router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request) -> Response:
    """The page, or the one to log in on."""
    if request.state.caller is None:
        return _login_page("")
    return Response((WEB / "index.html").read_bytes(), media_type="text/html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    """One file of the page."""
    kind = STATIC.get(name)
    if kind is None:
        raise JobNotFoundError("there is no such file")
    return Response((WEB / name).read_bytes(), media_type=kind)


@router.post("/session")
async def log_in(request: Request) -> Response:
    """Exchange a token for a cookie that scripts cannot read and other sites cannot use."""
    limit: RateLimit = request.app.state.logins
    limit.take(request.client.host if request.client else "")
    form = parse_qs((await request.body())[:_MOST_FORM_BYTES].decode("utf-8", "replace"))
    tokens: TokenStore = request.app.state.tokens
    session = await run_in_threadpool(tokens.log_in, form.get("token", [""])[0].strip())
    if session is None:
        return _login_page("This token is not valid.")
    answer = Response(status_code=303, headers={"location": "/"})
    answer.set_cookie(
        COOKIE,
        session.secret,
        max_age=int(SESSION_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.delete("/session", status_code=204)
def log_out(request: Request) -> Response:
    """End the session of a browser."""
    request.app.state.tokens.log_out(cookie_of(request.headers.get("cookie", "")))
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _login_page(problem: str) -> Response:
    text = (WEB / "login.html").read_text(encoding="utf-8").replace("<!--problem-->", problem)
    return Response(text, status_code=401, media_type="text/html", headers=_LOGIN_HEADERS)
