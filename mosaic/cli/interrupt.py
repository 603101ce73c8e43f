"""What Ctrl-C does to a run: stop it, or leave it to a process in the background; the second is final."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread, current_thread, main_thread
from types import FrameType

from mosaic.graph.cancel import CancelToken

LOG_NAME = "detached.log"


@contextmanager
def cancelling_on_interrupt(token: CancelToken) -> Iterator[None]:
    """Cancel a run on the first Ctrl-C or SIGTERM, and leave at once on the second."""
    if current_thread() is not main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if token.is_cancelled:
            signal.signal(number, signal.default_int_handler)
            raise KeyboardInterrupt
        # The handler may have interrupted a holder of the token's lock.
        Thread(target=token.cancel, name="cancel", daemon=True).start()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def continue_in_background(arguments: Sequence[str], log_folder: Path) -> int:
    """Start the same command as a process of its own, which outlives the terminal, and return its number.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of this command; what would discard or detach again is left out.
    log_folder : Path
        Where its output goes.
    """
    kept = [argument for argument in arguments if argument not in {"--restart", "--on-interrupt=detach"}]
    while "--on-interrupt" in kept:
        at = kept.index("--on-interrupt")
        del kept[at : at + 2]
    log_folder.mkdir(parents=True, exist_ok=True)
    with (log_folder / LOG_NAME).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 (our own command again)
            [sys.executable, "-m", "mosaic.cli", *kept],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return process.pid
