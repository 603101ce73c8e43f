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
from mosaic.align.run import align
from mosaic.align.settings import load_align_settings
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
# As in the Handbook: a low threshold with a narrow kernel, a wider kernel, and shape limits that throw out what
# is sharper than a star.

# %%
attempts = {
    "threshold 8": {"threshold": 8, "conv_width": 3.5},
    "wider kernel": {"threshold": 8, "conv_width": 5.0},
    "shapes": {"threshold": 8, "conv_width": 3.5, "use_sharp_round": True, "sharphi": 0.8},
}
truth = Table.read(made.pointing)
results = {}
for name, chosen in attempts.items():
    parameters = load_align_settings(
        keywords={**chosen, "searchrad": 1.0, "minobj": 6, "fitgeometry": "shift", "clean": True}
    )
    results[name] = align(files, parameters, folder=folder / name.replace(" ", "_"))
    print(name)
    for image, solution in zip(results[name].images, results[name].solutions, strict=True):
        rms = np.hypot(*solution.fit.rms_xy)
        print(f"   {image.name:22s} {len(image):5d} sources, {solution.n_used:3d} matched, rms {rms:.3f} px, {solution.status}")
        if solution.reason:
            print(f"      {solution.reason}")

# %% [markdown]
# ## Against the truth
# The simulator knows by how much each pointing is wrong.

# %%
print(truth.colnames)
result = results["shapes"]
fig, ax = plt.subplots(figsize=(5, 4), layout="constrained")
for image, solution in zip(result.images, result.solutions, strict=True):
    ax.plot(*solution.fit.offset_xy, "o", label=f"{image.name[:9]} ({solution.n_used})")
ax.set(xlabel="shift in x (px)", ylabel="shift in y (px)", title="found")
ax.legend()
plt.show()

# %% [markdown]
# ## When there are too few stars in single exposures
# Combine the exposures of each pointing first and align the products: `mosaic tweakback` carries the
# correction of a product back to its exposures.
#
# ## The mosaic

# %%
if result.is_complete:
    parameters = load_align_settings(
        keywords={**attempts["shapes"], "searchrad": 1.0, "minobj": 6, "fitgeometry": "shift", "updatehdr": True, "clean": True}
    )
    align(files, parameters, folder=folder)
field = mosaic.open_mosaic(files, options=RunOptions(memory="2GiB", tile=256))
field.mosaic.plot()

# %% [markdown]
# How many pixels cosmic rays struck, and how many were found:

# %%
for path, struck in zip(files, made.cosmic_rays, strict=True):
    charge = read_cosmic_rays(struck)
    n_struck = sum(int((image > 0).sum()) for image in charge.values())
    print(f"{Path(path).name}: {n_struck} of {sum(image.size for image in charge.values())} pixels struck")
