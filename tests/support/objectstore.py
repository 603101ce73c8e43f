"""A real S3 server (moto) behind a proxy that counts what passes and loses some of it on purpose.

A write is dropped (answered as if it had been kept) or cut short (the server keeps the first part); an answer
is cut short, or replaced by a request to slow down. Every fault is written down, so that a test can say how
many there were.
"""

from __future__ import annotations

import http.client
import logging
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>'
BUCKET = "archive"
_GOLDEN = (5.0**0.5 - 1.0) / 2.0
"""Steps of this length along a circle are spread over it more evenly than of any other."""


@dataclass
class Faults:
    """How often each fault happens, as a probability for each request it can happen to."""

    drop: float = 0.0
    """Writes that are answered and not kept."""
    truncate: float = 0.0
    """Writes of which a part is kept."""
    throttle: float = 0.0
    """Requests of any kind that are asked to come back later."""
    cut: float = 0.0
    """Answers to reads that end early."""
    script: list[str] = field(default_factory=list)
    """Faults of the first writes, one by one, before chance has its turn."""


@dataclass
class Traffic:
    """What has passed."""

    fetched: dict[str, int] = field(default_factory=dict)
    """Bytes of answers to GET, by key."""
    n_writes: int = 0
    """PUT, POST and DELETE requests."""
    n_reads: int = 0
    """GET and HEAD requests."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """Kind and key of every fault."""

    def count(self, kind: str) -> int:
        """Faults of one kind."""
        return sum(found == kind for found, _key in self.faults)


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ObjectStore:
    """The server, the proxy in front of it, and what the proxy has seen."""

    def __init__(self, server_port: int, seed: int = 1) -> None:
        self._server_port = server_port
        self._chance = {is_write: random.Random(seed).random() for is_write in (False, True)}
        self._lock = threading.Lock()
        self.faults = Faults()
        self.traffic = Traffic()
        self._proxy = _Proxy(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._proxy.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Address of the proxy."""
        return f"http://127.0.0.1:{self._proxy.server_port}"

    def environment(self) -> dict[str, str]:
        """What a client needs to know."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket, unless there is one."""
        self.forward("PUT", f"/{name}", {"Host": f"127.0.0.1:{self._server_port}"}, b"")

    def reset(self, faults: Faults | None = None) -> Traffic:
        """Count from zero, with other faults from now on."""
        with self._lock:
            self.faults, self.traffic = faults or Faults(), Traffic()
            return self.traffic

    def close(self) -> None:
        """Stop the proxy."""
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join()

    def choose_fault(self, method: str, key: str, query: str) -> str:
        """Fault of a request, by chance; mostly none."""
        with self._lock:
            is_write = method in {"PUT", "POST", "DELETE"}
            chances = {"throttle": self.faults.throttle}
            if is_write and query == "uploads":
                self.traffic.n_writes += 1  # only announces what is to be written
            elif is_write:
                chances |= {"drop": self.faults.drop, "truncate": self.faults.truncate}
                self.traffic.n_writes += 1
            else:
                self.traffic.n_reads += 1
                if method == "GET":
                    chances["cut"] = self.faults.cut
            if is_write and query != "uploads" and self.faults.script:
                kind = self.faults.script.pop(0)
                if kind:
                    self.traffic.faults.append((kind, key))
                return kind
            number = self._next_chance(is_write=is_write)
            for kind, chance in chances.items():
                number -= chance
                if number < 0:
                    self.traffic.faults.append((kind, key))
                    return kind
            return ""

    def _next_chance(self, *, is_write: bool) -> float:
        """Number from 0 to 1: of so many in a row as many fall in any part of that as its length says.

        So a fault happens as often as it should in every run, in whichever order threads come.
        """
        self._chance[is_write] = (self._chance[is_write] + _GOLDEN) % 1.0
        return self._chance[is_write]

    def note(self, key: str, n_bytes: int) -> None:
        """Count an answer to a GET."""
        with self._lock:
            self.traffic.fetched[key] = self.traffic.fetched.get(key, 0) + n_bytes

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        """Ask the server."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server_port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Stay silent."""

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    parts = []
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    while self.rfile.readline().strip():
                        pass
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                        self.send_header(name, value)
                length = {n.lower(): v for n, v in headers}.get("content-length", str(len(body)))
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[:sent])
                if sent < len(body):
                    self.close_connection = True

            def _serve(self) -> None:
                body = self._body()
                key = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")
                fault = store.choose_fault(self.command, key, urlsplit(self.path).query)
                if fault == "throttle":
                    self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN, len(SLOW_DOWN))
                    return
                if fault == "drop":
                    # As after a write that was kept, to whoever does not look.
                    status = 204 if self.command == "DELETE" else 200
                    self._answer(status, [("ETag", '"d41d8cd98f00b204e9800998ecf8427e"')], b"", 0)
                    return
                headers = {n: v for n, v in self.headers.items() if n.lower() != "transfer-encoding"}
                if fault == "truncate" and self.command == "PUT" and body:
                    body = _cut_upload(body, headers)
                if body or "Content-Length" in headers:
                    headers["Content-Length"] = str(len(body))
                status, answered, content = store.forward(self.command, self.path, headers, body)
                sent = len(content) // 2 if fault == "cut" else len(content)
                if self.command == "GET" and status in {200, 206}:
                    store.note(key, sent)
                self._answer(status, answered, content, sent)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 (names of the base)

        return Handler


def _cut_upload(body: bytes, headers: dict[str, str]) -> bytes:
    """First half of an upload; the marks of a chunked upload and its checksums go."""
    if "aws-chunked" in headers.get("Content-Encoding", ""):
        plain, rest = b"", body
        while rest:
            head, _, rest = rest.partition(b"\r\n")
            size = int(head.split(b";")[0], 16)
            if size == 0:
                break
            plain, rest = plain + rest[:size], rest[size + 2 :]
        body = plain
        for name in ("Content-Encoding", "x-amz-trailer", "X-Amz-Trailer", "X-Amz-Decoded-Content-Length"):
            headers.pop(name, None)
    for name in [name for name in headers if name.lower().startswith(("x-amz-checksum", "content-md5"))]:
        del headers[name]
    headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    return body[: len(body) // 2]


@contextmanager
def running_store(seed: int = 1) -> Iterator[ObjectStore]:
    """Start the server and the proxy, with one empty bucket."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (takes a second)

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    store = ObjectStore(server.get_host_and_port()[1], seed)
    try:
        store.make_bucket(BUCKET)
        yield store
    finally:
        store.close()
        server.stop()
