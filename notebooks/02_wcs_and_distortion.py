# %% [markdown]
# # What an exposure knows about its place on the sky
#
# Handbook, chapter 8, "Initialization". A calibrated exposure carries its whole distortion model in its
# headers: a polynomial (SIP), look-up tables (NPOL, D2IM), and often several solutions for its pointing. This
# notebook reads them, shows what the distortion does, and says when the WCS has to be derived anew.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

import mosaic
from mosaic.exposure.catalogue import read_catalogue
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.simulate import simulate
from mosaic.solutions.listing import list_solutions

folder = Path(tempfile.mkdtemp(prefix="wcs-"))
my_files: list[str] = []  # your own exposures; empty: two simulated ones, the second turned by 90 degrees
simulated = simulate(
    folder / "in", exposures=2, roll_deg=90.0, chip_shape=(256, 512), n_stars=400, cosmic_rays=False, seed=3
)
files = my_files or [str(path) for path in simulated.files]

# %% [markdown]
# ## The solutions in a file
# The same list as `mosaic wcs list FILE`: the primary WCS first, then alternates and headerlets.

# %%
for solution in list_solutions(files[0]):
    print(f"{solution.source:10s} {solution.key:2s} {solution.wcsname:16s} distortion {solution.distname}")

# %%
with fits.open(files[0]) as hdul:
    header = hdul["SCI", 1].header
    for keyword in ("CTYPE1", "CRVAL1", "CRVAL2", "ORIENTAT", "IDCSCALE", "A_ORDER", "CPDIS1", "D2IMDIS1"):
        print(f"{keyword:10s} {header.get(keyword, '-')}")

# %% [markdown]
# ## What the distortion does
# Every chip has a model that maps its pixels to the sky. The arrows show, many times enlarged, how far from
# its place each pixel would be taken to be without it.

# %%
exposures = read_catalogue(files, load_settings(), "stop", folder).exposures
fig, axes = plt.subplots(2, 1, figsize=(9, 8), layout="constrained", sharex=True)
for ax, chip in zip(axes, reversed(exposures[0].chips), strict=True):
    ny, nx = chip.shape_yx
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 17), np.linspace(0, ny - 1, 9)))
    (ra, dec), (ra0, dec0) = chip.wcs.pixel_to_sky(x, y), chip.wcs.without_distortion().pixel_to_sky(x, y)
    east = (ra - ra0) * np.cos(np.deg2rad(dec)) * 3600 / chip.idcscale_arcsec
    north = (dec - dec0) * 3600 / chip.idcscale_arcsec
    # From east and north to the axes of the chip.
    angle = np.deg2rad(header["ORIENTAT"])
    dx = -east * np.cos(angle) + north * np.sin(angle)
    dy = east * np.sin(angle) + north * np.cos(angle)
    arrows = ax.quiver(x, y, dx, dy, np.hypot(dx, dy), angles="xy", cmap="plasma", scale=90, width=0.003)
    ax.set_title(f"{chip.name}: up to {np.hypot(dx, dy).max():.1f} px")
    ax.set_ylabel("y (px)")
    fig.colorbar(arrows, ax=ax, label="displacement (px)")
axes[-1].set_xlabel("x (px)")
plt.show()

# %% [markdown]
# ## With and without
# `coeffs=False` drizzles as if there were no distortion. The second exposure is turned, so that the error of
# a star is different in it: away from the middle every star appears twice. One corner, both ways:

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for ax, coeffs in zip(axes, (True, False), strict=True):
    rejection = {"driz_cr": False, "median": False, "blot": False}
    field = mosaic.open_mosaic(files, options=RunOptions(memory="2GiB"), coeffs=coeffs, **rejection)
    place = exposures[0].chips[0].wcs.pixel_to_sky(np.array([80.0]), np.array([90.0]))
    corner = field.mosaic.cutout(SkyCoord(*place, unit="deg")[0], 6 * u.arcsec)
    sci = corner["sci"].values
    ax.imshow(np.arcsinh(sci / 0.15), origin="lower", cmap="gray", vmin=-0.5, vmax=4)
    ax.set(title=f"coeffs={coeffs}", xticks=[], yticks=[], facecolor="0.2")
    field.close()
plt.show()

# %% [markdown]
# ## When to derive the WCS anew
# Exposures from the archive need nothing. Old or recalibrated ones, whose headers lack the tables named in
# IDCTAB, NPOLFILE and D2IMFILE, do: with the reference files in place (`iref`, `jref`, `uref` in the
# environment) `-p updatewcs=true` derives it on copies, without asking the network, and
# `pip install 'mosaic-hst[updatewcs]'` brings what it needs.

# %%
with fits.open(files[0]) as hdul:
    for keyword in ("IDCTAB", "NPOLFILE", "D2IMFILE"):
        print(f"{keyword:10s} {hdul[0].header.get(keyword, '-')}")
