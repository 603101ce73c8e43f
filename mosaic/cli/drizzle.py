"""`mosaic drizzle` and `mosaic plan`: the same arguments, one runs and one only tells."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from mosaic.cli.failure import one_line_errors
from mosaic.cli.lean import lean_imports
from mosaic.errors import MosaicError, ParameterError

if TYPE_CHECKING:
    from mosaic.alignment.settings import AlignParameters
    from mosaic.options import RunOptions
    from mosaic.settings import Settings

Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Exposures: files, globs, @lists, directories, comma lists, _asn tables, URLs.",
    ),
]
Output: TypeAlias = Annotated[
    str, typer.Option("-o", "--output", metavar="ROOT", help="Root of the product names.")
]
Config: TypeAlias = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Parameter file: TOML or DrizzlePac .cfg."),
]
Assignments: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Set a parameter; see 'mosaic parameters'."),
]
Cores: TypeAlias = Annotated[int | None, typer.Option(help="Processor cores; default: all available.")]
Memory: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory of all workers, as 2GiB; default: 75 % of the free."),
]
Tile: TypeAlias = Annotated[
    int | None, typer.Option(metavar="PX", help="Side of an output tile; default: 1024.")
]
Scheduler: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="threads, processes, serial, slurm, pbs, sge, lsf, kubernetes, module:factory, or the address "
        "of a Dask scheduler, tls://host:8786; default: threads.",
    ),
]
ClusterEntries: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster", metavar="FILE|NAME=VALUE", help="Describe the cluster: TOML files and single values."
    ),
]
OnInterrupt: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="cancel|detach",
        help="On Ctrl-C: stop the work, or leave it to a process in the background, which ends it.",
    ),
]
Restart: TypeAlias = Annotated[
    bool, typer.Option("--restart", help="Discard what an interrupted run left; default: continue it.")
]
OnError: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="stop|skip", help="Stop at a bad exposure, or set it aside; default: stop."),
]
Align: TypeAlias = Annotated[
    bool, typer.Option("--align", help="Align the exposures first; the inputs stay as they are.")
]
AlignAssignments: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "-a", "--align-parameter", metavar="NAME=VALUE", help="Set a parameter of the alignment (TweakReg's)."
    ),
]
AlignConfig: TypeAlias = Annotated[
    Path | None,
    typer.Option("--align-config", metavar="FILE", help="Its parameter file: TOML or TweakReg .cfg."),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors and product names only.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, checked."""

    inputs: tuple[str, ...]
    """Inputs as given."""
    output: str
    """Root of the product names."""
    settings: Settings
    """Parameters."""
    options: RunOptions
    """Resources and manners."""
    align: AlignParameters | None = None
    """Alignment before drizzling."""


def parse_request(
    inputs: Sequence[str], output: str, config: Path | None, assignments: Sequence[str], **options: object
) -> Request:
    """Check everything that was given on the command line, and report all of it at once.

    Inputs and output that are absent are taken from the parameter file, if it names them.

    Raises
    ------
    ParameterError
        When something is missing, unknown or impossible.
    """
    from mosaic.configfile import read_config
    from mosaic.options import RunOptions
    from mosaic.parameters import load_settings

    problems: list[str] = []
    settings: Settings | None = None
    try:
        settings = load_settings(config, assignments)
    except ParameterError as error:
        problems.append(str(error))
    if config is not None and not problems:
        file = read_config(config)
        inputs = inputs or file.inputs
        output = output or file.output
    if options["cores"] is None and settings is not None:
        options["cores"] = settings.num_cores
    try:
        resolved = RunOptions.resolve(**options)
    except ParameterError as error:
        problems.append(str(error))
    if not inputs:
        problems.append("no INPUT is given")
    # A DrizzlePac file may leave the output blank: the inputs name the product then, as there.
    is_named = config is not None and config.suffix.lower() == ".cfg"
    is_named |= any("_asn" in name.lower() or "_asc" in name.lower() for name in inputs)
    if not output and not is_named:
        problems.append("no output is given: add -o ROOT (an association table names its product)")
    if problems or settings is None:
        raise ParameterError("; ".join(problems))
    return Request(tuple(inputs), output, settings, resolved)


def parse_alignment(
    config: Path | None, assignments: Sequence[str], *, is_wanted: bool
) -> AlignParameters | None:
    """Parameters of the alignment; None when none is wanted.

    Raises
    ------
    ParameterError
        When something is unknown or impossible.
    """
    if not (is_wanted or config or assignments):
        return None
    from mosaic.alignment.settings import load_align_settings, resolve_align

    return resolve_align(load_align_settings(config, assignments))


