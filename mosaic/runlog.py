"""The log file of a run, under the name that `runfile` gives, appended to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGGER_NAME = "mosaic"
"""Logger that all messages of a run go to."""
FOREIGN_LOGGERS = ("aiobotocore", "botocore")
"""Loggers of clients of object stores, which tell at every start where their credentials are from."""
_FORMAT = "[%(levelname)-8s] %(message)s"


def log_path(runfile: str) -> Path | None:
    """Path of the log file; ``.log`` is added when absent (``.tra`` is kept), blank means none."""
    if not runfile:
        return None
    return Path(runfile if runfile.endswith((".log", ".tra")) else f"{runfile}.log")


def open_log(path: Path | None) -> list[logging.Handler]:
    """Open the log file for appending; no path, no handler."""
    if path is None:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    return [handler]


def log_to_stderr() -> None:
    """Log INFO and above to the standard error, with the time; of clients of object stores only warnings."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )
    for name in FOREIGN_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def logging_to_file(runfile: str) -> Iterator[logging.Logger]:
    """Send INFO and above to the log file too, while the context lasts; other handlers stay as they are.

    Parameters
    ----------
    runfile : str
        Log file, as the parameter of that name.
    """
    logger = logging.getLogger(LOGGER_NAME)
    handlers = open_log(log_path(runfile))
    level = logger.level
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield logger
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
