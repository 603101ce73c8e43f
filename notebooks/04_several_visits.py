# %% [markdown]
# # Several visits with different rolls
#
# Handbook, chapter 8, "Multiple visits". Three ACS/WFC exposures of a crowded field, turned and shifted
# against each other by unrecorded amounts, aligned with `rscale` and with `general`, then drizzled.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import mosaic
from mosaic.alignment.solution import frame_positions
from mosaic.options import RunOptions
from mosaic.simulate import simulate

folder = Path(tempfile.mkdtemp(prefix="visits-"))
made = simulate(
    folder / "in", exposures=3, pattern="line", chip_shape=(400, 800), n_stars=500, roll_deg=4.0,
    pointing_rms_arcsec=0.2, pointing_roll_rms_deg=0.06, seed=8,
)  # fmt: skip
files = [str(path) for path in made.files]
print(*files, sep="\n")

# %% [markdown]
# ## How many sources
# Too low a threshold finds cosmic rays and noise; the alignment gets slow and uncertain. A few hundred
# bright, unsaturated stars a chip are plenty.

# %%
for threshold in (4, 20, 100):  # in units of the noise
    result = mosaic.align(files, threshold=threshold, searchrad=1.5)
    print(f"threshold {threshold:4d}:", ", ".join(str(len(image)) for image in result.images), "sources")

# %% [markdown]
# ## Which geometry
# `rscale` solves for a shift, one rotation and one scale; `general` for six numbers. Where a visit is skewed
# the residuals of `general` are clearly smaller. Here they are the same: six numbers tell nothing that four
# do not, and `rscale` is preferred. `shift` alone is worse, because the rolls are wrong too: its residuals
# grow with the distance from the middle.

# %%
results = {}
for geometry in ("shift", "rscale", "general"):
    results[geometry] = mosaic.align(files, threshold=60, searchrad=1.5, fitgeometry=geometry)
    print(geometry)
    print(results[geometry].table()["file", "status", "n_used", "dx", "dy", "rotation", "rms_x", "rms_y"])

# %% [markdown]
# ## Residuals
# No pattern, and as wide as the centroids are uncertain: the fit is good.

# %%
fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", sharey=True)
for ax, (geometry, result) in zip(axes, results.items(), strict=True):
    for image, solution in zip(result.images[1:], result.solutions[1:], strict=True):
        found = frame_positions(result.frame, *image.sky())[solution.image_rows]
        residual = solution.fit.to_reference(found) - solution.reference_xy
        ax.plot(found[:, 1], residual[:, 0], ".", label=image.name[:9], alpha=0.7)
    ax.axhline(0, color="0.5", lw=0.7)
    ax.set(title=geometry, xlabel="y in the frame (px)", ylim=(-0.5, 0.5))
axes[0].set_ylabel("residual in x (px)")
axes[0].legend()
plt.show()

# %% [markdown]
# ## The mosaic
# The headers are updated only now, when the fit was found good; the old WCS stays as an alternate.

# %%
mosaic.align(files, threshold=60, searchrad=1.5, updatehdr=True).require_complete()
field = mosaic.open_mosaic(files, options=RunOptions(memory="2GiB", tile=256), skymethod="globalmin+match")
field.mosaic.plot()

# %%
field.mosaic.plot("wht")

# %%
centre = field.mosaic.wcs.pixel_to_world(*(side / 2 for side in reversed(field["sci"].shape)))
cut = field.mosaic.cutout(centre, 160).load()
cut.mosaic.plot()
