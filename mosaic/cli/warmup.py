"""`mosaic warmup`: compile every kernel once, so that the first run does not wait for it."""

from __future__ import annotations

import typer

from mosaic.cli.failure import one_line_errors


def warmup_command() -> None:
    """Compile every kernel into the cache on disk (about a minute the first time)."""
    with one_line_errors():
        from workers.warmup import warm_up

        report = warm_up()
        typer.echo(f"{report.n_parts} groups of kernels ready in {report.seconds:.1f} s")
