"""Sky levels: one number per chip, from clipped statistics of its good pixels.

``localmin``: per exposure the lowest sky brightness of its chips; ``globalmin``: the lowest of all.
Brightness is electrons per second and square arcsecond, so that chips of different pixel size and gain
compare (DrizzlePac Handbook, step 2). Does not cover matching over overlaps (`sky_match`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mosaic.errors import ParameterError
from mosaic.exposure.model import Chip, Exposure, SkyLevel
from mosaic.steps.statistics import ClippedStatistics, image_statistics
from mosaic.types import FloatArray


@dataclass(frozen=True, slots=True)
class SkyStatistic:
    """How the sky of a chip is measured."""

    statistic: str
    """median, mode, mean or midpt (``skystat``)."""
    width: float
    """Histogram bin in units of sigma (``skywidth``)."""
    lower: float | None
    """Lowest value used, native units (``skylower``)."""
    upper: float | None
    """Highest value used, native units (``skyupper``)."""
    nclip: int
    """Clipping iterations (``skyclip``)."""
    lower_sigma: float
    """Lower clipping limit (``skylsigma``)."""
    upper_sigma: float
    """Upper clipping limit (``skyusigma``)."""


@dataclass(frozen=True, slots=True)
class SkySolution:
    """Sky of every chip, and what the user should know about it."""

    levels: dict[str, SkyLevel]
    """By name of the chip."""
    warnings: tuple[str, ...] = ()
    """One line each."""


def measure_sky(values: FloatArray, how: SkyStatistic) -> ClippedStatistics | None:
    """Measure the sky of one chip, or of a part of it; None when too few pixels are left.

    Parameters
    ----------
    values : FloatArray, shape (n,)
        Finite, unmasked science pixels, native units.
    how : SkyStatistic
        Statistic, limits and clipping.
    """
    return image_statistics(
        values,
        how.statistic,
        nclip=how.nclip,
        lower_sigma=how.lower_sigma,
        upper_sigma=how.upper_sigma,
        lower=how.lower,
        upper=how.upper,
        binwidth=how.width,
    )


def brightness_factor(chip: Chip) -> float:
    """Factor from native value per pixel to brightness per second and square arcsecond.

    Brightness is in electrons, so that chips of different gain compare (in native units with `peer_compat`).
    """
    factor = chip.sky_gain / chip.idcscale_arcsec**2
    return factor if chip.is_rate else factor / chip.exptime_s


def solve_sky(
    exposures: Sequence[Exposure], measured: Mapping[str, float | None], method: str
) -> SkySolution:
    """Turn the measured sky of each chip into the level to subtract.

    Parameters
    ----------
    exposures : Sequence[Exposure]
        All exposures of the run.
    measured : Mapping[str, float | None]
        Sky of each chip by chip name, native units; None where it could not be measured.
    method : str
        ``localmin`` or ``globalmin``.

    Raises
    ------
    ParameterError
        For a method that is not one of these.
    """
    lowest: dict[str, float] = {}
    for exposure in exposures:
        levels = [
            brightness_factor(chip) * value
            for chip in exposure.chips
            if (value := measured[chip.name]) is not None
        ]
        if levels:
            lowest[exposure.rootname] = min(levels)
    missing = [exposure.rootname for exposure in exposures if exposure.rootname not in lowest]
    if method == "globalmin":
        everywhere = min(lowest.values(), default=0.0)
        lowest = {exposure.rootname: everywhere for exposure in exposures}
    elif method != "localmin":
        raise ParameterError(f"skymethod={method!r} does not measure chips alone; use localmin or globalmin")
    levels_of = {
        chip.name: level_of(lowest.get(exposure.rootname, 0.0) / brightness_factor(chip))
        for exposure in exposures
        for chip in exposure.chips
    }
    taken = "the lowest sky of the others" if method == "globalmin" and lowest else "0"
    return SkySolution(levels_of, tuple(no_pixels_warning(name, taken) for name in missing))


def no_pixels_warning(rootname: str, taken: str) -> str:
    """Sentence on an exposure whose sky could not be measured."""
    return f"{rootname}: too few good pixels to measure its sky, {taken} is taken (see sky_bits, skylower)"


def level_of(value: float) -> SkyLevel:
    """A value that is subtracted, assumed as background, and recorded."""
    return SkyLevel(subtracted=value, background=value, recorded=value)


def given_sky(exposures: Sequence[Exposure]) -> SkySolution:
    """Sky levels when none is measured: what the user gave, else MDRIZSKY of the header as background."""
    return SkySolution(
        {chip.name: chip.user_sky or header_level(chip) for exposure in exposures for chip in exposure.chips}
    )


def header_level(chip: Chip) -> SkyLevel:
    """MDRIZSKY of the header as background only; 0 is recorded where there is none."""
    known = chip.mdrizsky or 0.0
    return SkyLevel(subtracted=None, background=known, recorded=known)
