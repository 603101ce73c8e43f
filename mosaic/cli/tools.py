"""`mosaic pixtosky`, `skytopix` and `pixtopix`: coordinates of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mosaic.cli.failure import one_line_errors
from mosaic.errors import ParameterError

IMAGE_HELP = r"FILE\[sci,1], FILE\[1] or FILE."
"""Brackets mean markup in a help text unless they are escaped."""
PAIRS_CONTEXT = {"ignore_unknown_options": True}
"""Lets negative numbers through, which look like options."""

Positions = Annotated[
    list[str] | None, typer.Argument(help="Pairs of coordinates, pixels counted from 1.", show_default=False)
]
CoordFile = Annotated[
    Path | None, typer.Option("--coordfile", help="File with positions: text, FITS table or ECSV.")
]
Columns = Annotated[
    str, typer.Option("--columns", help="Two columns of that file, by number from 1 or by name.")
]
Separator = Annotated[str | None, typer.Option("--separator", help="Field separator of a text file.")]
Precision = Annotated[int, typer.Option("--precision", min=0, max=12, help="Decimals.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Text file to write.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def pixtosky_command(
    image: Annotated[str, typer.Argument(help=IMAGE_HELP)],
    positions: Positions = None,
    coordfile: CoordFile = None,
    columns: Columns = "1,2",
    separator: Separator = None,
    degrees: Annotated[
        bool, typer.Option("--degrees", help="Degrees instead of hh:mm:ss and dd:mm:ss.")
    ] = False,
    precision: Precision = 6,
    output: Output = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    r"""Convert pixels to RA and Dec with the full distortion of the image.

    Example: mosaic pixtosky 'j8bt06nyq_flc.fits\[sci,1]' 512 1024 --degrees
    """
    with one_line_errors(debug=debug):
        import numpy as np

        from mosaic.tools.coordinates import to_numbers
        from mosaic.tools.extensions import read_wcs
        from mosaic.tools.positions import pixel_to_sky
        from mosaic.tools.sexagesimal import format_dec, format_ra

        x, y = (to_numbers(c, "position") for c in _pairs(positions, coordfile, columns, separator))
        ra, dec = pixel_to_sky(read_wcs(image), np.array(x), np.array(y))
        if degrees:
            texts = _decimals(ra, dec, precision)
        else:
            texts = [
                (format_ra(a, precision), format_dec(d, precision))
                for a, d in zip(ra.tolist(), dec.tolist(), strict=True)
            ]
        _show(
            image,
            "X      Y         RA             Dec",
            _decimals(x, y, 4),
            texts,
            texts,
            output,
            quiet=quiet,
        )


def skytopix_command(
    image: Annotated[str, typer.Argument(help=IMAGE_HELP)],
    positions: Annotated[
        list[str] | None,
        typer.Argument(help="Pairs RA Dec: degrees, or hh:mm:ss and dd:mm:ss.", show_default=False),
    ] = None,
    coordfile: CoordFile = None,
    columns: Columns = "1,2",
    separator: Separator = None,
    fallback: Annotated[
        str, typer.Option("--fallback", help="'nan' or 'linear', where the distortion has no inverse.")
    ] = "nan",
    precision: Precision = 6,
    output: Output = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    r"""Convert RA and Dec to pixels, inverting the full distortion of the image.

    Example: mosaic skytopix 'j8bt06nyq_flc.fits\[sci,1]' 00:24:05.2 -72:04:51
    """
    with one_line_errors(debug=debug):
        import numpy as np

        from mosaic.tools.extensions import read_wcs
        from mosaic.tools.positions import sky_to_pixel
        from mosaic.tools.sexagesimal import parse_dec, parse_ra

        ras, decs = _pairs(positions, coordfile, columns, separator)
        ra, dec = [parse_ra(a) for a in ras], [parse_dec(d) for d in decs]
        x, y = sky_to_pixel(read_wcs(image), np.array(ra), np.array(dec), fallback)  # type: ignore[arg-type]
        texts = _decimals(x, y, precision)
        angles = [(str(a), str(d)) for a, d in zip(ra, dec, strict=True)]
        _show(image, "X      Y         RA             Dec", texts, angles, texts, output, quiet=quiet)


def pixtopix_command(
    inimage: Annotated[str, typer.Argument(help=IMAGE_HELP)],
    outimage: Annotated[
        str, typer.Argument(help="The other image; '' for the undistorted frame of all SCI of the first.")
    ],
    positions: Positions = None,
    coordfile: CoordFile = None,
    columns: Columns = "1,2",
    separator: Separator = None,
    direction: Annotated[
        str, typer.Option("--direction", help="'forward': first to second image; 'backward'.")
    ] = "forward",
    precision: Precision = 6,
    output: Output = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    r"""Convert pixels of one image to pixels of another with the distortion of both.

    Example: mosaic pixtopix 'j8bt06nyq_flc.fits\[sci,1]' 'm51_drc.fits\[sci,1]' 512 1024
    """
    with one_line_errors(debug=debug):
        import numpy as np

        from mosaic.tools.coordinates import to_numbers
        from mosaic.tools.positions import pixel_to_pixel

        x, y = (to_numbers(c, "position") for c in _pairs(positions, coordfile, columns, separator))
        found = pixel_to_pixel(inimage, outimage, np.array(x), np.array(y), direction)  # type: ignore[arg-type]
        texts = _decimals(*found, precision)
        heading = "X(in)      Y(in)             X(out)         Y(out)"
        _show(inimage, heading, _decimals(x, y, 4), texts, texts, output, quiet=quiet)


def _pairs(
    positions: Sequence[str] | None, coordfile: Path | None, columns: str, separator: str | None
) -> tuple[list[str], list[str]]:
    """Two columns of text, from the command line or a file."""
    if bool(positions) is (coordfile is not None):
        raise ParameterError("give either pairs of coordinates or --coordfile FILE")
    if coordfile is not None:
        from mosaic.tools.coordinates import read_columns

        return read_columns(coordfile, columns, separator)
    given = list(positions or ())
    option = next((text for text in given if text.startswith("--")), None)
    if option is not None:
        raise ParameterError(f"there is no option {option}; see --help")
    if len(given) % 2:
        raise ParameterError(f"{len(given)} coordinates are not pairs")
    return given[0::2], given[1::2]


def _decimals(first: Iterable[float], second: Iterable[float], precision: int) -> list[tuple[str, str]]:
    return [(f"{a:.{precision}f}", f"{b:.{precision}f}") for a, b in zip(first, second, strict=True)]


def _show(
    image: str,
    heading: str,
    left: Sequence[tuple[str, str]],
    right: Sequence[tuple[str, str]],
    written: Sequence[tuple[str, str]],
    output: Path | None,
    *,
    quiet: bool,
) -> None:
    """Show a conversion, and write its result to a file."""
    from mosaic.tools.coordinates import listing, write_columns

    if not quiet:
        rows = [(*a, *b) for a, b in zip(left, right, strict=True)]
        typer.echo(listing(image, heading, rows))
    if output is not None:
        write_columns(output, image, written)
