"""`mosaic wcs`: the WCS solutions of files, listed, chosen, kept and deleted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic.cli.failure import one_line_errors, report_failure

if TYPE_CHECKING:
    from mosaic.solutions.listing import Solution

app = typer.Typer(name="wcs", help="WCS solutions: list, use, archive, delete.", no_args_is_help=True)

Files = Annotated[list[str], typer.Argument(help="Files.")]
Output = Annotated[str | None, typer.Option("--output", "-o", help="File or folder to write.")]
InPlace = Annotated[bool, typer.Option("--in-place", help="Replace the files themselves.")]
Name = Annotated[str, typer.Option("--name", help="WCSNAME (or HDRNAME of a headerlet).")]
Key = Annotated[str | None, typer.Option("--key", help="Letter of an alternate WCS.")]
Extname = Annotated[str, typer.Option("--extname", help="EXTNAME of the extensions.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

_COLUMNS = (
    "source",
    "key",
    "WCSNAME",
    "HDRNAME",
    "CRVAL1",
    "CRVAL2",
    "ORIENTAT",
    "RMS mas",
    "n",
    "distortion",
)


@app.command("list")
def list_command(files: Files, extname: Extname = "SCI", debug: Debug = False) -> None:
    """List the primary, alternate and headerlet solutions of files.

    Numbers are those of the first science extension. Example: mosaic wcs list *_flc.fits
    """
    with one_line_errors(debug=debug):
        from mosaic.solutions.listing import list_solutions

        for number, file in enumerate(files):
            if number:
                typer.echo("")
            typer.echo(file)
            rows = [_COLUMNS, *(_row(solution) for solution in list_solutions(file, extname))]
            widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
            for row in rows:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                typer.echo("  " + "  ".join(cells).rstrip())


@app.command("use")
def use_command(
    files: Files,
    name: Name = "",
    key: Key = None,
    output: Output = None,
    in_place: InPlace = False,
    archive: Annotated[bool, typer.Option(help="Keep the present primary WCS as an alternate.")] = True,
    extname: Extname = "SCI",
    debug: Debug = False,
) -> None:
    """Make an alternate WCS or a headerlet of a file its primary WCS.

    Example: mosaic wcs use j8bt06nyq_flc.fits --name IDC_0461802ej-FIT_REL_GAIAeDR3 -o aligned/
    """
    with one_line_errors(debug=debug):
        from mosaic.solutions.choose import use_solution
        from mosaic.solutions.editing import edit_targets, edited

        for file, target in zip(files, edit_targets(files, output, in_place=in_place), strict=True):
            with edited(file, target) as hdul:
                chosen = use_solution(hdul, name=name, key=key, archive=archive, extname=extname)
            typer.echo(f"{target}: {chosen}")


@app.command("archive")
def archive_command(
    files: Files,
    name: Name = "",
    key: Key = None,
    output: Output = None,
    in_place: InPlace = False,
    rename: Annotated[
        bool, typer.Option("--rename", help="Append -1, -2, … to a name that is taken.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an alternate of the key.")] = False,
    extname: Extname = "SCI",
    debug: Debug = False,
) -> None:
    """Keep the primary WCS as an alternate, by default under its name and the next free letter."""
    with one_line_errors(debug=debug):
        from mosaic.solutions import alternates
        from mosaic.solutions.alternates import ArchiveMode
        from mosaic.solutions.editing import edit_targets, edited, science_indices
        from mosaic.solutions.wcscorr import record_solutions

        mode = ArchiveMode.AUTO_RENAME if rename else ArchiveMode.NO_CONFLICT
        mode |= ArchiveMode.OVERWRITE_KEY if overwrite else ArchiveMode.NO_CONFLICT
        for file, target in zip(files, edit_targets(files, output, in_place=in_place), strict=True):
            with edited(file, target) as hdul:
                headers = [hdul[index].header for index in science_indices(hdul, extname, path=file)]
                kept = alternates.archive(headers, key=key, name=name or None, mode=mode, where=file)
                record_solutions(hdul)
            typer.echo(f"{target}: {kept[0]} ({kept[1]})" if kept else f"{target}: kept already")


@app.command("delete")
def delete_command(
    files: Files,
    name: Name = "",
    key: Key = None,
    output: Output = None,
    in_place: InPlace = False,
    extname: Extname = "SCI",
    debug: Debug = False,
) -> None:
    """Remove an alternate WCS (never the primary one, nor O)."""
    with one_line_errors(debug=debug):
        from mosaic.solutions import alternates
        from mosaic.solutions.editing import edit_targets, edited, science_indices

        for file, target in zip(files, edit_targets(files, output, in_place=in_place), strict=True):
            with edited(file, target) as hdul:
                headers = [hdul[index].header for index in science_indices(hdul, extname, path=file)]
                found = alternates.find_key(headers[0], key=key, name=name, where=file)
                alternates.delete(headers, found, file)
            typer.echo(str(target))


@app.command("shift")
def shift_command(
    shift_file: Annotated[Path, typer.Argument(help="Shift file of TweakReg.")],
    name: Annotated[str, typer.Option("--name", help="WCSNAME of the new solutions.")] = "TWEAK",
    output: Output = None,
    in_place: InPlace = False,
    reuse_name: Annotated[bool, typer.Option("--reuse-name", help="Allow a name that is taken.")] = False,
    debug: Debug = False,
) -> None:
    """Apply the fits of a shift file to the exposures it names."""
    with one_line_errors(debug=debug):
        from mosaic.solutions.editing import edit_targets
        from mosaic.solutions.shiftfile import apply_shift_file, read_shift_file

        file = read_shift_file(shift_file)
        sources = [file.path.parent / shift.image for shift in file.shifts]
        targets = edit_targets(sources, output, in_place=in_place)
        skipped: list[str] = []
        written = apply_shift_file(file, targets, wcsname=name, reuse_name=reuse_name, skipped=skipped)
        for path in written:
            typer.echo(str(path))
        for image in skipped:
            report_failure(f"{image}: its fit failed (nan), left as it is")


@app.command("build")
def build_command(
    output: Annotated[Path, typer.Argument(help="Headerlet to write.")],
    reference: Annotated[str, typer.Option("--refimage", help="Image whose WCS is taken.")] = "",
    name: Annotated[str, typer.Option("--name", help="WCSNAME.")] = "",
    undistort: Annotated[bool, typer.Option(help="Without distortion.")] = True,
    coeffsfile: Annotated[str, typer.Option(help="Exposure whose distortion is taken.")] = "",
    outscale: Annotated[float | None, typer.Option(help="Arcseconds per pixel.")] = None,
    orient: Annotated[float | None, typer.Option(help="Position angle of y, degrees.")] = None,
    raref: Annotated[float | None, typer.Option(help="RA of the reference pixel, degrees.")] = None,
    decref: Annotated[float | None, typer.Option(help="Dec of the reference pixel, degrees.")] = None,
    xrefpix: Annotated[float | None, typer.Option(help="Reference pixel, from 1.")] = None,
    yrefpix: Annotated[float | None, typer.Option(help="Reference pixel, from 1.")] = None,
    outnx: Annotated[int | None, typer.Option(help="Columns.")] = None,
    outny: Annotated[int | None, typer.Option(help="Rows.")] = None,
    debug: Debug = False,
) -> None:
    """Write a headerlet with a WCS made from a reference image, from values, or both."""
    with one_line_errors(debug=debug):
        from mosaic.solutions.buildwcs import UserWcs, as_headerlet, build_wcs
        from mosaic.solutions.editing import write_file

        built = build_wcs(
            wcsname=name,
            refimage=reference,
            undistort=undistort,
            applycoeffs=bool(coeffsfile),
            coeffsfile=coeffsfile,
            user=UserWcs(outscale, orient, raref, decref, xrefpix, yrefpix, outnx, outny),
        )
        write_file(as_headerlet(built).hdul, output)
        typer.echo(str(output))


def _row(solution: Solution) -> tuple[str, ...]:
    """Cells of one solution."""
    rms = solution.rms_mas
    return (
        solution.source,
        solution.key,
        solution.wcsname or "-",
        solution.hdrname or "-",
        f"{solution.crval_deg[0]:.8f}",
        f"{solution.crval_deg[1]:+.8f}",
        f"{solution.orientat_deg:.4f}",
        "-" if rms is None else f"{rms[0]:.2f}, {rms[1]:.2f}",
        "-" if solution.nmatch is None else str(solution.nmatch),
        solution.distname,
    )
