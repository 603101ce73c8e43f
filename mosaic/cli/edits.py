"""`mosaic resetbits`, `pixreplace`, `photeq`, `updatenpol`, `mapreg` and `trails`: tools on whole files.

Those that change files want ``--in-place`` or an output; nothing is changed by default.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from mosaic.cli.failure import one_line_errors
from mosaic.errors import ParameterError

Files = Annotated[list[str], typer.Argument(help="Files, globs, @lists, association tables.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write; an existing folder for several inputs.")
]
InPlace = Annotated[bool, typer.Option("--in-place", help="Change the files themselves.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be done.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def resetbits_command(
    files: Files,
    bits: Annotated[str, typer.Option("--bits", "-b", help="Bits to clear: 4096, '2,32', '2+32'.")] = "4096",
    extver: Annotated[str | None, typer.Option("--extver", help="EXTVERs, as '1,2'; all by default.")] = None,
    extname: Annotated[str, typer.Option("--extname", help="EXTNAME of the arrays.")] = "DQ",
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Clear bits of data-quality arrays.

    Example: mosaic resetbits '*_flc.fits' --bits 4096 --in-place
    """
    with one_line_errors(debug=debug):
        _require_intent(output, in_place=in_place)
        from mosaic.tools.resetbits import reset_bits

        for change in reset_bits(files, bits, extver, extname, output=output):
            typer.echo(f"{change.path}[{extname.lower()},{change.extver}]: {change.n_pixels} pixels changed")


