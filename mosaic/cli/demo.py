"""`make demo`: simulate four full ACS/WFC frames, drizzle them within 2 GiB, compare with the truth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic.cli.failure import install_excepthook, one_line_errors

if TYPE_CHECKING:
    from mosaic.graph.plan import Plan
    from mosaic.options import RunOptions
    from mosaic.pipeline import PlanReport, Result
    from mosaic.settings import Settings

MEMORY = "2GiB"
SEED = 20


def run_demo(
    folder: Annotated[Path, typer.Argument(help="Folder for everything the demo makes.")] = Path("demo"),
    chip_shape: Annotated[
        str | None, typer.Option(metavar="NYxNX", help="Smaller chips, for a quick look.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Simulate, drizzle, draw, and compare with the truth."""
    with one_line_errors(debug=debug):
        inputs = _simulate(folder / "inputs", chip_shape)
        from mosaic.options import RunOptions
        from mosaic.parameters import load_settings

        options = RunOptions.resolve(memory=MEMORY)
        settings = load_settings(build=True, final_err=True, runfile=str(folder / "demo.log"))
        start = time.perf_counter()
        report, result = _drizzle(inputs, str(folder / "demo"), options, settings)
        seconds = time.perf_counter() - start
        product = result.files[0]
        pictures = _draw(product, report.plan, folder)
        _compare(product, folder / "inputs")
        _compare_cosmic_rays(result, report.plan, folder / "inputs")
        _say_where(folder, product, pictures, result, seconds)


def _simulate(folder: Path, chip_shape: str | None) -> list[str]:
    """Make the exposures, unless an earlier demo did."""
    from mosaic.cli.simulate import parse_shape
    from mosaic.simulate import simulate

    existing = sorted(str(path) for path in folder.glob("*_flc.fits"))
    if len(existing) == 4:
        typer.echo(f"using the four exposures in {folder}")
        return existing
    typer.echo(f"simulating four exposures of ACS/WFC into {folder} …")
    start = time.perf_counter()
    simulated = simulate(
        folder,
        instrument="acs/wfc",
        exposures=4,
        pattern="box4",
        seed=SEED,
        chip_shape=parse_shape(chip_shape),
    )
    typer.echo(f"  {len(simulated.paths)} exposures in {time.perf_counter() - start:.0f} s")
    return [str(path) for path in simulated.paths]


def _drizzle(
    inputs: list[str], root: str, options: RunOptions, settings: Settings
) -> tuple[PlanReport, Result]:
    """Tell the plan, then carry it out."""
    from mosaic import pipeline
    from mosaic.cli.logfile import logging_to
    from mosaic.cli.progress import LiveProgress, choose_display
    from mosaic.summary import format_rows, format_summary

    report = pipeline.plan(inputs, root, options=options, settings=settings)
    typer.echo("\n" + format_rows(report.as_rows()) + "\n")
    progress = LiveProgress(choose_display(quiet=False))
    with logging_to(settings.runfile, lambda: progress.console, quiet=False) as log, progress:
        result = pipeline.drizzle(inputs, root, options=options, observer=progress, settings=settings)
        for line in format_summary(result):
            log.info(line)
            typer.echo(line)
    return report, result


def _draw(product: Path, plan: Plan, folder: Path) -> list[Path]:
    """Draw the science image with the outlines of all chips, and the weight map."""
    import numpy as np
    from astropy.io import fits

    from mosaic.products.fits import MemoryPlane
    from mosaic.quality.preview import write_preview, write_weight_map

    grid = plan.final.grid
    outlines = [np.column_stack(grid.sky_to_pixel(*chip.wcs.outline_sky(256))) for chip in plan.chips]
    with fits.open(product, memmap=True) as hdul:
        sci, wht = (MemoryPlane(hdul[name].data) for name in ("SCI", "WHT"))
        return [
            write_preview(folder / "demo_sci.png", sci, grid, footprints=outlines, title="demo", unit="e-/s"),
            write_weight_map(folder / "demo_wht.png", wht, grid, title="demo"),
        ]


def _compare(product: Path, folder: Path) -> None:
    """Print how well the fluxes and positions of the stars were recovered."""
    from mosaic.simulate.photometry import compare_with_truth

    typer.echo("\nstars against the truth")
    for line in compare_with_truth(product, folder / "sources.ecsv").lines():
        typer.echo(f"  {line}")


def _compare_cosmic_rays(result: Result, plan: Plan, folder: Path) -> None:
    """Print how well the cosmic rays were found, and whether stars were taken for them."""
    import warnings

    import numpy as np
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS, FITSFixedWarning

    from mosaic.graph.job import chip_task
    from mosaic.graph.store import read_mask
    from mosaic.simulate.files import read_cosmic_rays
    from mosaic.simulate.rejection import RejectionCounts, count_rejection, star_cores
    from mosaic.types import Window

    sources = Table.read(folder / "sources.ecsv")
    stars = sources[sources["type"] == "star"]
    total = RejectionCounts()
    for exposure in plan.exposures:
        charges = read_cosmic_rays(folder / f"cosmic_rays_{exposure.rootname}.npz")
        with fits.open(exposure.path) as hdul, warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            for chip in exposure.chips:
                wcs = WCS(hdul["SCI", chip.extver].header, hdul)
                x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
                on_chip = np.isfinite(x) & np.isfinite(y)
                whole = Window(0, chip.shape_yx.ny, 0, chip.shape_yx.nx)
                total += count_rejection(
                    read_mask(str(result.job_folder), f"cosmic_rays/{chip_task(chip)}", whole),
                    charges[chip.extver],
                    hdul["ERR", chip.extver].data.astype(np.float32),
                    hdul["DQ", chip.extver].data == 0,
                    star_cores(chip.shape_yx, x[on_chip], y[on_chip]),
                )
    typer.echo("\ncosmic rays against the truth")
    for line in total.lines():
        typer.echo(f"  {line}")


def _say_where(folder: Path, product: Path, pictures: list[Path], result: Result, seconds: float) -> None:
    """Print what was made and where."""
    from mosaic.values import format_memory

    memory = format_memory(result.peak_memory_bytes)
    typer.echo(
        f"\n{len(result.products)} product(s) in {seconds:.0f} s, at most {memory} of {MEMORY} used\n"
        f"  exposures  {folder / 'inputs'}\n"
        f"  product    {product}  (SCI, WHT, CTX, ERR, HDRTAB)\n"
        f"  pictures   {' '.join(str(path) for path in pictures)}\n"
        f"  job        {result.job_folder}\n"
        f"  log        {folder / 'demo.log'}"
    )


if __name__ == "__main__":
    install_excepthook()
    typer.run(run_demo)
