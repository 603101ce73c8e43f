# %% [markdown]
# # Satellite trails
#
# Handbook, chapter 8, "Satellite trails". A trail in one of three exposures is found and flagged in DQ, a
# second one, too faint and too short for that, is marked by a DS9 region; the mosaic is compared with and
# without.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

import mosaic
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from mosaic.tools.trail_flags import TRAIL_BIT, flag_trails
from mosaic.tools.trails import TrailParams

folder = Path(tempfile.mkdtemp(prefix="trails-"))
made = simulate(folder / "in", exposures=3, pattern="line", chip_shape=(400, 800), n_stars=200, seed=14)
files = [str(path) for path in made.files]

# %% [markdown]
# ## Two trails
# The simulator has no satellites: they are painted into the upper chip, with the noise of their light. The
# bright one crosses the second exposure, a fainter one ends in the third.

# %%
rng = np.random.default_rng(14)


def paint(path: str, line: tuple[float, float], peak_e: float, width_px: float, end_px: float) -> None:
    """Add a straight trail, y = line[0] + line[1] x, to the upper chip."""
    with fits.open(path, mode="update") as hdul:
        sci = hdul["SCI", 2].data
        y, x = np.indices(sci.shape)
        distance = (y - line[0] - line[1] * x) / np.hypot(1.0, line[1])
        light = peak_e * np.exp(-0.5 * (distance / width_px) ** 2) * (x < end_px)
        sci += rng.poisson(light).astype(sci.dtype)


paint(files[1], (60.0, 0.31), 160.0, 5.0, 800.0)
paint(files[2], (350.0, -0.2), 50.0, 3.0, 300.0)

# %% [markdown]
# ## What is found
# `dry_run` only tells. The same from the shell: `mosaic trails FILE`.

# %%
for found in flag_trails(files, dry_run=True):
    for trail in found.trails:
        print(
            f"{found.path.name}[sci,{found.extver}] normal at {trail.angle_deg:.2f} deg, "
            f"{2 * trail.half_width:.0f} px wide, {trail.significance:.0f} sigma, {found.n_pixels} pixels"
        )

# %% [markdown]
# The short trail is not among them: a line is only believed when most of it is lit. It is marked by hand, as
# in DS9, in pixels of the chip. `grow` adds pixels beyond the edges that were seen, because the wings of a
# trail reach farther than the noise of one exposure lets on. A mosaic without flags is kept to compare.

# %%
options = RunOptions(memory="2GiB", tile=512)
chosen = {"group": "4", "final_bits": "64,16", "driz_sep_bits": "64,16", "skymethod": "globalmin+match"}
before = mosaic.open_mosaic(files, options=options, **chosen).load()

regions = folder / "short.reg"
regions.write_text("image\npolygon(1,336,304,275,304,305,1,366)\n")
flag_trails(files[:2], params=TrailParams(grow=10))
flag_trails(files[2], region_file=str(regions), is_detecting=False)

fig, axes = plt.subplots(2, 2, figsize=(12, 6.4), layout="constrained")
for row, path in zip(axes, files[1:], strict=True):
    with fits.open(path) as hdul:
        sci, flags = hdul["SCI", 2].data, hdul["DQ", 2].data
    sky, noise = np.median(sci), 1.4826 * np.median(np.abs(sci - np.median(sci)))
    row[0].imshow(np.arcsinh((sci - sky) / noise), origin="lower", cmap="gray", vmin=-2, vmax=4)
    row[0].set_title(f"{Path(path).name[:9]}[sci,2]")
    row[1].imshow(np.arcsinh((sci - sky) / noise), origin="lower", cmap="gray", vmin=-2, vmax=4)
    flagged = np.ma.masked_equal(flags & TRAIL_BIT, 0)
    row[1].imshow(flagged, origin="lower", cmap="autumn", alpha=0.45, interpolation="nearest")
    row[1].set_title(f"flagged with {TRAIL_BIT}")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Before and after
# `group="4"` drizzles the fourth extension alone, [sci,2]: the fastest way to judge one chip. Cosmic-ray
# rejection catches the crest of a trail and leaves its wings; the flags take all of it, and the weight map
# shows the band that is missing.

# %%
after = mosaic.open_mosaic(files, options=options, **chosen).load()
fig, axes = plt.subplots(2, 2, figsize=(12, 7.4), layout="constrained")
for column, dataset, title in ((0, before, "not flagged"), (1, after, "flagged")):
    sci, wht = dataset["sci"].values, dataset["wht"].values
    noise = 1.4826 * np.nanmedian(np.abs(sci - np.nanmedian(sci)))
    axes[0, column].imshow(np.arcsinh(sci / noise), origin="lower", cmap="gray", vmin=-2, vmax=4)
    axes[0, column].set_title(title)
    drawn = axes[1, column].imshow(np.where(wht > 0, wht, np.nan), origin="lower", vmin=0, vmax=wht.max())
    axes[1, column].set_title("weight (s)")
fig.colorbar(drawn, ax=axes[1], shrink=0.9)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
band = (before["wht"].values > 0) & (after["wht"].values > 0) & (before["wht"].values != after["wht"].values)
for name, dataset in (("not flagged", before), ("flagged", after)):
    sci = dataset["sci"].values
    excess = np.nanmedian(sci[band]) - np.nanmedian(sci[~band])
    print(f"{name:12s} light in the bands beyond the sky: {excess:+.5f} e/s a pixel")
