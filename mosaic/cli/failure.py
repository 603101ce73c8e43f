"""How a command fails: one readable line on stderr and the right exit code.

Exit codes: 0 done, 1 failed, 2 bad usage or parameters. With ``--debug`` errors keep their traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import typer

from mosaic.errors import MosaicError, ParameterError

EXIT_FAILED = 1
EXIT_USAGE = 2


def report_failure(text: str) -> None:
    """Print one line on stderr, whatever line breaks the text has."""
    typer.echo("mosaic: " + " ".join(text.split()), err=True)


@contextmanager
def one_line_errors(*, debug: bool = False) -> Iterator[None]:
    """Turn expected errors into one line and an exit code; with `debug` let them through.

    Errors nobody expected pass through to the hook of `install_excepthook`.
    """
    try:
        yield
    except ParameterError as error:
        if debug:
            raise
        report_failure(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    except MemoryError as error:
        if debug:
            raise
        report_failure("out of memory; give --memory less than the machine has free")
        raise typer.Exit(EXIT_FAILED) from error
    except BrokenPipeError as error:
        # The reader of our output has left; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_FAILED) from error
    except (MosaicError, OSError) as error:
        if debug:
            raise
        report_failure(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    except KeyboardInterrupt as error:
        report_failure("interrupted; the same command continues where it stopped")
        raise typer.Exit(EXIT_FAILED) from error


def _one_line_hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an unexpected error as one line, or in full with ``--debug``."""
    if "--debug" in sys.argv:
        sys.__excepthook__(kind, error, trace)
        return
    report_failure(f"unexpected {kind.__name__}: {error} (add --debug for the traceback)")


def install_excepthook() -> None:
    """Make the interpreter print unexpected errors in one line; the exit code stays 1."""
    sys.excepthook = _one_line_hook
