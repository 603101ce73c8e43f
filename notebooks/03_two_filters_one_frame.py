# %% [markdown]
# # Two cameras, two filters, one frame
#
# Handbook, chapter 8, "Mosaics". WFC3/IR and WFC3/UVIS exposures of one field are aligned to one catalogue and
# drizzled onto frames that fit together: the optical one has exactly half the scale of the infrared one.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

import mosaic
from mosaic.compat import tweakreg
from mosaic.options import RunOptions
from mosaic.simulate import simulate

folder = Path(tempfile.mkdtemp(prefix="filters-"))
errors = {"pointing_rms_arcsec": 0.15, "pointing_roll_rms_deg": 0.01, "n_stars": 160}
ir = simulate(folder / "ir", instrument="wfc3/ir", chip_shape=(300, 300), seed=5, program="tfi", **errors)
uvis = simulate(
    folder / "uvis", instrument="wfc3/uvis", chip_shape=(420, 860), seed=6, program="tfu",
    sources=str(ir.sources), **errors,
)  # fmt: skip
print(len(ir.files), "IR and", len(uvis.files), "UVIS exposures")

# %% [markdown]
# ## A catalogue to align to
# For real data this is Gaia; here it is the list of the invented stars. The exposures do not know that their
# pointings are wrong by 0.15 arcsec.

# %%
truth = Table.read(ir.sources)
stars = truth[truth["type"] == "star"]["ra", "dec", "mag_ab"]
stars.write(folder / "catalogue.ecsv", overwrite=True)
print(len(stars), "stars, for example")
print(stars[:3])

# %%
shifts = {}
for name, made, threshold, width in (("IR", ir, 20, 2.5), ("UVIS", uvis, 20, 3.5)):
    result = tweakreg.TweakReg(
        [str(path) for path in made.files], refcat=str(folder / "catalogue.ecsv"), threshold=threshold,
        conv_width=width, searchrad=1.0, minobj=8, fitgeometry="rscale", updatehdr=True, wcsname="TWEAK",
        see2dplot=False, residplot="No plot", runfile=str(folder / f"{name}.log"), clean=True,
        outshifts=str(folder / "shifts.txt"),
    )  # fmt: skip
    shifts[name] = result.solutions
    for solution in result.solutions:
        dx, dy = solution.fit.offset_xy
        rms = np.hypot(*solution.fit.rms_xy)
        print(f"{name:4s} {solution.status:9s} {solution.n_used:3d} stars  shift {dx:+6.2f} {dy:+6.2f} px  rms {rms:.3f}")

# %% [markdown]
# ## Frames that fit together
# The reference frame is fixed by hand: centre, scale and orientation. Half the scale and twice the size make
# four optical pixels of every infrared one.

# %%
options = RunOptions(memory="2GiB", tile=256)
centre = {"final_ra": 150.1, "final_dec": 2.2, "final_rot": 0.0}
frames = {
    "IR": {**centre, "final_scale": 0.12, "final_outnx": 300, "final_outny": 300},
    "UVIS": {**centre, "final_scale": 0.06, "final_outnx": 600, "final_outny": 600},
}
products = {}
for name, made in (("IR", ir), ("UVIS", uvis)):
    products[name] = mosaic.open_mosaic([str(p) for p in made.files], options=options, **frames[name]).load()

fig, axes = plt.subplots(2, 2, figsize=(10, 10), layout="constrained")
for row, (name, product) in zip(axes, products.items(), strict=True):
    sci, wht = product["sci"].values, product["wht"].values
    low, high = np.nanpercentile(sci, [20, 99.7])
    row[0].imshow(np.arcsinh((sci - low) / (high - low) * 5), origin="lower", cmap="gray", vmin=0, vmax=2.5)
    row[0].set_title(f"{name}: {product.mosaic.grid.scale_arcsec} arcsec")
    drawn = row[1].imshow(np.where(wht > 0, wht, np.nan), origin="lower", cmap="viridis")
    row[1].set_title("weight (s)")
    fig.colorbar(drawn, ax=row[1], shrink=0.8)
plt.show()

# %% [markdown]
# ## The two together
# The optical mosaic averaged over 2 x 2 pixels lies on the infrared frame, so that colours can be formed.

# %%
binned = products["UVIS"]["sci"].values.reshape(300, 2, 300, 2).sum(axis=(1, 3)).astype(np.float32)
red = products["IR"]
blue = red.assign(sci=(("y", "x"), binned * np.float32(np.nanstd(red["sci"]) / max(np.nanstd(binned), 1e-9))))
green = red.assign(sci=(red["sci"] + blue["sci"]) / 2)
picture = red.mosaic.rgb(green, blue)
fig, ax = plt.subplots(figsize=(6, 6), layout="constrained")
ax.imshow(picture.values, origin="lower")
ax.set_title("red: infrared, blue: optical")
plt.show()

# %% [markdown]
# Both lie on one sky: the stars of one list are found in both at the same places.

# %%
from mosaic.simulate.photometry import StarSelection, compare_with_truth  # noqa: E402

for name, product in products.items():
    planes = (product["sci"].values, product["wht"].values, product.mosaic.wcs.to_header())
    report = compare_with_truth(planes, ir.sources, StarSelection(radius_px=6.0, min_rate_e_s=5.0))
    print(name, report)
