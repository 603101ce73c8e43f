"""`mosaic runastrodriz`: drizzle an association or an exposure as the archive's pipeline does."""

from __future__ import annotations

from typing import Annotated

import typer

from mosaic.cli.failure import one_line_errors


def runastrodriz_command(
    in_file: Annotated[str, typer.Argument(metavar="INPUT", help="Association, raw or calibrated exposure.")],
    new_path: Annotated[
        str | None, typer.Argument(metavar="[NEWPATH]", help="Folder to work in; results are moved back.")
    ] = None,
    force: Annotated[bool, typer.Option("-f", help="Drizzle even when DRIZCORR is not PERFORM.")] = False,
    in_memory: Annotated[bool, typer.Option("-i", help="Accepted: intermediates stay in memory.")] = False,
    basic: Annotated[bool, typer.Option("-b", help="Write no headerlets.")] = False,
    no_gaia: Annotated[bool, typer.Option("-g", help="Do not align to Gaia.")] = False,
    force_alignment: Annotated[bool, typer.Option("-a", help="Align whatever the guiding was.")] = False,
    manifest: Annotated[bool, typer.Option("-m", help="Write a list of the files made or changed.")] = False,
    cores: Annotated[int | None, typer.Option("-n", help="Processor cores; default: all.")] = None,
    catalog: Annotated[
        str | None, typer.Option("--catalog", help="Catalogue (RA, Dec in degrees) to align to.")
    ] = None,
    verify_guiding: Annotated[bool, typer.Option("-v", help="Check the guiding.")] = False,
    debug: Annotated[bool, typer.Option("-d", "--debug", help="Log more; show tracebacks.")] = False,
) -> None:
    """Drizzle the flt and flc files of an association or exposure with the pipeline's parameters.

    The exposures get the WCS of their reference files, are verified, and are aligned to --catalog if given.
    Products, headerlets and trailer (ROOT.tra) lie beside the input. Steps that need the network are not
    done; the trailer names them.

    Example: mosaic runastrodriz j8cw03010_asn.fits -m
    """
    with one_line_errors(debug=debug):
        from mosaic.compat.runastrodriz import process

        report = process(
            in_file,
            force=force,
            newpath=new_path,
            num_cores=cores,
            inmemory=in_memory,
            headerlets=not basic,
            align_to_gaia=not no_gaia,
            force_alignment=force_alignment,
            do_verify_guiding=verify_guiding,
            debug=debug,
            make_manifest=manifest,
            catalog=catalog,
        )
        for path in (*report.products, report.trailer, report.manifest):
            if path is not None:
                typer.echo(str(path))
