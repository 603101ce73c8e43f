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
from cluster.connect import open_workers
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
# Here two workers of this process, reached by an address as others would be. Any Dask cluster has one:
# `dask scheduler` and `dask worker ADDRESS --preload workers.preload` in some shells are enough. On a batch
# system the run starts its workers itself, as jobs of their own; then only the options below change:
#
# ```python
# options = RunOptions(
#     scheduler="slurm",
#     cluster=("queue=normal", "worker_cores=8", "worker_memory=32GiB", "max_workers=20"),
# )
# ```
#
# The job folder must lie where all workers see it.

# %%
cluster = LocalCluster(
    n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0", memory_limit=0
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
# The same as `mosaic drizzle ... --scheduler ADDRESS`; should it die, the same line again continues it.

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
before = {path: path.stat().st_mtime_ns for path in sorted(ledger.glob("final/*.json"))}
lost = list(before)[:3]
print(json.dumps(json.loads(lost[0].read_text()), indent=1))
for path in lost:
    path.unlink()
again = mosaic.drizzle(files, str(folder / "on_cluster"), options=options, build=True, runfile="")
anew = [path for path in before if path.stat().st_mtime_ns != before[path]]
print(f"{len(anew)} of {len(before)} tiles done again")

# %% [markdown]
# ## Looking, on the cluster
# With a client of the cluster as the current one, what is looked at is computed there, too. The job folder is
# that of the run above: nothing is left to compute.

# %%
with open_workers(ClusterSpec(backend="address", address=address)) as workers, workers.client.as_current():
    print("threads of the workers:", sum(workers.client.nthreads().values()))
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
