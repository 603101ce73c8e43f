"""Scripts of users of DrizzlePac, run as they are by it and with only their import changed by mosaic."""

from __future__ import annotations

from typing import Any, Final

IMPORTS: Final = ("from drizzlepac import", "from mosaic.compat import")
"""The change that is made to a script."""
CONFIG: Final = "mine.cfg"
CONFIG_CHANGES: Final[dict[str, Any]] = {
    "output": "final",
    "context": True,
    "preserve": False,
    "clean": False,
    "skymethod": "localmin",
    "driz_sep_bits": "64,32",
    "combine_type": "median",
    "combine_nhigh": 1,
    "driz_cr_snr": "4.0 3.0",
    "final_pixfrac": 0.8,
    "final_bits": "64,32",
    "final_wcs": True,
    "final_scale": 0.04,
    "final_rot": 10.0,
}
"""What a user changed in the parameter file that comes with DrizzlePac."""

_ONE_CALL: Final = """
import glob
from drizzlepac import astrodrizzle

files = sorted(glob.glob('*_flc.fits'))
astrodrizzle.AstroDrizzle(
    files, output='final', preserve=False, build=False, context=True, clean=False, num_cores=1,
    skymethod='localmin', driz_sep_bits='64,32', driz_cr_corr=True, driz_cr_snr='3.5 3.0',
    driz_cr_scale='1.5 0.7', final_bits='64,32', final_wht_type='EXP', final_pixfrac=0.8,
    final_scale=0.04, final_rot=0, final_kernel='gaussian',
)
"""
_TWO_CALLS: Final = """
from drizzlepac import astrodrizzle

common = dict(preserve=False, clean=False, num_cores=1, skymethod='localmin', in_memory=False)
astrodrizzle.AstroDrizzle('*_flc.fits', output='final', driz_combine=False, **common)
# The cosmic-ray masks of the first call are on disk; a second call makes the product.
astrodrizzle.AstroDrizzle(
    '*_flc.fits', output='final', resetbits=0, static=False, skysub=False, driz_separate=False, median=False,
    blot=False, driz_cr=False, final_wcs=True, final_scale=0.06, final_pixfrac=0.9, preserve=False,
    clean=False, num_cores=1,
)
"""
_CFG: Final = """
from drizzlepac import astrodrizzle

astrodrizzle.AstroDrizzle('*_flc.fits', configobj='mine.cfg')
"""
_PIPELINE: Final = """
import os

os.environ.update(
    jref=os.getcwd() + os.sep, ASTROMETRY_APPLY_APRIORI='off', ASTROMETRY_COMPUTE_APOSTERIORI='off',
)
from drizzlepac import runastrodriz

runastrodriz.process(
    'pipeline_asn.fits', force=True, force_alignment=True, align_to_gaia=False, num_cores=1,
    make_manifest=True,
)
"""
SCRIPTS: Final = {
    "one-call": _ONE_CALL,
    "two-calls": _TWO_CALLS,
    "cfg": _CFG,
    "cfg-command": _CFG,
    "pipeline": _PIPELINE,
}
"""The scripts by name. ``cfg-command``: mosaic takes the parameter file on its command line instead."""
