"""`mosaic headerlet`: WCS solutions as files of their own, and attached to exposures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic.cli.failure import one_line_errors
from mosaic.cli.wcs import Debug, Extname, Files, InPlace, Output

if TYPE_CHECKING:
    from mosaic.solutions.apply import Selector

app = typer.Typer(
    name="headerlet",
    help="Headerlets: write, extract, apply, attach, archive, delete, restore, summary.",
    no_args_is_help=True,
)

File = Annotated[str, typer.Argument(help="Exposure.")]
HeaderletFile = Annotated[Path, typer.Argument(help="Headerlet file (_hlet.fits).")]
WcsName = Annotated[str | None, typer.Option("--wcsname", help="WCSNAME; by default the primary WCS.")]
WcsKey = Annotated[str | None, typer.Option("--wcskey", help="Letter of an alternate WCS.")]
HdrName = Annotated[str, typer.Option("--hdrname", help="HDRNAME of a headerlet.")]
Number = Annotated[int | None, typer.Option("--number", help="Number of a headerlet, from 1.")]
DistName = Annotated[str, typer.Option("--distname", help="DISTNAME of headerlets.")]
Archive = Annotated[bool, typer.Option(help="Keep the present primary WCS.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the distortion, too, when it differs.")]
Attach = Annotated[bool, typer.Option(help="Attach the headerlet to the exposure.")]


@app.command("write")
def write_command(
    file: File,
    hdrname: Annotated[str, typer.Argument(help="HDRNAME of the headerlet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Headerlet to write.")],
    wcsname: WcsName = None,
    wcskey: WcsKey = None,
    author: Annotated[str, typer.Option(help="AUTHOR.")] = "",
    descrip: Annotated[str, typer.Option(help="DESCRIP.")] = "",
    catalog: Annotated[str, typer.Option(help="CATALOG.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    extname: Extname = "SCI",
    debug: Debug = False,
) -> None:
    """Write a WCS of an exposure as a headerlet file; the exposure is only read."""
    with one_line_errors(debug=debug):
        from mosaic.errors import OutputError
        from mosaic.solutions.editing import open_solutions, write_file
        from mosaic.solutions.headerlets import HeaderletText, create_headerlet

        if output.exists() and not overwrite:
            raise OutputError(f"{output} exists; use --overwrite to replace it")
        text = HeaderletText(author=author, descrip=descrip, catalog=catalog)
        with open_solutions(file) as hdul:
            made = create_headerlet(hdul, hdrname, sciext=extname, wcskey=wcskey, wcsname=wcsname, text=text)
        write_file(made.hdul, output)
        typer.echo(str(output))


@app.command("extract")
def extract_command(
    file: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="Headerlet to write.")],
    hdrname: HdrName = "",
    number: Number = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    debug: Debug = False,
) -> None:
    """Write an attached headerlet to a file."""
    with one_line_errors(debug=debug):
        from mosaic.errors import OutputError
        from mosaic.solutions.editing import open_solutions, write_file
        from mosaic.solutions.headerlets import from_extension

        if output.exists() and not overwrite:
            raise OutputError(f"{output} exists; use --overwrite to replace it")
        with open_solutions(file) as hdul:
            write_file(from_extension(hdul, _selector(hdrname, number).index(hdul)).hdul, output)
        typer.echo(str(output))


@app.command("apply")
def apply_command(
    file: File,
    headerlet: HeaderletFile,
    alternate: Annotated[bool, typer.Option("--alternate", help="As an alternate WCS, not primary.")] = False,
    wcskey: WcsKey = None,
    wcsname: WcsName = None,
    attach: Attach = True,
    archive: Archive = True,
    force: Force = False,
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Make the solution of a headerlet the primary WCS of an exposure, or an alternate."""
    with one_line_errors(debug=debug):
        from mosaic.solutions.apply import apply_as_alternate, apply_as_primary
        from mosaic.solutions.editing import edit_targets, edited
        from mosaic.solutions.headerlets import read_headerlet

        solution = read_headerlet(headerlet)
        (target,) = edit_targets([file], output, in_place=in_place)
        with edited(file, target) as hdul:
            if alternate:
                apply_as_alternate(hdul, solution, key=wcskey, name=wcsname or "", attach_it=attach)
            else:
                apply_as_primary(hdul, solution, attach_it=attach, archive=archive, force=force)
        typer.echo(str(target))


