# %% [markdown]
# # DS9 regions and the alignment
#
# Handbook, chapter 8, "DS9 regions". `exclusions` says where sources may be looked for: a list with one
# region file per chip. A minus before a shape excludes it; a shape without one limits the search to itself.
# Shapes act in the order of the file.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

import mosaic
from mosaic.alignment.exclusions import region_mask
from mosaic.compat.mapreg import MapReg
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from mosaic.types import ShapeYX

folder = Path(tempfile.mkdtemp(prefix="regions-"))
made = simulate(
    folder / "in", exposures=2, pattern="line", chip_shape=(400, 800), n_stars=500, pointing_rms_arcsec=0.1,
    seed=17,
)  # fmt: skip
files = [str(path) for path in made.files]

# %% [markdown]
# ## Four region files
# For the first chip, in its own pixels as DS9 writes them. The second chip gets none.

# %%
shapes = {
    "exclude": "-polygon(60,40,260,30,300,180,90,220)\n-ellipse(600,290,130,60,30)\n-circle(420,120,60)",
    "include": "box(220,200,300,260,20)\ncircle(620,200,110)",
    "include, then exclude": "box(400,200,640,300,0)\n-circle(400,200,110)",
    "exclude, then include": "-circle(400,200,110)\nbox(400,200,640,300,0)",
}
lists = {"no regions": ""}
for name, text in shapes.items():
    stem = name.replace(", then ", "_")
    (folder / f"{stem}.reg").write_text(f"# Region file format: DS9\nimage\n{text}\n")
    (folder / f"{stem}.txt").write_text("".join(f"{Path(path).name} {stem}.reg None\n" for path in files))
    lists[name] = str(folder / f"{stem}.txt")
print((folder / "exclude.txt").read_text())

# %% [markdown]
# ## Sources with each of them
# The catalogue is what `mosaic align` finds without updating anything. Shaded: where it did not look. In the
# last two the order decides: the box put back what the circle had taken.

# %%
common = {"threshold": 40, "conv_width": 3.5, "use_sharp_round": True}
with fits.open(files[0]) as hdul:
    sci = hdul["SCI", 1].data
sky, noise = np.median(sci), 1.4826 * np.median(np.abs(sci - np.median(sci)))
fig, axes = plt.subplots(3, 2, figsize=(11, 8.6), layout="constrained")
for ax, (name, exclusions) in zip(axes.flat, lists.items(), strict=False):
    result = mosaic.align(files, **common, exclusions=exclusions)
    first, second = result.images[0].chips
    ax.imshow(np.arcsinh((sci - sky) / noise / 2), origin="lower", cmap="gray", vmin=-1, vmax=5)
    if exclusions:
        mask, _ignored = region_mask(Path(exclusions).with_suffix(".reg"), ShapeYX(*sci.shape), None)
        ax.imshow(np.ma.masked_equal(mask, True), origin="lower", cmap="cool", alpha=0.3)
    ax.plot(first.sources.x, first.sources.y, "o", mfc="none", mec="tab:orange", ms=6, mew=0.8)
    ax.set(title=f"{name}: {len(first.sources)} sources", xticks=[], yticks=[])
    print(f"{name:22s} [sci,1] {len(first.sources):4d}, [sci,2] {len(second.sources):4d} sources,", end=" ")
    print(f"{result.solutions[1].status}, {result.solutions[1].n_used} matched")
axes.flat[-1].axis("off")
plt.show()

# %% [markdown]
# ## One region for all chips
# Draw it once on the sky: `mosaic mapreg` finds the chips it lies on and writes a file for each, and the list
# for `exclusions`.

# %%
(folder / "sky.reg").write_text('fk5\n-circle(150.1,2.2,8")\n')
(folder / "mapped").mkdir()
for mapped in MapReg(
    str(folder / "sky.reg"), files, outpath=str(folder / "mapped"), catfname="exclusions.txt"
):
    print(f"{mapped.image.name}[{mapped.extension}] {mapped.n_regions} region: {mapped.path.name}")
print((folder / "mapped" / "exclusions.txt").read_text())

# %%
exclusions = str(folder / "mapped" / "exclusions.txt")
result = mosaic.align(files, **common, exclusions=exclusions, updatehdr=True)
print(result.solutions[1].status, result.solutions[1].n_used, "matched; updated:", len(result.updated))
field = mosaic.open_mosaic(files, options=RunOptions(memory="2GiB", tile=512))
sci = field["sci"].values
noise = 1.4826 * np.nanmedian(np.abs(sci - np.nanmedian(sci)))
fig, ax = plt.subplots(figsize=(8, 7.6), layout="constrained")
ax.imshow(np.arcsinh(sci / noise / 2), origin="lower", cmap="gray", vmin=-1, vmax=5)
x, y = field.mosaic.grid.sky_to_pixel(*result.images[0].sky())
ax.plot(x, y, "o", mfc="none", mec="tab:orange", ms=6, mew=0.8)
ax.set(title="sources of the first exposure on the mosaic", xticks=[], yticks=[], facecolor="0.15")
plt.show()
