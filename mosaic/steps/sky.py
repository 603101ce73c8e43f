"""Sky levels: one number per chip, from clipped statistics of its good pixels.

``localmin``: per exposure the lowest sky brightness of its chips; ``globalmin``: the lowest of all.
Brightness is electrons per second and square arcsecond, so that chips of different pixel size and gain
compare (DrizzlePac Handbook, step 2). Does not cover matching over overlaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mosaic.errors import ParameterError
from mosaic.exposure.model import Chip, Exposure
from mosaic.steps.statistics import image_statistics
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
class SkyLevel:
    """Sky of one chip, native units."""

    subtracted: float | None
    """Value taken off the pixels before drizzling; None when nothing is taken off."""
    background: float
    """Value used as background in noise models."""


def measure_sky(values: FloatArray, how: SkyStatistic) -> float | None:
    """Measure the sky of one chip; None when too few pixels are left.

    Parameters
    ----------
    values : FloatArray, shape (n,)
        Finite, unmasked science pixels, native units.
    how : SkyStatistic
        Statistic, limits and clipping.
    """
    found = image_statistics(
        values,
        how.statistic,
        nclip=how.nclip,
        lower_sigma=how.lower_sigma,
        upper_sigma=how.upper_sigma,
        lower=how.lower,
        upper=how.upper,
        binwidth=how.width,
    )
    return None if found is None else float(found.value)


def brightness_factor(chip: Chip) -> float:
    """Factor from native value per pixel to brightness per second and square arcsecond.

    Brightness is in electrons, so that chips of different gain compare (in native units with `peer_compat`).
    """
    factor = chip.sky_gain / chip.idcscale_arcsec**2
    return factor if chip.is_rate else factor / chip.exptime_s


def solve_sky(
    exposures: Sequence[Exposure], measured: Mapping[str, float | None], method: str
) -> dict[str, SkyLevel]:
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
    if method == "globalmin":
        everywhere = min(lowest.values(), default=0.0)
        lowest = {exposure.rootname: everywhere for exposure in exposures}
    elif method != "localmin":
        raise ParameterError(f"skymethod={method!r} is not available; use localmin or globalmin")
    return {
        chip.name: _level(lowest.get(exposure.rootname, 0.0) / brightness_factor(chip))
        for exposure in exposures
        for chip in exposure.chips
    }


def _level(value: float) -> SkyLevel:
    return SkyLevel(subtracted=value, background=value)


def recorded_sky(exposures: Sequence[Exposure]) -> dict[str, SkyLevel]:
    """Sky levels when none is computed (``skysub=False``): the header's MDRIZSKY is background only."""
    return {
        chip.name: SkyLevel(subtracted=None, background=chip.mdrizsky or 0.0)
        for exposure in exposures
        for chip in exposure.chips
    }
