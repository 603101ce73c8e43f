"""What every request has to pass first: who asks, how much is sent, from which page.

Covers authentication by token or cookie, protection of cookies against other sites, the size of bodies, and
the headers that keep browsers from doing what nobody asked for. Written for ASGI directly, so that no route
can be added that forgets it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from cluster.jobs.tokens import Caller, TokenStore

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE: Final = "mosaic_session"
CSRF_HEADER: Final = "x-csrf-token"
OPEN: Final = frozenset({("GET", "/health"), ("HEAD", "/health"), ("GET", "/"), ("POST", "/session")})
"""Requests that need nobody to be known: the health check, the page to log in on, and logging in."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_BODY_BYTES: Final = 8 << 20
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Browsers that are told to send no referrer at all send no origin with forms either.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class BodyTooLargeError(Exception):
    """Raised within a request whose body is too long; whatever is made of it, the guard answers."""


class Guard:
    """ASGI application around another one.

    Parameters
    ----------
    app : callable
        What is guarded.
    tokens : TokenStore
        Who is known.
    most_body_bytes : int
        Longest body.
    """

    def __init__(self, app: App, tokens: TokenStore, most_body_bytes: int = MOST_BODY_BYTES) -> None:
        self._app = app
        self._tokens = tokens
        self._most = most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        caller = self._identify(headers)
        scope.setdefault("state", {})["caller"] = caller
        guarded = _with_headers(send)
        if caller is None and (method, path) not in OPEN:
            await _answer(guarded, 401, "a valid token is needed: Authorization: Bearer TOKEN", b"Bearer")
            return
        if not _is_of_our_page(method, headers, caller):
            await _answer(guarded, 403, "the request does not come from the page of this service")
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most:
            await _answer(guarded, 413 if length.isdigit() else 400, f"a body has at most {self._most} bytes")
            return
        await self._pass_on(scope, receive, guarded)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, counting the bytes of its body, whose length may not have been told."""
        n_bytes = 0
        is_answered = False

        async def counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._most:
                raise BodyTooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal is_answered
            if n_bytes <= self._most or is_answered:
                is_answered = True
                await send(message)

        with suppress(BodyTooLargeError):
            await self._app(scope, counted, watched)
        if n_bytes > self._most and not is_answered:
            await _answer(send, 413, f"a body has at most {self._most} bytes")

    def _identify(self, headers: dict[str, str]) -> Caller | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind:
            return self._tokens.find(token.strip()) if kind.lower() == "bearer" else None
        secret = cookie_of(headers.get("cookie", ""))
        return self._tokens.find_session(secret) if secret else None


def cookie_of(header: str) -> str:
    """Value of the session's cookie; empty when there is none."""
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _is_of_our_page(method: str, headers: dict[str, str], caller: Caller | None) -> bool:
    """Whether a request that changes something was not made by the page of somebody else."""
    if method in SAFE:
        return True
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return False
    if caller is not None and caller.csrf:
        return hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), caller.csrf.encode())
    return True


def _with_headers(send: Send) -> Send:
    """Add the headers that every answer has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in SECURITY_HEADERS if pair[0] not in present]
            if b"content-security-policy" not in present:
                headers.append((b"content-security-policy", POLICY))
            if b"cache-control" not in present:
                headers.append((b"cache-control", b"no-store"))
            message["headers"] = headers
        await send(message)

    return sending


async def _answer(send: Send, status: int, detail: str, challenge: bytes = b"") -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if challenge:
        headers.append((b"www-authenticate", challenge))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
