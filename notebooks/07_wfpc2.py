# %% [markdown]
# # Four chips that are not equally sensitive: WFPC2
#
# Handbook, chapter 8, "WFPC2". The flags are in files of their own (`c1m` beside `c0m`), the pyramid casts a
# shadow on the inner edges, and the chips differ in sensitivity by some per cent: drizzled as they are, their
# counts show seams. `photeq` brings all chips to one inverse sensitivity (PHOTFLAM).

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

import mosaic
from mosaic.compat.photeq import photeq
from mosaic.options import RunOptions
from mosaic.simulate import simulate

folder = Path(tempfile.mkdtemp(prefix="wfpc2-"))
made = simulate(
    folder / "in", instrument="wfpc2", filter_name="F814W", exposures=4, chip_shape=(250, 250), n_stars=420,
    sky_e=600.0, sky_scatter=0.05, pointing_rms_arcsec=0.1, seed=12,
)  # fmt: skip
files = [str(path) for path in made.files]

# %% [markdown]
# ## What is in the files

# %%
with fits.open(files[0]) as hdul, fits.open(files[0].replace("c0m", "c1m")) as flags:
    for chip, flag in zip(hdul[1:], flags[1:], strict=True):
        shadow = np.mean(flag.data & 2 > 0)
        level = f"PHOTFLAM {chip.header['PHOTFLAM']:.4e}, median {np.median(chip.data):6.2f} counts"
        print(f"[{chip.name},{chip.ver}] {level}, {shadow:.0%} in the shadow")

# %% [markdown]
# ## Alignment
# The planetary camera (chip 1) has half the scale of the others; all four are one image for the fit.

# %%
aligned = mosaic.align(files, threshold=12, conv_width=3.0, minobj=8, updatehdr=True, wcsname="TWEAK")
print(aligned.table()["file", "status", "n_used", "dx", "dy", "rms_x", "rms_y"])

# %% [markdown]
# ## Drizzled as they are
# Without subtraction of the sky, so that the seams can be seen.

# %%
parameters = {
    "skysub": False, "driz_sep_bits": "8,1024", "final_bits": "8,1024", "driz_sep_scale": 0.0996,
    "final_scale": 0.0996, "final_rot": 0.0, "driz_cr_snr": "5.5 3.5", "driz_cr_scale": "2.0 1.5",
    "final_fillval": float("nan"),
}  # fmt: skip
options = RunOptions(memory="2GiB", tile=512)
before = mosaic.open_mosaic(files, options=options, **parameters).load()
print("unit:", before["sci"].attrs["units"])

# %% [markdown]
# ## Equalised
# First what would be done (`readonly`, the default), then done. Pixels are multiplied and PHOTFLAM divided by
# the same ratio, so that no flux changes. The log says it, and so does HISTORY.

# %%
log = folder / "photeq.log"
photeq(files, ref_phot_ext=3, logfile=str(log))
print("\n".join(line.replace(str(folder), "") for line in log.read_text().splitlines()[:5]))

# %%
photeq(files, ref_phot_ext=3, readonly=False, logfile=str(log))
after = mosaic.open_mosaic(files, options=options, **parameters).load()

# %%
level = float(np.nanmedian(after["sci"]))
fig, axes = plt.subplots(1, 2, figsize=(11, 5.6), layout="constrained")
for ax, dataset, title in ((axes[0], before, "as they are"), (axes[1], after, "equalised")):
    image = dataset["sci"].values
    drawn = ax.imshow(image / level, origin="lower", cmap="magma", vmin=0.96, vmax=1.04)
    ax.set(title=title, xticks=[], yticks=[])
fig.colorbar(drawn, ax=axes, label="sky / its median", shrink=0.8)
plt.show()

# %% [markdown]
# The sky of each chip, where no other contributes (the context image says which chips a pixel comes from):

# %%
print("chip    as they are   equalised")
for number, name in enumerate(("PC", "WF2", "WF3", "WF4")):
    own = sum(1 << (4 * exposure + number) for exposure in range(len(files)))
    levels = []
    for dataset in (before, after):
        context = dataset["ctx"].values[0]
        alone = (context & own != 0) & (context & ~own == 0)
        levels.append(np.nanmedian(dataset["sci"].values[alone]) / level)
    print(f"{name:6s} {levels[0]:12.4f} {levels[1]:11.4f}")

# %% [markdown]
# ## The mosaic for use
# With the sky subtracted, all four chips together. In the weight map the planetary camera stands out: a pixel
# of the mosaic collects nearly five of its small pixels, each with the weight of the exposure time.

# %%
field = mosaic.open_mosaic(files, options=options, **(parameters | {"skysub": True}))
field.mosaic.plot()

# %%
field.mosaic.plot("wht")
