"""The service as seen from another shell: requests, errors as sentences, events as they come.

Uses the standard library alone. Does not cover what is printed (`mosaic.cli.jobs`).
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from mosaic.errors import MosaicError, ParameterError

TIMEOUT_S: Final = 30.0
MOST_RECONNECTS: Final = 30
_PAUSE_S: Final = 1.0


class ServiceError(MosaicError):
    """Raised when the service refuses a request or does not answer."""


class JobsClient:
    """Asks a job service.

    Parameters
    ----------
    server : str
        Its address, such as ``https://mosaic.example:8765``.
    token : str
        Who asks.

    Raises
    ------
    ParameterError
        When the address or the token cannot be meant.
    """

    def __init__(self, server: str, token: str) -> None:
        parts = urlsplit(server)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ParameterError(f"server {server!r} is not an address such as http://localhost:8765")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ParameterError(
                "no usable token is given: set MOSAIC_TOKEN (the operator makes one: mosaic token add)"
            )
        self._server = server.rstrip("/")
        self._parts = parts
        self._token = token

    def submit(
        self, body: Mapping[str, Any], *, key: str | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Put a job into the queue; with a key, sending it again is harmless."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._ask("POST", f"/jobs{'?dry_run=1' if dry_run else ''}", body, headers)

    def job(self, job: str) -> dict[str, Any]:
        """One job with its progress."""
        return self._ask("GET", f"/jobs/{job}")

    def jobs(self, **query: object) -> dict[str, Any]:
        """A page of jobs, newest first."""
        given = {name: value for name, value in query.items() if value not in (None, [], ())}
        return self._ask("GET", f"/jobs?{urlencode(given, doseq=True)}")

    def change(self, job: str, action: str) -> dict[str, Any]:
        """Cancel or retry a job."""
        return self._ask("POST", f"/jobs/{job}/{action}")

    def delete(self, job: str) -> None:
        """Forget a job that has ended; its products stay."""
        self._read("DELETE", f"/jobs/{job}")

    def log(self, job: str, tail: int) -> str:
        """End of the log of a job."""
        return self._read("GET", f"/jobs/{job}/log?tail={tail}").decode("utf-8", "replace")

    def follow(self, job: str) -> Iterator[dict[str, Any]]:
        """Events of a job from the first to the last, as they come; lost connections are made again.

        Raises
        ------
        ServiceError
            When the service refuses, or stays away.
        """
        last, failures = "0", 0
        while True:
            try:
                for identity, kind, data in self._stream(job, last):
                    last, failures = identity, 0
                    if kind == "over":
                        return
                    yield json.loads(data)
            except (OSError, http.client.HTTPException) as error:
                failures += 1
                if failures > MOST_RECONNECTS:
                    raise ServiceError(f"{self._server} does not answer: {error}; the job goes on") from error
            time.sleep(_PAUSE_S)

    def _stream(self, job: str, last: str) -> Iterator[tuple[str, str, str]]:
        connection = self._connect()
        try:
            headers = {**self._headers(), "Last-Event-ID": last, "Accept": "text/event-stream"}
            connection.request("GET", f"{self._parts.path.rstrip('/')}/jobs/{job}/events", headers=headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise _refusal(response.status, response.read())
            fields: dict[str, str] = {}
            while line := response.readline():
                text = line.decode("utf-8").rstrip("\r\n")
                if text and not text.startswith(":"):
                    name, _, value = text.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif not text and "data" in fields:
                    yield fields.get("id", last), fields.get("event", ""), fields["data"]
                    fields = {}
        finally:
            connection.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        answer = self._read(method, path, body, headers)
        try:
            document: dict[str, Any] = json.loads(answer)
        except ValueError as error:
            raise ServiceError(
                f"{self._server} answers something else than a job service; check the address"
            ) from error
        return document

    def _read(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        connection = self._connect()
        sent = {**self._headers(), **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body=data, headers=sent)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(
                f"no job service answers at {self._server}: {error}; is 'mosaic serve' running?"
            ) from error
        finally:
            connection.close()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise _refusal(response.status, answer)
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}


def _refusal(status: int, answer: bytes) -> MosaicError:
    """Error for an answer that is not the one wanted; what is wrong with the request is a bad parameter."""
    try:
        detail = str(json.loads(answer)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer[:200].decode("utf-8", "replace")
    if status == http.HTTPStatus.UNAUTHORIZED:
        return ServiceError(f"the token is not valid: {detail}; ask the operator for another")
    if status in {http.HTTPStatus.UNPROCESSABLE_ENTITY, http.HTTPStatus.BAD_REQUEST}:
        return ParameterError(detail)
    return ServiceError(detail)
