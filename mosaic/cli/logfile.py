"""The log of a run: a file that is appended to, and warnings on the screen."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mosaic.runlog import LOGGER_NAME, log_path, open_log

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = "is_shown"
"""Name of the extra that keeps a record from the screen."""


class ConsoleHandler(logging.Handler):
    """Prints records above the live display.

    Parameters
    ----------
    console : callable
        Gives the console to print on, which is not made before something is printed.
    level : int
        Lowest level shown.
    """

    def __init__(self, console: Callable[[], Console], level: int) -> None:
        super().__init__(level)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record as plain text, unless it says that it is shown already."""
        if getattr(record, SHOWN, False):
            return
        style = "bold red" if record.levelno >= logging.ERROR else "yellow"
        text = self.format(record)
        self._console().print(
            text, style=style if record.levelno >= logging.WARNING else None, markup=False, highlight=False
        )


@contextmanager
def logging_to(runfile: str, console: Callable[[], Console], *, quiet: bool) -> Iterator[logging.Logger]:
    """Send INFO and above to the log file, and WARNING and above to the screen, while the context lasts.

    Parameters
    ----------
    runfile : str
        Log file, as the parameter of that name.
    console : callable
        Gives the screen, as for `ConsoleHandler`.
    quiet : bool
        Show errors only on the screen; the file is complete.
    """
    screen = ConsoleHandler(console, logging.ERROR if quiet else logging.WARNING)
    file_handlers = open_log(log_path(runfile))
    handlers = [screen, *file_handlers]
    logger = logging.getLogger(LOGGER_NAME)
    warning_logger = logging.getLogger("py.warnings")
    level = logger.level
    logger.setLevel(logging.INFO)
    # Warnings of libraries belong into the file: on the screen they would tear the display.
    warning_handlers = file_handlers or [logging.NullHandler()]
    is_capturing = not sys.warnoptions
    if is_capturing:
        logging.captureWarnings(capture=True)
    _add(logger, handlers)
    _add(warning_logger, warning_handlers)
    try:
        yield logger
    finally:
        _remove(logger, handlers)
        _remove(warning_logger, warning_handlers)
        logger.setLevel(level)
        if is_capturing:
            logging.captureWarnings(capture=False)


def _add(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    """Attach handlers; records go no further."""
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)


def _remove(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    """Detach and close handlers."""
    logger.propagate = True
    for handler in handlers:
        logger.removeHandler(handler)
        handler.close()