def pixreplace_command(
    files: Files,
    pixvalue: Annotated[float, typer.Option("--pixvalue", help="Value to look for.")] = math.nan,
    newvalue: Annotated[float, typer.Option("--newvalue", help="Value to put there.")] = 0.0,
    ext: Annotated[
        list[str] | None, typer.Option("--ext", help="Extension, as 1 or 'sci,1', repeated; all by default.")
    ] = None,
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Replace one pixel value by another, by default NaN by 0.

    Example: mosaic pixreplace m51_drc.fits --ext sci,1 -o m51_zero_drc.fits
    """
    with one_line_errors(debug=debug):
        _require_intent(output, in_place=in_place)
        from mosaic.tools.pixreplace import replace_pixels

        for done in replace_pixels(files, pixvalue, newvalue, ext or None, output=output):
            typer.echo(f"{done.path}[{done.extension}]: {done.n_pixels} pixels replaced")


def photeq_command(
    files: Files,
    ref_phot: Annotated[
        float | None, typer.Option("--ref-phot", help="Reference inverse sensitivity.")
    ] = None,
    ref_phot_ext: Annotated[
        str | None, typer.Option("--ref-phot-ext", help="Extension of the first file that has it, as 3.")
    ] = None,
    phot_kwd: Annotated[str, typer.Option("--phot-kwd", help="Its keyword.")] = "PHOTFLAM",
    aux_phot_kwd: Annotated[
        str, typer.Option("--aux-phot-kwd", help="Keywords divided by the same ratio, with commas.")
    ] = "PHOTFNU",
    sciext: Annotated[str, typer.Option("--sciext", help="EXTNAME of images.")] = "SCI",
    errext: Annotated[str, typer.Option("--errext", help="EXTNAME of errors.")] = "ERR",
    search_primary: Annotated[
        bool, typer.Option(help="Whether the keyword in the primary header counts, and first.")
    ] = True,
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Rescale chips to one inverse sensitivity; without --in-place or --output only show the ratios.

    Example: mosaic photeq u2eu0101m_c0m.fits --ref-phot-ext 3 --in-place
    """
    with one_line_errors(debug=debug):
        readonly = output is None and not in_place
        if not readonly:
            _require_intent(output, in_place=in_place)
        from mosaic.tools.photeq import PhotometryKeywords, equalise

        aux = tuple(name.strip() for name in aux_phot_kwd.split(",") if name.strip())
        keywords = PhotometryKeywords(sciext, errext, phot_kwd, aux, search_primary)
        found = equalise(
            files, keywords, ref_phot=ref_phot, ref_phot_ext=ref_phot_ext, readonly=readonly, output=output
        )
        for item in found:
            typer.echo(
                f"{item.path}[{item.extension}]: {phot_kwd} {item.before:.9g}, pixels times {item.ratio:.9g}"
            )
        if readonly:
            typer.echo("nothing was written; give --in-place or --output")


def updatenpol_command(
    files: Files,
    refdir: Annotated[
        str, typer.Option("--refdir", "-r", help="Folder of *npl.fits and *d2i.fits, or jref$.")
    ] = "jref$",
    dry_run: DryRun = False,
    output: Output = None,
    in_place: InPlace = False,
    updatewcs: Annotated[bool, typer.Option("--updatewcs", help="Then derive the WCS from them.")] = False,
    debug: Debug = False,
) -> None:
    """Write the NPOLFILE and D2IMFILE that fit detector, filters and date into primary headers.

    Example: mosaic updatenpol '*_flc.fits' --refdir jref$ --in-place --updatewcs
    """
    with one_line_errors(debug=debug):
        if not dry_run:
            _require_intent(output, in_place=in_place)
        from mosaic.tools.updatenpol import assign_references, derive_wcs, reference_folder

        folder, prefix = reference_folder(refdir)
        for item in assign_references(files, folder, prefix, dry_run=dry_run, output=output):
            if updatewcs and not dry_run:
                derive_wcs(item.path)
            typer.echo(f"{item.path}: NPOLFILE {item.npolfile}, D2IMFILE {item.d2imfile or 'unchanged'}")


def mapreg_command(
    images: Files,
    regions: Annotated[list[str], typer.Option("--regions", "-r", help="DS9 region file, repeated.")],
    outpath: Annotated[Path, typer.Option("--outpath", "-o", help="Existing folder.")] = Path("regions"),
    extensions: Annotated[
        str, typer.Option("--extensions", help="Extensions, as 'sci', 'sci,1' or '1;4'.")
    ] = "sci",
    reference: Annotated[
        str, typer.Option("--refimage", help=r"FILE\[sci,1] in whose pixels the regions are.")
    ] = "",
    chip_regions: Annotated[str, typer.Option("--chip-regions", help="Regions added to every chip.")] = "",
    how: Annotated[str, typer.Option("--filter", help="'all', 'fast' (boxes overlap) or 'precise'.")] = "all",
    list_name: Annotated[str, typer.Option("--list", help="List of region files to write.")] = "",
    append: Annotated[bool, typer.Option("--append", help="Add to region files that exist.")] = False,
    debug: Debug = False,
) -> None:
    """Carry DS9 regions from the sky to the pixels of every chip.

    Example: mosaic mapreg '*_flc.fits' --regions stars.reg --outpath regions --filter precise
    """
    with one_line_errors(debug=debug):
        from mosaic.tools.mapreg import RegionMap, map_regions

        mapped = map_regions(
            regions,
            images,
            outpath,
            RegionMap(extensions, how, append),  # type: ignore[arg-type]
            reference=reference,
            chip_regions=chip_regions,
            list_name=list_name,
        )
        for item in mapped:
            typer.echo(
                f"{item.image.name}[{item.extension}]: {item.n_regions} regions {item.path or ''}".rstrip()
            )


def trails_command(
    files: Files,
    bit: Annotated[int, typer.Option("--bit", help="DQ bit to set.")] = 16384,
    region_file: Annotated[str, typer.Option("--regions", "-r", help="DS9 regions to flag as well.")] = "",
    detect: Annotated[bool, typer.Option(help="Whether trails are looked for, or regions only.")] = True,
    threshold: Annotated[float, typer.Option("--threshold", help="Significance of a trail.")] = 6.0,
    grow: Annotated[float, typer.Option("--grow", help="Pixels flagged beyond the edges of a trail.")] = 2.0,
    dry_run: DryRun = False,
    output: Output = None,
    in_place: InPlace = False,
    debug: Debug = False,
) -> None:
    """Find the trails of satellites that cross a chip and set a DQ bit on them.

    Example: mosaic trails '*_flc.fits' --in-place
    """
    with one_line_errors(debug=debug):
        if not dry_run:
            _require_intent(output, in_place=in_place)
        from mosaic.tools.trail_flags import flag_trails
        from mosaic.tools.trails import TrailParams

        found = flag_trails(
            files,
            bit,
            TrailParams(threshold=threshold, grow=grow),
            region_file=region_file,
            is_detecting=detect,
            dry_run=dry_run,
            output=output,
        )
        for item in found:
            typer.echo(f"{item.path}[sci,{item.extver}]: {len(item.trails)} trails, {item.n_pixels} pixels")
            for trail in item.trails:
                typer.echo(
                    f"  normal at {trail.angle_deg:.2f} deg, offset {trail.offset:.1f}, "
                    f"width {2 * trail.half_width:.0f} pixels, {trail.significance:.1f} sigma"
                )


def _require_intent(output: Path | None, *, in_place: bool) -> None:
    """Refuse to change a file that the user did not ask to be changed."""
    if (output is None) is not in_place:
        raise ParameterError("give either --output FILE (or folder) or --in-place")
