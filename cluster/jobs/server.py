"""The service as one process: its parts put together, one to a state folder, served by uvicorn."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvicorn

from cluster.jobs.api import create_app
from cluster.jobs.guard import Guard
from cluster.jobs.runner import Runner
from cluster.jobs.service import JobService, ServiceConfig
from cluster.jobs.store import JobStore
from cluster.jobs.tokens import TokenStore
from mosaic.errors import MosaicError
from mosaic.runlog import log_to_stderr

GRACE_S: Final = 3
"""How long open connections, such as those that watch a job, may take to end."""
MOST_HEADER_BYTES: Final = 64 << 10
LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class ServiceBusyError(MosaicError):
    """Raised when another service has the state folder: stop it, or choose another folder."""


def tokens_of(state: Path) -> TokenStore:
    """Tokens of the service of a state folder."""
    return TokenStore(state / "tokens.sqlite")


@contextmanager
def hold_state(state: Path) -> Iterator[None]:
    """Be the only service of a state folder while the block lasts.

    Raises
    ------
    ServiceBusyError
        When another one is.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "service.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ServiceBusyError(
                f"another service runs on {state}; stop it or give another --state"
            ) from error
        yield


def front_config(app: Guard, **settings: Any) -> uvicorn.Config:  # noqa: ANN401  (passed on)
    """How the application is served: plain HTTP/1.1 of limited headers, and nothing told of the server."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        **settings,
    )


def serve(
    config: ServiceConfig, host: str, port: int, certificate: Path | None = None, key: Path | None = None
) -> None:
    """Serve until interrupted; jobs that run go on and are adopted by the next service.

    Parameters
    ----------
    config : ServiceConfig
        How the service is set up.
    host, port
        Where to listen.
    certificate, key : Path, optional
        Files for TLS.

    Raises
    ------
    ServiceBusyError
        When another service has the state folder.
    """
    log_to_stderr()
    with hold_state(config.state):
        store = JobStore(config.state)
        service = JobService(config, store, Runner(store, config.capacity, keep_s=config.keep_s))
        app = create_app(service, tokens_of(config.state))
        try:
            uvicorn.Server(
                front_config(app, host=host, port=port, ssl_certfile=certificate, ssl_keyfile=key)
            ).run()
        finally:
            store.close()
