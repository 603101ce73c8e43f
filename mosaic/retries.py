"""Which errors pass, and how long to wait before trying again.

Faults of networks and of object stores pass: dropped connections, time-outs, throttling, answers cut short.
What a program does wrong, and what a disk refuses, does not: it is never tried again.
"""

from __future__ import annotations

import errno
import random
import sys
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeVar

T = TypeVar("T")

MOST_TRIES: Final = 6
"""Tries before a fault is taken for permanent."""
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 20.0

_ERRNOS: Final = frozenset(
    {
        *(errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO),
        *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.EHOSTUNREACH),
        *(errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET),
    }
)
_FOREIGN: Final = MappingProxyType(
    {
        "aiohttp": ("ClientError",),
        "botocore.exceptions": ("BotoCoreError", "ClientError"),
        "http.client": ("HTTPException",),
    }
)
"""Errors of the clients of object stores that are no `OSError`, by module."""
_NAMES: Final = frozenset(
    {
        *("ClientConnectionError", "ClientPayloadError", "ConnectionClosedError", "EndpointConnectionError"),
        *("ConnectTimeoutError", "ReadTimeoutError", "HTTPClientError", "ResponseParserError"),
        *("IncompleteReadError", "IncompleteRead", "ClientResponseError", "ResponseStreamingError"),
        *("ContentLengthError", "CommClosedError"),
    }
)
"""Those among them and their kin that pass."""
_WORDS: Final = (
    *(
        "slowdown",
        "slow down",
        "reduce your request rate",
        "throttl",
        "service unavailable",
        "internal error",
    ),
    *(
        "internalerror",
        "serviceunavailable",
        "requesttimeout",
        "bad gateway",
        "incomplete body",
        "not enough data",
    ),
)


def io_errors() -> tuple[type[Exception], ...]:
    """Every class of error that input and output of this process can raise: of clients, those in use."""
    found: list[type[Exception]] = [OSError]
    for module, names in _FOREIGN.items():
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names]
    return tuple(found)


class TransientError(OSError):
    """Raised for an answer that is wrong in a way that a second try may mend."""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, ConnectionError | TimeoutError | TransientError):
        return True
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    if any(kind.__name__ in _NAMES for kind in type(error).__mro__):
        return True
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    text = str(error).lower()
    return isinstance(error, io_errors()) and any(word in text for word in _WORDS)


def backoff_seconds(n_tries: int) -> float:
    """Pause after a number of tries: doubled each time, and spread so that not all come back at once."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**n_tries)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)


def with_retries(call: Callable[[], T]) -> T:
    """Call until it succeeds, fails for good, or `MOST_TRIES` tries were made; then raise the last error."""
    for n_tries in range(1, MOST_TRIES):
        try:
            return call()
        except io_errors() as error:
            if not is_transient(error):
                raise
        time.sleep(backoff_seconds(n_tries))
    return call()
