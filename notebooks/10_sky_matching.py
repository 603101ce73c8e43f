# %% [markdown]
# # Matching the sky
#
# Handbook, chapter 8, "Sky matching". A nebula fills a row of three fields. Where there is no blank sky, a
# sky value measured in each exposure contains the nebula, and subtracting it tears the nebula apart at the
# edges of the fields. The four values of `skymethod`, compared with the truth.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

import mosaic
from mosaic.options import RunOptions
from mosaic.simulate import simulate

folder = Path(tempfile.mkdtemp(prefix="sky-"))
made = simulate(
    folder / "in", instrument="wfc3/ir", exposures=2, pattern="mosaic:3x1", chip_shape=(160, 160),
    n_stars=250, n_galaxies=20, sky_scatter=0.35, seed=16,
)  # fmt: skip
files = [str(path) for path in made.files]

# %% [markdown]
# ## A nebula
# Painted into the calibrated exposures by its place on the sky, with the noise of its light: a bright bank at
# one end of the row with a dark lane in it, which fades towards the other end.

# %%
rng = np.random.default_rng(16)
angle = np.deg2rad(fits.getval(files[0], "ORIENTAT", ext=("SCI", 1)))


def nebula(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Surface brightness, electron/s per pixel."""
    # Arcsec along and across the row of fields.
    east, north = (ra - 150.1) * np.cos(np.deg2rad(dec)) * 3600, (dec - 2.2) * 3600
    along = north * np.sin(angle) - east * np.cos(angle)
    across = east * np.sin(angle) + north * np.cos(angle)
    bank = 1.6 / (1.0 + np.exp((along + 4.0 * np.sin(across / 5.0)) / 8.0))
    lane = 1.0 - 0.7 * np.exp(-(((along + 14.0 - 0.4 * across) / 2.5) ** 2))
    return bank * lane


for path in files:
    with fits.open(path, mode="update") as hdul:
        sci, seconds = hdul["SCI", 1].data, hdul[0].header["EXPTIME"]
        y, x = np.indices(sci.shape)
        light = nebula(*WCS(hdul["SCI", 1].header, hdul).all_pix2world(x, y, 0))
        sci += (rng.poisson(light * seconds) / seconds).astype(sci.dtype)

# %% [markdown]
# ## Four mosaics
# Batch runs this time, because the product's HDRTAB tells which sky was subtracted from which exposure
# (MDRIZSKY). A run into its own folder each.

# %%
options = RunOptions(memory="2GiB", tile=256)
methods = ("localmin", "match", "globalmin+match", "globalmin")
truth = Table.read(made.sky)
table = Table({"rootname": truth["rootname"], "true": truth["sky_native"]})
images = {}
for method in methods:
    result = mosaic.drizzle(
        files, str(folder / method.replace("+", "_")), options=options, build=True, skymethod=method,
        final_bits="512,64", driz_sep_bits="512,64", runfile="",
    )  # fmt: skip
    with fits.open(result.products[0]) as hdul:
        images[method] = hdul["SCI"].data.copy()
        rows = Table(hdul["HDRTAB"].data)
    values = {str(row["ROOTNAME"]).strip().lower(): float(row["MDRIZSKY"]) for row in rows}
    table[method] = [values[str(root)] for root in table["rootname"]]
for name in table.colnames[1:]:
    table[name].format = ".4f"
print(table)

# %% [markdown]
# `globalmin` takes the same value from all exposures. `localmin` takes from each what it sees, nebula
# included. `match` takes only differences, measured where exposures overlap, so that one value is zero. Their
# sum, `globalmin+match`, follows the true sky up to one constant: the nebula in the emptiest exposure.

# %%
fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for name in table.colnames[1:]:
    style = {"color": "k", "lw": 3, "alpha": 0.35} if name == "true" else {"marker": "o", "lw": 1}
    ax.plot(table["rootname"], table[name], label=name, **style)
ax.set(ylabel="MDRIZSKY (electron/s)", xlabel="exposure")
ax.legend(fontsize=8)
plt.show()

# %%
fig, axes = plt.subplots(2, 2, figsize=(11, 4.4), layout="constrained")
for ax, (method, image) in zip(axes.flat, images.items(), strict=True):
    low, high = np.nanpercentile(image, [1, 97])
    ax.imshow(image, origin="lower", cmap="inferno", vmin=low, vmax=high)
    ax.set(title=method, xticks=[], yticks=[], facecolor="0.85")
plt.show()

# %% [markdown]
# ## Seams
# The level along the row of fields, with what was really there.

# %%
with fits.open(result.products[0]) as hdul:
    wcs = WCS(hdul["SCI"].header)
shape = images["match"].shape
rows = slice(shape[0] // 2 - 25, shape[0] // 2 + 25)
y, x = np.indices(shape)
expected = nebula(*wcs.all_pix2world(x, y, 0))
expected[np.isnan(images["match"])] = np.nan
fig, ax = plt.subplots(figsize=(9, 4.4), layout="constrained")
ax.plot(np.nanmedian(expected[rows], axis=0), "k", lw=4, alpha=0.3, label="nebula")
for method, image in images.items():
    difference = np.nanmedian(image[rows] - expected[rows], axis=0)
    ax.plot(np.nanmedian(image[rows], axis=0), lw=1, label=f"{method}: off by {np.nanstd(difference):.3f}")
ax.set(xlabel="x (px)", ylabel="electron/s", ylim=(-1.2, 3.0))
ax.legend(fontsize=8)
plt.show()
