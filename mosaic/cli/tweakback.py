"""`mosaic tweakback`: a corrected drizzled WCS carried over to the exposures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mosaic.cli.failure import one_line_errors


def tweakback_command(
    product: Annotated[str, typer.Argument(help=r"Drizzled file; file\[sci,1] where it has several images.")],
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Exposures; by default those the product names (D001DATA, …).")
    ] = None,
    original: Annotated[
        str, typer.Option("--original", help="WCSNAME of the product before the correction.")
    ] = "",
    original_key: Annotated[str | None, typer.Option(help="Its letter, instead of the name.")] = None,
    tweaked: Annotated[
        str, typer.Option("--tweaked", help="WCSNAME of the corrected WCS; by default the primary one.")
    ] = "",
    tweaked_key: Annotated[str | None, typer.Option(help="Its letter, instead of the name.")] = None,
    name: Annotated[
        str, typer.Option("--name", help="WCSNAME of the new WCS; by default that of the corrected one.")
    ] = "",
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Folder for the copies (end it with a slash).")
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace the exposures themselves.")] = False,
    extname: Annotated[str, typer.Option(help="EXTNAME of the extensions to correct.")] = "SCI",
    reuse_name: Annotated[bool, typer.Option("--reuse-name", help="Allow a name that is taken.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Correct the WCS of exposures as that of the image drizzled from them was corrected.

    Example: mosaic tweakback m51_drc.fits --original IDC_0461802ej --in-place
    """
    with one_line_errors(debug=debug):
        from mosaic.exposure.inputs import expand_inputs
        from mosaic.solutions.editing import edit_targets
        from mosaic.solutions.tweakback import Choice, apply_correction, find_inputs, read_correction

        correction = read_correction(product, Choice(original, original_key), Choice(tweaked, tweaked_key))
        if inputs:
            expanded = expand_inputs(inputs)
            if expanded.rejected:
                raise expanded.rejected[0]
            sources = [Path(file.path) for file in expanded.files]
        else:
            sources = find_inputs(correction, product)
        targets = edit_targets(sources, output, in_place=in_place)
        pairs = list(zip(sources, targets, strict=True))
        for path in apply_correction(
            correction, product, pairs, wcsname=name, extname=extname, reuse_name=reuse_name
        ):
            typer.echo(str(path))
