"""The `mosaic` program: its commands, its version, and the entry point."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from mosaic.cli import (
    align,
    blendheaders,
    drizzle,
    edits,
    headerlet,
    jobs,
    parameters,
    report,
    runastrodriz,
    serve,
    simulate,
    tools,
    tweakback,
    warmup,
    wcs,
)
from mosaic.cli.failure import install_excepthook

app = typer.Typer(
    name="mosaic",
    help="Drizzle Hubble exposures into science mosaics.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("drizzle")(drizzle.drizzle_command)
app.command("plan")(drizzle.plan_command)
app.command("parameters")(parameters.parameters_command)
app.command("report")(report.report_command)
app.command("runastrodriz")(runastrodriz.runastrodriz_command)
app.command("align")(align.align_command)
app.command("simulate")(simulate.simulate_command)
app.command("blendheaders")(blendheaders.blendheaders_command)
app.command("tweakback")(tweakback.tweakback_command)
app.command("pixtosky", context_settings=tools.PAIRS_CONTEXT)(tools.pixtosky_command)
app.command("skytopix", context_settings=tools.PAIRS_CONTEXT)(tools.skytopix_command)
app.command("pixtopix", context_settings=tools.PAIRS_CONTEXT)(tools.pixtopix_command)
app.command("mapreg")(edits.mapreg_command)
app.command("resetbits")(edits.resetbits_command)
app.command("pixreplace")(edits.pixreplace_command)
app.command("photeq")(edits.photeq_command)
app.command("updatenpol")(edits.updatenpol_command)
app.command("trails")(edits.trails_command)
app.command("warmup")(warmup.warmup_command)
app.command("serve")(serve.serve_command)
app.command("submit")(jobs.submit_command)
app.command("status")(jobs.status_command)
app.command("jobs")(jobs.jobs_command)
app.command("logs")(jobs.logs_command)
app.command("cancel")(jobs.cancel_command)
app.command("retry")(jobs.retry_command)
app.command("delete")(jobs.delete_command)
app.add_typer(serve.token_app)
app.add_typer(wcs.app)
app.add_typer(headerlet.app)


def installed_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("mosaic-hst")
    except PackageNotFoundError:
        return "not installed"


def _show_version(is_wanted: bool) -> None:
    """Print the version and leave."""
    if is_wanted:
        typer.echo(f"mosaic {installed_version()}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Drizzle Hubble exposures into science mosaics."""
    del show_version


def main() -> None:
    """Run the program and end the process: exit 0 when done, 1 when failed, 2 on bad usage."""
    # The threads of a linear algebra library that is given tiny matrices only wait, at full speed.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    install_excepthook()
    # Where one is named, the other commands need not be put together.
    if named := [command for command in app.registered_commands if [command.name] == sys.argv[1:2]]:
        app.registered_commands, app.registered_groups = named, []
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, int):
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """End the process as the interpreter does, but leave it to the system to give memory back.

    The interpreter would visit and free its objects one by one, a tenth of a second after a run. Nothing of
    what a process may owe to others is left out: threads are waited for, and what was to be done at exit is.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001 (as `multiprocessing` ends its processes)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # the interpreter knows what to say
    os._exit(code)
