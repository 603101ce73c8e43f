"""What a simulated set is made of: one frozen record of choices, checked when it is made."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mosaic.errors import ParameterError
from mosaic.simulate.detectors import DETECTORS

_PATTERN = re.compile(r"box4|line|mosaic:([1-9]\d?)x([1-9]\d?)")


@dataclass(frozen=True, slots=True)
class SimulateParams:
    """Choices of one simulated set."""

    instrument: str = "acs/wfc"
    """acs/wfc, acs/hrc, acs/sbc, wfc3/uvis, wfc3/ir, wfpc2, stis/ccd, stis/nuv-mama, stis/fuv-mama or
    nicmos/nic1 to nicmos/nic3."""
    exposures: int = 4
    """Exposures per pointing; the pattern ``mosaic:NxM`` has N times M pointings."""
    pattern: str = "box4"
    """Dither: ``box4`` (four sub-pixel phases), ``line`` (steps across the chip gap), ``mosaic:NxM``
    (N columns times M rows of fields that overlap by a tenth, each dithered as box4)."""
    exptime_s: float | None = None
    """Exposure time of each exposure, seconds; None: usual for the detector."""
    n_stars: int | None = None
    """Stars scattered over the rectangle that holds all exposures; None: by area."""
    n_galaxies: int | None = None
    """Galaxies, likewise."""
    cosmic_rays: bool = True
    """Whether cosmic rays strike (they are never flagged in DQ)."""
    cosmic_ray_fraction: float | None = None
    """Fraction of pixels struck in 500 s; None: usual for the detector (0.015 for ACS/WFC)."""
    defects: bool = True
    """Whether the detector has hot and warm pixels and bad columns."""
    noise: bool = True
    """Whether counts fluctuate; without, each pixel holds its expected value."""
    roll_deg: float = 0.0
    """Roll of the telescope added from one exposure to the next, degrees."""
    pa_v3_deg: float = 110.0
    """Position angle of the V3 axis of the first exposure, degrees."""
    pointing_rms_arcsec: float = 0.0
    """Unrecorded shift of each exposure, arcsec rms per axis; the header WCS does not know it."""
    pointing_roll_rms_deg: float = 0.0
    """Unrecorded roll of each exposure about the target, degrees rms; unknown to the header likewise."""
    psf_scale: float = 1.0
    """Width of the point-spread function over that of the detector: below 1 stars are undersampled."""
    sky_e: float | None = None
    """Mean sky, electrons per exposure in a pixel of nominal area; None: usual for the detector."""
    sky_scatter: float = 0.2
    """Relative spread of the sky from exposure to exposure (uniform, plus and minus)."""
    star_rate_range: tuple[float, float] = (2.0, 1500.0)
    """Faintest and brightest star, electrons per second; dN/dF is proportional to F**-1.6 between."""
    galaxy_rate_range: tuple[float, float] = (5.0, 500.0)
    """Faintest and brightest galaxy, electrons per second, same law."""
    seed: int = 1
    """Seed of all randomness."""
    sources: str | None = None
    """Source list (``sources.ecsv``) of another set, to look at the same sky; None: an invented one."""
    chip_shape: tuple[int, int] | None = None
    """Rows and columns of a chip; None: full frame. Smaller chips keep pixel scale, skew, relative
    distortion and relative gap of the full detector."""
    workers: int | None = None
    """Threads; None: as many as there are processors, at most 4. Never changes a byte."""
    filter_name: str | None = None
    """Filter; None: usual for the detector."""
    ccd_gain: float | None = None
    """Gain setting of the read-out (WFPC2: 7 or 15); None: usual for the detector."""
    target_name: str = "SIMULATED-FIELD"
    """TARGNAME."""
    target_ra_deg: float = 150.1
    """Right ascension of the target, degrees (ICRS)."""
    target_dec_deg: float = 2.2
    """Declination of the target, degrees."""
    program: str = "sim"
    """Three letters or digits that tell root names of different sets apart."""
    start_mjd: float = 57100.25
    """Start of the first exposure, MJD."""

    def __post_init__(self) -> None:
        """Report every impossible value at once.

        Raises
        ------
        ParameterError
            When a value is impossible.
        """
        problems = [text for wrong, text in self._checks() if wrong]
        if problems:
            raise ParameterError("; ".join(problems))

    def _checks(self) -> list[tuple[bool, str]]:
        shape = self.chip_shape
        return [
            (
                self.instrument.lower() not in DETECTORS,
                f"instrument {self.instrument!r} is not one of {', '.join(DETECTORS)}",
            ),
            (self.exposures < 1, f"exposures must be at least 1, not {self.exposures}"),
            (
                _PATTERN.fullmatch(self.pattern) is None,
                f"pattern {self.pattern!r} is not box4, line or mosaic:NxM",
            ),
            (
                self.exptime_s is not None and not self.exptime_s > 0,
                f"exptime_s must be above 0, not {self.exptime_s}",
            ),
            (
                shape is not None and (len(shape) != 2 or min(shape) < 32),
                f"chip_shape {shape} must be two numbers of at least 32",
            ),
            (
                re.fullmatch(r"[a-z0-9]{3}", self.program) is None,
                f"program {self.program!r} is not three lower-case letters or digits",
            ),
            (
                self.pointing_rms_arcsec < 0 or self.pointing_roll_rms_deg < 0,
                "pointing errors must not be negative",
            ),
            (not self.psf_scale > 0, f"psf_scale must be above 0, not {self.psf_scale}"),
            (not 0 <= self.sky_scatter < 1, f"sky_scatter must be in [0, 1), not {self.sky_scatter}"),
            (not abs(self.target_dec_deg) < 89.5, "target_dec_deg must keep half a degree from the poles"),
            (
                not 0 < self.star_rate_range[0] < self.star_rate_range[1],
                "star_rate_range must be two increasing rates",
            ),
            (
                not 0 < self.galaxy_rate_range[0] < self.galaxy_rate_range[1],
                "galaxy_rate_range must be two increasing rates",
            ),
        ]

    @property
    def n_columns_rows(self) -> tuple[int, int]:
        """Fields of the mosaic along the detector's x and y; (1, 1) for a single pointing."""
        match = _PATTERN.fullmatch(self.pattern)
        if match is None or match.group(1) is None:
            return 1, 1
        return int(match.group(1)), int(match.group(2))

    @classmethod
    def from_names(cls, names: Mapping[str, object]) -> SimulateParams:
        """Make the record from named values.

        Raises
        ------
        ParameterError
            When a name is unknown (the near ones are suggested) or a value impossible.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                raise ParameterError(f"unknown parameter {name!r} of simulate{hint}")
        return cls(**names)  # type: ignore[arg-type]
