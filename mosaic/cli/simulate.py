"""`mosaic simulate`: exposures whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic.cli.failure import one_line_errors
from mosaic.errors import ParameterError


def parse_shape(text: str | None) -> tuple[int, int] | None:
    """Turn ``NYxNX`` into rows and columns.

    Raises
    ------
    ParameterError
        When the text has another form.
    """
    if text is None:
        return None
    rows, times, columns = text.lower().partition("x")
    if not times or not rows.strip().isdigit() or not columns.strip().isdigit():
        raise ParameterError(f"--chip-shape {text!r} is not of the form NYxNX, such as 256x512")
    return int(rows), int(columns)


def simulate_command(
    outdir: Annotated[Path, typer.Argument(help="Folder for the exposures and the tables of truth.")],
    instrument: Annotated[
        str | None,
        typer.Option(
            help="acs/wfc|hrc|sbc, wfc3/uvis|ir, wfpc2, stis/ccd|nuv-mama|fuv-mama, nicmos/nic1|nic2|nic3."
        ),
    ] = None,
    exposures: Annotated[int | None, typer.Option(min=1, help="Number of exposures per pointing.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Dither pattern: box4, line, mosaic:NxM.")] = None,
    exptime_s: Annotated[float | None, typer.Option("--exptime", help="Exposure time of each, s.")] = None,
    n_stars: Annotated[int | None, typer.Option("--stars", min=0, help="Number of stars.")] = None,
    n_galaxies: Annotated[int | None, typer.Option("--galaxies", min=0, help="Number of galaxies.")] = None,
    sky_e: Annotated[float | None, typer.Option("--sky", help="Mean sky, electrons per pixel.")] = None,
    roll_deg: Annotated[
        float | None, typer.Option("--roll", help="Roll from one exposure to the next, degrees.")
    ] = None,
    pointing_rms_arcsec: Annotated[
        float | None, typer.Option("--pointing-rms", min=0.0, help="Unrecorded shifts, arcsec rms.")
    ] = None,
    cosmic_rays: Annotated[bool | None, typer.Option(help="Whether cosmic rays strike.")] = None,
    noise: Annotated[bool | None, typer.Option(help="Whether counts fluctuate.")] = None,
    defects: Annotated[bool | None, typer.Option(help="Whether there are bad pixels.")] = None,
    target_ra_deg: Annotated[float | None, typer.Option("--ra", help="Target, degrees.")] = None,
    target_dec_deg: Annotated[float | None, typer.Option("--dec", help="Target, degrees.")] = None,
    ccd_gain: Annotated[float | None, typer.Option("--gain", help="Gain setting (WFPC2: 7 or 15).")] = None,
    sources: Annotated[
        str | None, typer.Option(help="Source list (sources.ecsv) of another set: the same sky.")
    ] = None,
    program: Annotated[str | None, typer.Option(help="Three letters in the root names.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all randomness.")] = None,
    chip_shape: Annotated[str | None, typer.Option(metavar="NYxNX", help="Smaller chips, for tests.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Write exposures of an invented sky with known positions, fluxes, cosmic rays and noise.

    Example: mosaic simulate demo --exposures 4 --pattern box4 --seed 7
    """
    with one_line_errors(debug=debug):
        choices: dict[str, Any] = {
            "instrument": instrument,
            "exposures": exposures,
            "pattern": pattern,
            "exptime_s": exptime_s,
            "n_stars": n_stars,
            "n_galaxies": n_galaxies,
            "sky_e": sky_e,
            "roll_deg": roll_deg,
            "pointing_rms_arcsec": pointing_rms_arcsec,
            "cosmic_rays": cosmic_rays,
            "noise": noise,
            "defects": defects,
            "target_ra_deg": target_ra_deg,
            "target_dec_deg": target_dec_deg,
            "ccd_gain": ccd_gain,
            "sources": sources,
            "program": program,
            "seed": seed,
            "chip_shape": parse_shape(chip_shape),
        }
        from mosaic.simulate import simulate

        # Defaults live in the simulator: what was not given is not passed.
        simulated = simulate(outdir, **{name: value for name, value in choices.items() if value is not None})
        for path in simulated.paths:
            typer.echo(str(path))
