# %% [markdown]
# # Two cameras, two filters, one frame
#
# Handbook, chapter 8, "Mosaics". WFC3/IR and WFC3/UVIS exposures of one field are aligned to one catalogue
# and drizzled onto frames that fit together: the optical one has exactly half the scale of the infrared one.

# %%
from __future__ import annotations

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

import mosaic
from mosaic.compat import tweakreg
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from mosaic.simulate.photometry import StarSelection, compare_with_truth

folder = Path(tempfile.mkdtemp(prefix="filters-"))
errors = {"pointing_rms_arcsec": 0.15, "pointing_roll_rms_deg": 0.01, "n_stars": 220, "n_galaxies": 30}
made = {
    "IR": simulate(
        folder / "ir",
        instrument="wfc3/ir",
        exposures=4,
        chip_shape=(260, 260),
        program="tfi",
        seed=5,
        **errors,
    )
}
made["UVIS"] = simulate(
    folder / "uvis", instrument="wfc3/uvis", exposures=3, pattern="line", chip_shape=(400, 820),
    program="tfu", seed=6, sources=str(made["IR"].sources), **errors,
)  # fmt: skip
files = {name: [str(path) for path in simulated.files] for name, simulated in made.items()}
print({name: len(paths) for name, paths in files.items()}, "exposures")

# %% [markdown]
# ## A catalogue to align to
# For real data this is Gaia (see `06_absolute_catalogue.py`); here it is the list of the invented stars. The
# headers do not know that every pointing is wrong by some 0.15 arcsec.

# %%
truth = Table.read(made["IR"].sources)
stars = truth[truth["type"] == "star"]["ra", "dec", "mag_ab"]
stars.write(folder / "catalogue.ecsv", overwrite=True)
print(stars[:4])

# %% [markdown]
# ## Alignment
# First without `updatehdr`, as always: the fit is judged before anything is written. An existing script for
# DrizzlePac's TweakReg needs only another import line. It writes its log and tables where it is run.

# %%
os.chdir(folder)
finding = {
    "IR": {"threshold": 20, "conv_width": 2.5},
    "UVIS": {"threshold": 20, "conv_width": 3.5, "use_sharp_round": True},
}
common = {
    "refcat": str(folder / "catalogue.ecsv"), "searchrad": 1.0, "minobj": 8, "fitgeometry": "rscale",
    "see2dplot": False, "residplot": "No plot", "writecat": False,
}  # fmt: skip
fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
for ax, (name, paths) in zip(axes, files.items(), strict=True):
    result = tweakreg.TweakReg(paths, **common, **finding[name])
    for image, solution in zip(result.images, result.solutions, strict=True):
        (dx, dy), rms = solution.fit.offset_xy, np.hypot(*solution.fit.rms_xy)
        print(f"{image.name}: {solution.n_used:3d} stars, shift {dx:+6.2f} {dy:+6.2f} px, rms {rms:.3f} px")
        ax.plot(*solution.fit.residuals.T, ".", label=image.name[:9], alpha=0.7)
    ax.set(xlabel="residual in x (px)", ylabel="in y (px)", xlim=(-0.4, 0.4), ylim=(-0.4, 0.4), title=name)
    ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# Good: no pattern, a tenth of a pixel or less. Now it is written; the old WCS stays as an alternate.

# %%
for name, paths in files.items():
    done = tweakreg.TweakReg(paths, **common, **finding[name], updatehdr=True, wcsname="FIELD")
    print(name, "updated:", len(done.updated), "of", len(paths))

# %% [markdown]
# ## Frames that fit together
# The reference frame is fixed by hand: centre, scale and orientation. Half the scale and twice the size make
# four optical pixels of every infrared one.

# %%
options = RunOptions(memory="2GiB", tile=512)
centre = {"final_ra": 150.1, "final_dec": 2.2, "final_rot": 0.0, "skymethod": "globalmin+match"}
frames = {
    "IR": {**centre, "final_scale": 0.12, "final_outnx": 270, "final_outny": 270, "final_bits": "512"},
    "UVIS": {**centre, "final_scale": 0.06, "final_outnx": 540, "final_outny": 540, "final_bits": "64,16"},
}
products = {name: mosaic.open_mosaic(files[name], options=options, **frames[name]).load() for name in files}

fig, axes = plt.subplots(2, 2, figsize=(10, 9.4), layout="constrained")
for row, (name, product) in zip(axes, products.items(), strict=True):
    sci, wht = product["sci"].values, product["wht"].values
    noise = 1.4826 * np.nanmedian(np.abs(sci - np.nanmedian(sci)))
    row[0].imshow(np.arcsinh(sci / noise / 3), origin="lower", cmap="gray", vmin=-0.5, vmax=5)
    row[0].set_title(f"{name}: {product.mosaic.grid.scale_arcsec:.2f} arcsec")
    drawn = row[1].imshow(np.where(wht > 0, wht, np.nan), origin="lower", cmap="viridis")
    row[1].set_title("weight (s)")
    fig.colorbar(drawn, ax=row[1], shrink=0.8)
plt.show()

# %% [markdown]
# ## The two together
# The optical mosaic summed over 2 x 2 pixels lies on the infrared frame, so that colours can be formed.

# %%
red = products["IR"]
optical = products["UVIS"]["sci"].values.reshape(270, 2, 270, 2).sum(axis=(1, 3))
ratio = np.float32(np.nanpercentile(red["sci"], 99) / np.nanpercentile(optical, 99))
blue = red.assign(sci=(("y", "x"), optical * ratio))
green = red.assign(sci=(red["sci"] + blue["sci"]) / 2)
centre = SkyCoord(150.1, 2.2, unit="deg")
picture = red.mosaic.cutout(centre, 190).mosaic.rgb(
    green.mosaic.cutout(centre, 190), blue.mosaic.cutout(centre, 190), stretch=0.6
)
fig, ax = plt.subplots(figsize=(6.4, 6.4), layout="constrained")
ax.imshow(picture.values, origin="lower")
ax.set(title="red: infrared, blue: optical", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Both lie on one sky: the stars of one list are found in both at the same places.

# %%
for name, product in products.items():
    planes = (product["sci"].values, product["wht"].values, product.mosaic.wcs.to_header())
    found = compare_with_truth(planes, made[name].sources, StarSelection(radius_px=5.0, min_rate_e_s=10.0))
    print(
        f"{name:4s} {found.n_stars} stars, off by {found.median_offset_x_px:+.3f} "
        f"{found.median_offset_y_px:+.3f} px, flux / true flux {found.median_flux_ratio:.3f}"
    )