@app.command("attach")
def attach_command(
    file: File,
    headerlet: HeaderletFile,
    compress: Annotated[bool, typer.Option("--compress", help="Compress it with gzip.")] = False,
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Append a headerlet to an exposure; its WCS stays as it is."""
    with one_line_errors(debug=debug):
        from mosaic.solutions.apply import attach
        from mosaic.solutions.editing import edit_targets, edited
        from mosaic.solutions.headerlets import read_headerlet

        solution = read_headerlet(headerlet)
        (target,) = edit_targets([file], output, in_place=in_place)
        with edited(file, target) as hdul:
            attach(hdul, solution, compress=compress)
        typer.echo(str(target))


@app.command("archive")
def archive_command(
    file: File,
    hdrname: Annotated[str, typer.Argument(help="HDRNAME of the headerlet.")],
    wcsname: WcsName = None,
    wcskey: WcsKey = None,
    output: Output = None,
    in_place: InPlace = False,
    extname: Extname = "SCI",
    debug: Debug = False,
) -> None:
    """Keep a WCS of an exposure as an attached headerlet."""
    with one_line_errors(debug=debug):
        from mosaic.solutions.apply import archive_as_headerlet
        from mosaic.solutions.editing import edit_targets, edited

        (target,) = edit_targets([file], output, in_place=in_place)
        with edited(file, target) as hdul:
            archive_as_headerlet(hdul, hdrname, sciext=extname, wcskey=wcskey, wcsname=wcsname)
        typer.echo(str(target))


@app.command("delete")
def delete_command(
    file: File,
    hdrname: HdrName = "",
    number: Number = None,
    distname: DistName = "",
    keep_first: Annotated[bool, typer.Option("--keep-first", help="Keep the first that fits.")] = False,
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Remove attached headerlets."""
    with one_line_errors(debug=debug):
        from mosaic.solutions.apply import delete_headerlets
        from mosaic.solutions.editing import edit_targets, edited

        (target,) = edit_targets([file], output, in_place=in_place)
        with edited(file, target) as hdul:
            removed = delete_headerlets(hdul, _selector(hdrname, number, distname), keep_first=keep_first)
        typer.echo(f"{target}: {', '.join(removed) or 'nothing removed'}")


@app.command("restore")
def restore_command(
    file: File,
    hdrname: HdrName = "",
    number: Number = None,
    distname: DistName = "",
    archive: Archive = True,
    force: Force = False,
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Make an attached headerlet the primary WCS.

    With --distname all headerlets of that distortion come back: the one named by --hdrname or --number, or
    the first, as primary, the others as alternates.
    """
    with one_line_errors(debug=debug):
        from mosaic.solutions.apply import restore_all, restore_headerlet
        from mosaic.solutions.editing import edit_targets, edited

        (target,) = edit_targets([file], output, in_place=in_place)
        with edited(file, target) as hdul:
            if distname:
                restore_all(hdul, distname, hdrname or number, archive=archive)
            else:
                restore_headerlet(hdul, _selector(hdrname, number), archive=archive, force=force)
        typer.echo(str(target))


@app.command("summary")
def summary_command(files: Files, debug: Debug = False) -> None:
    """List the headerlets attached to exposures."""
    with one_line_errors(debug=debug):
        from mosaic.compat.headerlet import headerlet_summary

        for file in files:
            typer.echo(file)
            headerlet_summary(file)


def _selector(hdrname: str, number: int | None, distname: str = "") -> Selector:
    from mosaic.solutions.apply import Selector

    return Selector(hdrname, number, distname)
