"""`mosaic report`: all checks of a finished run, as a page and as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from mosaic.cli.failure import one_line_errors


def report_command(
    root: Annotated[
        str, typer.Argument(metavar="ROOT", help="Root of the product names, the product, or ROOT.mosaic.")
    ],
    brief: Annotated[
        bool, typer.Option("--brief", help="Look at a sample of tiles and exposures, as every run does.")
    ] = False,
    zoom: Annotated[bool, typer.Option(help="Write the zoomable page as well.")] = True,
    rgb: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="GREEN BLUE", help="Two more runs in the same frame: a colour picture, ROOT being red."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a check is bad.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Check a finished run: alignment, cosmic rays, sky, weights, noise, stars, and what to change.

    Example: mosaic report m51
    """
    with one_line_errors(debug=debug):
        from mosaic.quality.report import report_folder

        report, page = report_folder(root, full=not brief, zoom=zoom, colours=rgb or ())
        for verdict in ("bad", "look"):
            for check in report.with_verdict(verdict):
                typer.echo(f"{verdict:4s}  {check.title}: {check.shown}")
                typer.echo(f"      {check.advice}")
        n_ok, n_none = len(report.with_verdict("ok")), len(report.with_verdict("none"))
        typer.echo(f"{n_ok} checks ok, {n_none} not measured; {report.seconds:.1f} s")
        typer.echo(str(page))
    if strict and report.verdict == "bad":
        raise typer.Exit(1)
