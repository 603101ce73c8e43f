# %% [markdown]
# # A sparse field full of cosmic rays
#
# Handbook, chapter 8, "Sparse fields". Few stars, many cosmic rays: a match can be plausible and wrong. The
# alignment looks at the height of its histogram peak, refuses what is no more than chance, and says why.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

import mosaic
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from mosaic.simulate.files import read_cosmic_rays

folder = Path(tempfile.mkdtemp(prefix="sparse-"))
made = simulate(
    folder / "in", exposures=4, chip_shape=(400, 800), n_stars=45, n_galaxies=25, exptime_s=1200.0,
    pointing_rms_arcsec=0.1, star_rate_range=(5.0, 800.0), seed=9,
)  # fmt: skip
files = [str(path) for path in made.files]

# %% [markdown]
# ## Three attempts
# As in the Handbook: a narrow kernel, a wider kernel, and shape limits that throw out what is sharper than a
# star. Why an image was refused is logged as a warning. Nothing is written to the headers yet.

# %%
attempts = {
    "narrow kernel": {"threshold": 8, "conv_width": 3.5},
    "wide kernel": {"threshold": 8, "conv_width": 5.0},
    "limits of shape": {"threshold": 8, "conv_width": 3.5, "use_sharp_round": True, "sharphi": 0.8},
}
common = {"searchrad": 1.0, "minobj": 6, "fitgeometry": "shift"}
results = {}
for name, chosen in attempts.items():
    result = mosaic.align(files, **common, **chosen)
    results[name] = result
    print(name)
    for image, solution in zip(result.images, result.solutions, strict=True):
        rms = np.hypot(*solution.fit.rms_xy)
        print(f"   {image.name} {len(image):4d} sources: {solution.status}", end="")
        print(f", {solution.n_used} matched, rms {rms:.3f} px" if solution.n_used else "")

# %% [markdown]
# ## Against the truth
# The simulator knows by how much each pointing is wrong. What was refused has its full error still; what was
# fitted to stars and cosmic rays together is several times worse than what was fitted to stars.

# %%
truth = Table.read(made.pointing)
wrong = np.stack([truth["shift_east_arcsec"], truth["shift_north_arcsec"]], axis=1)
expected = wrong[0] - wrong
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for number, (name, result) in enumerate(results.items()):
    cd = np.array(result.frame.cd) * 3600.0
    found = np.array([cd @ solution.fit.offset_xy for solution in result.solutions])
    left = np.hypot(*(found - expected).T) / result.frame.scale_arcsec
    places = np.arange(1, len(files)) + 0.25 * (number - 1)
    bars = ax.bar(places, left[1:], width=0.22, label=name)
    for bar, solution in zip(bars, result.solutions[1:], strict=True):
        bar.set_hatch("" if solution.is_good else "///")
    print(f"{name:16s}", "  ".join(f"{value:6.3f}" for value in left[1:]), "px")
ax.axhline(0.1, color="0.4", lw=0.8, ls="--")
ax.set(
    yscale="log", ylim=(0.001, 60), ylabel="error left (px)", xticks=range(1, len(files)),
    xticklabels=[Path(path).name[:9] for path in files[1:]],
    title="hatched: refused. The rejection of cosmic rays needs 0.1 px",
)  # fmt: skip
ax.legend(ncols=3)
plt.show()

# %% [markdown]
# ## When there are too few stars in single exposures
# Combine the exposures of each pointing first and align the products: `mosaic tweakback` carries the
# correction of a product back to its exposures.
#
# ## The mosaic

# %%
aligned = mosaic.align(files, **common, **attempts["limits of shape"], updatehdr=True)
print("updated:", len(aligned.updated))
field = mosaic.open_mosaic(files, options=RunOptions(memory="2GiB", tile=512))
field.mosaic.plot()

# %% [markdown]
# One exposure beside the mosaic, in one cut-out: every thirtieth pixel was struck, nothing is left.

# %%
rejection = {"driz_cr": False, "median": False, "blot": False}
single = mosaic.open_mosaic(
    files[:1], options=RunOptions(memory="2GiB", tile=512), final_refimage=files[0] + "[sci,1]", **rejection
)
centre = field.mosaic.wcs.pixel_to_world(280, 150)
fig, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
for ax, dataset, title in ((axes[0], single, "one exposure"), (axes[1], field, "four exposures")):
    sci = dataset.mosaic.cutout(centre, 180)["sci"].values
    ax.imshow(np.arcsinh(sci / 0.03), origin="lower", cmap="gray", vmin=-0.5, vmax=5)
    ax.set(title=title, xticks=[], yticks=[])
plt.show()
for path, struck in zip(files, made.cosmic_rays, strict=True):
    charges = read_cosmic_rays(struck).values()
    print(f"{Path(path).name}: {np.mean([image > 0 for image in charges]):.2%} of the pixels struck")