def drizzle_command(
    inputs: Inputs = None,
    output: Output = "",
    config: Config = None,
    assignments: Assignments = None,
    cores: Cores = None,
    memory: Memory = None,
    tile: Tile = None,
    scheduler: Scheduler = None,
    cluster: ClusterEntries = None,
    restart: Restart = False,
    on_error: OnError = None,
    align: Align = False,
    align_parameter: AlignAssignments = None,
    align_config: AlignConfig = None,
    on_interrupt: OnInterrupt = "cancel",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Combine exposures into a mosaic; an interrupted run is continued.

    With --align (or -a) exposures are aligned first, as 'mosaic align' does it but without a change to the
    inputs; the solution is in align in the job folder.

    Example: mosaic drizzle 'data/*_flc.fits' -o m51 -p final_scale=0.04 -p build=true --memory 4GiB
    Example: mosaic drizzle 'data/*_flc.fits' -o m51 --align -a threshold=20 -a refcat=gaia.ecsv
    """
    with one_line_errors(debug=debug):
        request = parse_request(
            inputs or [],
            output,
            config,
            assignments or [],
            cores=cores,
            memory=memory,
            tile=tile,
            scheduler=scheduler,
            cluster=tuple(cluster) if cluster else None,
            restart=restart,
            on_error=on_error,
        )
        if on_interrupt not in {"cancel", "detach"}:
            raise ParameterError(f"--on-interrupt {on_interrupt}: it must be cancel or detach")
        aligning = parse_alignment(align_config, align_parameter or [], is_wanted=align)
        _run(replace(request, align=aligning), quiet=quiet, detaches=on_interrupt == "detach")


def plan_command(
    inputs: Inputs = None,
    output: Output = "",
    config: Config = None,
    assignments: Assignments = None,
    cores: Cores = None,
    memory: Memory = None,
    tile: Tile = None,
    scheduler: Scheduler = None,
    cluster: ClusterEntries = None,
    on_error: OnError = None,
    align: Align = False,
    align_parameter: AlignAssignments = None,
    align_config: AlignConfig = None,
    debug: Debug = False,
) -> None:
    """Say what `mosaic drizzle` would do with the same arguments: frame, tiles, memory, disk. Runs nothing.

    Example: mosaic plan 'data/*_flc.fits' -o m51 --memory 2GiB
    """
    with one_line_errors(debug=debug):
        request = parse_request(
            inputs or [],
            output,
            config,
            assignments or [],
            cores=cores,
            memory=memory,
            tile=tile,
            scheduler=scheduler,
            cluster=tuple(cluster) if cluster else None,
            on_error=on_error,
        )
        aligning = parse_alignment(align_config, align_parameter or [], is_wanted=align)
        from mosaic import pipeline
        from mosaic.summary import format_rows

        report = pipeline.plan(
            request.inputs,
            request.output,
            options=request.options,
            settings=request.settings,
            align=aligning,
        )
        typer.echo(format_rows(report.as_rows()))


def _run(request: Request, *, quiet: bool, detaches: bool) -> None:
    """Carry out a request with progress on stderr, products on stdout and a log file."""
    from mosaic.cli.logfile import SHOWN, logging_to
    from mosaic.cli.progress import LiveProgress, choose_display
    from mosaic.summary import format_summary

    # Lost connections are told in our own words; tracebacks of the network are not for users.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    progress = LiveProgress(choose_display(quiet=quiet))
    with logging_to(request.settings.runfile, lambda: progress.console, quiet=quiet) as log, progress:
        log.info("mosaic drizzle: %s -> %s", " ".join(request.inputs), request.output)
        # The import takes seconds: the log is there before it.
        with lean_imports():
            from mosaic import pipeline
            from mosaic.cli.interrupt import LOG_NAME, cancelling_on_interrupt, continue_in_background
            from mosaic.errors import RunCancelledError
            from mosaic.graph.cancel import CancelToken
            from mosaic.places import is_remote

        token = CancelToken()
        try:
            with cancelling_on_interrupt(token):
                result = pipeline.drizzle(
                    request.inputs,
                    request.output,
                    options=request.options,
                    observer=progress,
                    settings=request.settings,
                    align=request.align,
                    cancel=token,
                )
        except RunCancelledError as error:
            if not detaches:
                log.warning("%s", error, extra={SHOWN: True})
                raise
            folder = Path.cwd() if is_remote(request.output) else Path(f"{request.output}.mosaic")
            number = continue_in_background(sys.argv[1:], folder)
            text = f"process {number} goes on in the background; its output is in {folder / LOG_NAME}"
            log.info(text)
            typer.echo(text, err=True)
            return
        except (MosaicError, OSError) as error:
            log.error("%s", error, extra={SHOWN: True})  # noqa: TRY400 (the traceback belongs to --debug)
            raise
        for line in format_summary(result):
            log.info(line)
            if not quiet:
                typer.echo(line, err=True)
    for product in result.products:
        typer.echo(str(product))
