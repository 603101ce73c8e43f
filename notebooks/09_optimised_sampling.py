# %% [markdown]
# # Scale and pixfrac
#
# Handbook, chapter 8, "Optimised sampling". Four undersampled WFC3/IR exposures in a box dither: how small
# may the output pixels be, and how far may the drops shrink? Everything before the final drizzle (sky,
# median, cosmic rays) is done once for all combinations tried.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

import mosaic
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from mosaic.simulate.photometry import centroids

folder = Path(tempfile.mkdtemp(prefix="sampling-"))
made = simulate(
    folder / "in", instrument="wfc3/ir", exposures=4, pattern="box4", chip_shape=(200, 200), n_stars=60,
    n_galaxies=60, seed=15,
)  # fmt: skip
files = [str(path) for path in made.files]

# %% [markdown]
# ## The dither
# Only the fraction of a pixel matters for the sampling. The four exposures should lie in four different
# quarters of the pixel.

# %%
options = RunOptions(memory="2GiB", tile=256)
native = mosaic.open_mosaic(files, options=options, final_bits="512,64", final_scale=0.1283)
outlines = native.mosaic.footprints()
middle_x, middle_y = outlines["x"].mean(axis=1), outlines["y"].mean(axis=1)
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for row in outlines:
    axes[0].plot(np.append(row["x"], row["x"][0]), np.append(row["y"], row["y"][0]), lw=1)
axes[0].set(title="footprints", xlabel="x (px)", ylabel="y (px)", aspect="equal")
axes[1].plot((middle_x - middle_x[0]) % 1, (middle_y - middle_y[0]) % 1, "o", ms=12)
axes[1].set(title="phases", xlabel="fraction of a pixel in x", ylabel="in y", aspect="equal")
axes[1].set(xlim=(-0.05, 1), ylim=(-0.05, 1), xticks=(0, 0.25, 0.5, 0.75), yticks=(0, 0.25, 0.5, 0.75))
axes[1].grid(alpha=0.5)
plt.show()

# %% [markdown]
# ## Native scale, and half of it
# `scan` opens the same field, here a cut-out that all exposures cover, once for every combination; nothing is
# computed before it is looked at.

# %%
middle = native.mosaic.wcs.pixel_to_world(*(side / 2 for side in reversed(native["sci"].shape)))
field = native.mosaic.cutout(middle, 22 * u.arcsec)
coarse, fine = (
    field.mosaic.scan(final_scale=[scale], final_pixfrac=[pixfrac])[0].load()
    for scale, pixfrac in ((0.1283, 1.0), (0.065, 0.8))
)
stars = Table.read(made.sources)
stars = stars[(stars["type"] == "star") & (stars["rate_e_s"] > 40)]
sky = SkyCoord(stars["ra"], stars["dec"], unit="deg")
chosen = sky[np.argmin(sky.separation(middle))]
fig, axes = plt.subplots(1, 2, figsize=(10, 5.4), layout="constrained")
for ax, dataset, title in ((axes[0], coarse, "0.1283 arcsec, 1.0"), (axes[1], fine, "0.065 arcsec, 0.8")):
    cut = dataset.mosaic.cutout(chosen, 9 * u.arcsec)["sci"].values
    # As surface brightness, whatever the pixel.
    cut = cut / dataset.mosaic.grid.scale_arcsec**2
    ax.imshow(np.arcsinh(cut / 20), origin="lower", cmap="gray", vmin=-0.5, vmax=4.5)
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## How small may the drops be?
# Two numbers for every pixfrac: the scatter of the weight over its median, which the Handbook wants below
# 0.2, and the width of the stars. Where the scatter bends up, drops begin to miss pixels.

# %%
pixfracs = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
scan = [dataset.load() for dataset in field.mosaic.scan(final_scale=[0.065], final_pixfrac=pixfracs)]


def full_width(sci: np.ndarray, x: float, y: float) -> float:
    """Full width at half maximum of a star from its light within two pixels and within six."""
    rows, columns = np.indices(sci.shape)
    distance = np.hypot(columns - x, rows - y)
    near = distance < 6
    sky_level = np.nanmedian(sci[(distance > 12) & (distance < 18)])
    order = np.argsort(distance[near])
    light = np.cumsum(np.nan_to_num(sci[near][order] - sky_level))
    # Half of the light of a Gaussian lies within half of its full width.
    return 2.0 * float(np.interp(0.5 * light[-1], light, distance[near][order]))


scatter, widths = [], []
for dataset in scan:
    wht = dataset["wht"].values
    scatter.append(float(np.std(wht) / np.median(wht)))
    x, y = dataset.mosaic.wcs.world_to_pixel(sky)
    inside = (x > 20) & (x < wht.shape[1] - 20) & (y > 20) & (y < wht.shape[0] - 20)
    places = centroids(dataset["sci"].values, x[inside], y[inside], 1.5)
    sizes = [full_width(dataset["sci"].values, *place) for place in places if np.isfinite(place).all()]
    widths.append(float(np.median(sizes)) * 0.065)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
axes[0].plot(pixfracs, scatter, "o-")
axes[0].axhline(0.2, color="0.4", ls="--", lw=1)
axes[0].set(xlabel="final_pixfrac", ylabel="rms / median of the weight", yscale="log")
axes[1].plot(pixfracs, widths, "o-", color="tab:orange")
axes[1].set(xlabel="final_pixfrac", ylabel="width of stars (arcsec)")
plt.show()

# %%
fig, axes = plt.subplots(2, 4, figsize=(12, 6.4), layout="constrained")
for column, pixfrac in enumerate((0.1, 0.4, 0.6, 1.0)):
    cut = scan[pixfracs.index(pixfrac)].mosaic.cutout(chosen, 4 * u.arcsec)
    axes[0, column].imshow(np.arcsinh(cut["sci"].values / 0.1), origin="lower", cmap="gray", vmin=-1, vmax=5)
    axes[0, column].set_title(f"pixfrac {pixfrac}")
    axes[1, column].imshow(cut["wht"].values, origin="lower", cmap="viridis", vmin=0)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## The choice
# The smallest pixfrac whose weight is still even; narrower stars below it are paid for with holes.

# %%
even = [pixfrac for pixfrac, value in zip(pixfracs, scatter, strict=True) if value < 0.2]
for pixfrac, value, width in zip(pixfracs, scatter, widths, strict=True):
    mark = "  <- smallest below 0.2" if even and pixfrac == min(even) else ""
    print(f"pixfrac {pixfrac:.1f}  rms/median {value:6.3f}  width {width:.3f} arcsec{mark}")
