"""`mosaic blendheaders`: the headers of the inputs of a product, blended anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mosaic.cli.failure import one_line_errors
from mosaic.errors import ParameterError


def blendheaders_command(
    products: Annotated[list[str], typer.Argument(help="Drizzled products: files, globs, @lists.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar=r"FILE\[sci,1]",
            help="A chip or a file, repeated; by default what the DnnnDATA keywords name.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the products themselves.")] = False,
    rules_file: Annotated[
        str | None, typer.Option("--rules", help="Rules file; by default the rules of the instruments.")
    ] = None,
    sciext: Annotated[str, typer.Option(help="Input extension for SCI.")] = "SCI",
    errext: Annotated[str, typer.Option(help="Input extension for WHT; blank: that for SCI.")] = "ERR",
    dqext: Annotated[str, typer.Option(help="Input extension for CTX; blank: that for SCI.")] = "DQ",
    peer_compat: Annotated[
        bool,
        typer.Option("--peer-compat", help="HDRTAB typed as by DrizzlePac; *.rules files of this folder."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Blend the headers of the inputs of drizzled products into new headers and a new HDRTAB.

    Example: mosaic blendheaders m51_drc.fits -o m51_new_drc.fits --rules my.rules
    """
    with one_line_errors(debug=debug):
        if (output is None) is not in_place:
            raise ParameterError("give either --output FILE or --in-place")
        from mosaic.headers import blendheaders

        written = blendheaders(
            products,
            inputs,
            None if output is None else str(output),
            sciext=sciext,
            errext=errext,
            dqext=dqext,
            rules_file=rules_file,
            peer_compat=peer_compat,
        )
        for path in written:
            typer.echo(str(path))
