"""`mosaic align`: exposures aligned to each other, to an image or to a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mosaic.cli.failure import EXIT_FAILED, one_line_errors


def align_command(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Files, globs, @lists, associations.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Parameter file: TOML or DrizzlePac .cfg.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter, repeated."),
    ] = None,
    imagefind: Annotated[
        Path | None, typer.Option(help="File of source-finding parameters of the inputs.")
    ] = None,
    refimagefind: Annotated[
        Path | None, typer.Option(help="File of source-finding parameters of the reference image.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for catalogues, plots, solution.")
    ] = Path(),
    update: Annotated[
        bool, typer.Option("--update", help="Write the new WCS into the inputs (updatehdr).")
    ] = False,
    cores: Annotated[int | None, typer.Option(min=1, help="Chips worked on at a time.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory for that, such as 2GiB.")] = None,
    on_error: Annotated[
        str | None,
        typer.Option(metavar="stop|skip", help="Stop at a file that cannot be read, or set it aside."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Find sources, match them and solve for shifts, rotations and scales.

    Inputs are only read unless --update is given. Exit code 1 when an image could not be aligned; it is
    left as it was.

    Example: mosaic align *_flc.fits -p threshold=20 -p searchrad=2 -o aligned
    """
    with one_line_errors(debug=debug):
        from mosaic.alignment import require_libraries

        require_libraries()
        from mosaic.alignment.result import describe_solution
        from mosaic.alignment.run import align
        from mosaic.alignment.settings import load_align_settings
        from mosaic.options import RunOptions

        parameters = load_align_settings(
            config,
            parameter or [],
            imagefindcfg=imagefind,
            refimagefindcfg=refimagefind,
            keywords={"updatehdr": True} if update else {},
        )
        options = RunOptions.resolve(cores=cores, memory=memory, on_error=on_error)
        result = align(inputs, output, options=options, settings=parameters)
        typer.echo(f"frame: {result.frame.scale_arcsec:.5g} arcsec per pixel")
        for image, solution in zip(result.images, result.solutions, strict=True):
            typer.echo(describe_solution(image, solution))
        for name, reason in result.set_aside:
            typer.echo(f"{name}  unusable: {reason}")
        typer.echo(f"{len(result.products)} files in {output.resolve()}")
        for path in result.updated:
            typer.echo(f"updated {path}")
        if not result.is_complete:
            n_failed = len(result.failed) + len(result.set_aside)
            typer.echo(f"mosaic: {result.message or f'{n_failed} images not aligned'}", err=True)
            raise typer.Exit(EXIT_FAILED)
