# %% [markdown]
# # What an exposure knows about its place on the sky
#
# Handbook, chapter 8, "Initialization". A calibrated exposure carries its whole distortion model in its headers:
# a polynomial (SIP), look-up tables (NPOL, D2IM), and often several solutions for its pointing. This notebook
# reads them, shows what the distortion does, and says when the WCS has to be derived anew.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

import mosaic
from mosaic.exposure.catalogue import read_catalogue
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.simulate import simulate
from mosaic.solutions.listing import list_solutions

folder = Path(tempfile.mkdtemp(prefix="wcs-"))
my_files: list[str] = []  # your own exposures; empty: simulated ones
files = my_files or [
    str(path) for path in simulate(folder / "in", exposures=2, chip_shape=(256, 512), seed=3).files
]

# %% [markdown]
# ## The solutions in a file
# The same list as `mosaic wcs list FILE`: the primary WCS first, then alternates and headerlets.

# %%
for solution in list_solutions(files[0]):
    print(f"{solution.source:10s} {solution.key:2s} {solution.wcsname:30s} distortion {solution.distname}")

# %%
with fits.open(files[0]) as hdul:
    header = hdul["SCI", 1].header
    for keyword in ("CTYPE1", "CRVAL1", "CRVAL2", "ORIENTAT", "IDCSCALE", "A_ORDER", "CPDIS1", "D2IMDIS1"):
        print(f"{keyword:10s} {header.get(keyword, '-')}")

# %% [markdown]
# ## What the distortion does
# Every chip has a model that maps its pixels to the sky. Without its distortion the same pixels would lie
# many pixels away: the arrows show by how much, hundred times enlarged where they are short.

# %%
settings = load_settings()
(exposure, *_others) = read_catalogue(files, settings, "stop", folder).exposures
fig, axes = plt.subplots(1, len(exposure.chips), figsize=(11, 3.2), layout="constrained")
for ax, chip in zip(np.atleast_1d(axes), exposure.chips, strict=True):
    ny, nx = chip.shape_yx
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 13), np.linspace(0, ny - 1, 9)))
    linear = chip.wcs.without_distortion()
    (ra, dec), (ra0, dec0) = chip.wcs.pixel_to_sky(x, y), linear.pixel_to_sky(x, y)
    dx = (ra - ra0) * np.cos(np.deg2rad(dec)) * 3600 / chip.idcscale_arcsec
    dy = (dec - dec0) * 3600 / chip.idcscale_arcsec
    arrows = ax.quiver(x, y, dx, dy, np.hypot(dx, dy), angles="xy", cmap="viridis")
    ax.set_title(f"{chip.name}: up to {np.hypot(dx, dy).max():.1f} px")
    fig.colorbar(arrows, ax=ax, label="px")
plt.show()

# %% [markdown]
# ## With and without
# `coeffs=False` drizzles as if there were no distortion: stars of the two exposures no longer fall on one
# another away from the reference pixel.

# %%
options = RunOptions(memory="2GiB", tile=256)
fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, coeffs in zip(axes, (True, False), strict=True):
    field = mosaic.open_mosaic(files, options=options, coeffs=coeffs, driz_cr=False, median=False, blot=False)
    sci = field["sci"].values
    low, high = np.nanpercentile(sci, [10, 99.5])
    ax.imshow(sci, origin="lower", cmap="gray", vmin=low, vmax=high)
    ax.set_title(f"coeffs={coeffs}: {sci.shape[1]} x {sci.shape[0]}")
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
