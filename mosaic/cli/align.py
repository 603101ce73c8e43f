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
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Find sources, match them and solve for shifts, rotations and scales.

    Inputs are only read unless --update is given. Exit code 1 when an image could not be aligned; it is
    left as it was.

    Example: mosaic align *_flc.fits -p threshold=20 -p searchrad=2 -o aligned
    """
    with one_line_errors(debug=debug):
        from mosaic.align.run import align
        from mosaic.align.settings import load_align_settings
        from mosaic.options import RunOptions

        parameters = load_align_settings(
            config,
            parameter or [],
            imagefindcfg=imagefind,
            refimagefindcfg=refimagefind,
            keywords={"updatehdr": True} if update else {},
        )
        result = align(
            inputs, parameters, options=RunOptions.resolve(cores=cores, memory=memory), folder=output
        )
        scale = result.frame.scale_arcsec
        typer.echo(f"frame: {scale:.5g} arcsec per pixel")
        for image, solution in zip(result.images, result.solutions, strict=True):
            fit = solution.fit
            line = f"{image.name}  {len(image)} sources  {solution.status}"
            if solution.status == "aligned":
                shift, rms = fit.offset_xy, fit.rms_xy
                line += f"  shift {shift[0]:.3f} {shift[1]:.3f} px  rotation {fit.rotation_deg:.5f} deg"
                line += f"  scale {fit.scale:.6f}  rms {rms[0]:.3f} {rms[1]:.3f} px"
                line += f"  {solution.n_used} of {solution.n_matches} matches"
            typer.echo(line + (f": {solution.reason}" if solution.reason else ""))
        typer.echo(f"{len(result.products)} files in {output.resolve()}")
        for path in result.updated:
            typer.echo(f"updated {path}")
        if not result.is_complete:
            typer.echo(f"mosaic: {result.message or f'{len(result.failed)} images not aligned'}", err=True)
            raise typer.Exit(EXIT_FAILED)
