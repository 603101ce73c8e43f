# %% [markdown]
# # A first mosaic
#
# Four small exposures of an invented sky, combined into one image. Everything happens in a
# temporary folder and takes less than a minute.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

from astropy.io import fits

import mosaic
from mosaic.options import RunOptions
from mosaic.simulate import simulate

folder = Path(tempfile.mkdtemp(prefix="first-mosaic-"))

# %% [markdown]
# ## Exposures with known truth
# The simulator writes what the instrument pipeline would have written: calibrated exposures with
# distortion, noise, cosmic rays and data-quality flags, and tables of every star and galaxy.

# %%
simulated = simulate(folder / "inputs", exposures=4, pattern="box4", chip_shape=(256, 512), seed=1)
inputs = [str(path) for path in simulated.paths]
output = str(folder / "first")
print(*inputs, sep="\n")

# %% [markdown]
# ## The plan
# What would be done, and what it would cost. Nothing runs yet.

# %%
options = RunOptions(memory="2GiB", tile=256)
report = mosaic.plan(inputs, output, options=options, build=True)
for name, value in report.as_rows():
    print(f"{name:30s} {value}")

# %% [markdown]
# ## The mosaic
# Parameters have DrizzlePac's names. A second call with the same arguments continues an interrupted
# run, or finds that there is nothing left to do.

# %%
result = mosaic.drizzle(inputs, output, options=options, build=True)
for step, seconds, note in result.timings:
    print(f"{step:20s} {seconds:6.2f} s {note}")

# %%
with fits.open(result.products[0]) as hdul:
    hdul.info()
    sci = hdul["SCI"].data
    wht = hdul["WHT"].data
print(f"covered: {(wht > 0).mean():.1%} of {sci.shape[1]} x {sci.shape[0]} pixels")

# %% [markdown]
# ## To look at
# `open_mosaic` opens the finished mosaic (or one that is not made yet: then only what is looked at is
# computed). The outlines are those of the chips; the weight map shows the gap between them, cosmic rays and
# bad columns.

# %%
field = mosaic.open_mosaic(inputs, output, options=options, build=True, final_err=False)
field.mosaic.plot()

# %%
field.mosaic.plot("wht")
