# %% [markdown]
# # On a cluster
#
# The same run on workers of a Dask cluster, on this machine or on a thousand others. A task is one tile;
# every finished one is recorded in the job folder, so that a run that dies is continued by the same command,
# and the result has the same bits wherever it was computed.

# %%
from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import zarr
from distributed import LocalCluster

import mosaic
from cluster.connect import open_client
from cluster.spec import ClusterSpec
from mosaic.options import RunOptions
from mosaic.simulate import simulate

folder = Path(tempfile.mkdtemp(prefix="cluster-"))
made = simulate(
    folder / "in", exposures=2, pattern="mosaic:2x1", chip_shape=(200, 400), n_stars=300, workers=2, seed=19
)
files = [str(path) for path in made.files]

# %% [markdown]
# ## A cluster
# Here two workers of this process, reached by an address as others would be. On a real cluster this is the
# one cell to change, for example with dask-jobqueue
#
# ```python
# from dask_jobqueue import SLURMCluster
# cluster = SLURMCluster(cores=8, memory="32GB", walltime="02:00:00")
# cluster.scale(jobs=20)
# ```
#
# or `dask scheduler` and `dask worker ADDRESS` in any shells. The job folder must lie where all workers see
# it.

# %%
cluster = LocalCluster(
    n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None, memory_limit=0
)
address = cluster.scheduler_address
print("workers:", len(cluster.workers))

# %% [markdown]
# ## The plan
# What one worker needs, and what the disk needs, before anything runs.

# %%
options = RunOptions(memory="2GiB", tile=128, scheduler=address)
for name, value in mosaic.plan(files, str(folder / "on_cluster"), options=options).as_rows():
    if name in {"frame", "tiles", "tasks at a time", "peak memory", "scratch disk"}:
        print(f"{name:18s} {value}")

# %% [markdown]
# ## The run
# The same as `mosaic drizzle ... --scheduler ADDRESS`.

# %%
result = mosaic.drizzle(files, str(folder / "on_cluster"), options=options, build=True, runfile="")
for step, seconds, note in result.timings:
    print(f"{step:20s} {seconds:6.2f} s {note}")

# %% [markdown]
# ## The same bits

# %%
local = mosaic.drizzle(
    files, str(folder / "here"), options=RunOptions(memory="2GiB", scheduler="serial"), build=True, runfile=""
)
for plane in ("sci", "wht", "ctx"):
    one, two = (
        zarr.open_array(f"{run.job_folder}/mosaic.zarr/{plane}", mode="r")[:] for run in (result, local)
    )
    print(plane, "same bits:", one.tobytes() == two.tobytes())

# %% [markdown]
# ## The ledger
# One small record per finished task. What is in it is never done again; here three tiles are taken out, as if
# a worker had died with them, and the same command does those three.

# %%
ledger = result.job_folder / "ledger"
print(Counter(path.parent.name for path in ledger.glob("*/*.json")))
lost = sorted(ledger.glob("final/*.json"))[:3]
before = {path: path.stat().st_mtime_ns for path in ledger.glob("final/*.json")}
for path in lost:
    print(json.loads(path.read_text()))
    path.unlink()
again = mosaic.drizzle(files, str(folder / "on_cluster"), options=options, build=True, runfile="")
anew = [path for path in before if path.stat().st_mtime_ns != before[path]]
print(f"{len(anew)} of {len(before)} tiles done again")

# %% [markdown]
# ## Looking, on the cluster
# A client of one's own makes the cluster compute what is looked at, too. The job folder is shared with the
# run above: nothing is left to compute.

# %%
with open_client(ClusterSpec("address", address=address)) as client:
    print("threads of the workers:", sum(client.nthreads().values()))
    field = mosaic.open_mosaic(
        files, str(folder / "on_cluster"), options=options, build=True, final_err=False
    )
    sci = field["sci"].compute()
noise = 1.4826 * float(np.nanmedian(np.abs(sci - np.nanmedian(sci))))
fig, ax = plt.subplots(figsize=(10, 6), layout="constrained")
ax.imshow(np.arcsinh(sci / noise / 2), origin="lower", cmap="gray", vmin=-1, vmax=5)
rows, columns = field["sci"].chunks
for y in np.cumsum(rows):
    ax.axhline(y - 0.5, color="tab:orange", lw=0.6)
for x in np.cumsum(columns):
    ax.axvline(x - 0.5, color="tab:orange", lw=0.6)
ax.set(title="the tiles that were the tasks", facecolor="0.15", xticks=[], yticks=[])
field.close()
plt.show()

# %%
cluster.close()
