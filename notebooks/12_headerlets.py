# %% [markdown]
# # Several solutions in one file: headerlets
#
# Handbook, chapter 8, "Updated astrometry". A file from the archive holds many solutions of its pointing,
# each as a small FITS file inside it, a headerlet. This notebook makes three, lists them, goes back and forth
# between them, and shows what each means for a mosaic.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

import mosaic
from mosaic.compat import headerlet
from mosaic.options import RunOptions
from mosaic.simulate import simulate
from mosaic.solutions.listing import list_solutions

folder = Path(tempfile.mkdtemp(prefix="headerlets-"))
made = simulate(
    folder / "in", instrument="wfc3/uvis", exposures=3, pattern="line", chip_shape=(320, 640), n_stars=300,
    pointing_rms_arcsec=0.12, pointing_roll_rms_deg=0.01, seed=18,
)  # fmt: skip
files = [str(path) for path in made.files]

# %% [markdown]
# ## Three solutions
# That of the telescope is archived first. The others are fits: to each other (relative), then to a catalogue.

# %%
truth = Table.read(made.sources)
stars = truth[truth["type"] == "star"]
stars["ra", "dec"].write(folder / "catalogue.ecsv")
common = {"threshold": 20, "searchrad": 1.0, "updatehdr": True}
for path in files:
    name_of_telescope = list_solutions(path)[0].wcsname
    headerlet.archive_as_headerlet(path, f"telescope_{Path(path).name[:9]}", wcskey=" ")
fits_made = {
    "RELATIVE": {},
    "ABSOLUTE": {"refcat": str(folder / "catalogue.ecsv")},
}
for name, chosen in fits_made.items():
    result = mosaic.align(files, **common, **chosen, wcsname=name)
    print(name, [solution.status for solution in result.solutions])
    for path in files:
        root = Path(path).name[:9]
        headerlet.write_headerlet(
            path, f"{name.lower()}_{root}", output=str(folder / f"{root}_{name.lower()}_hlet.fits"),
            author="notebook", catalog="truth" if chosen else "",
        )  # fmt: skip

# %% [markdown]
# ## What is in the file
# As `mosaic wcs list FILE`. The primary solution is the one that is used.

# %%
for solution in list_solutions(files[1]):
    rms = f"rms {max(solution.rms_mas):.1f} mas" if solution.rms_mas else ""
    print(f"{solution.source:10s} {solution.key:2s} {solution.wcsname:16s} {solution.hdrname:22s} {rms}")

# %% [markdown]
# Each was also written as a file of some kilobytes: to be sent to whoever has the exposure, who applies it
# with `mosaic headerlet apply`.

# %%
for path in sorted(folder.glob("*_hlet.fits")):
    print(f"{path.name:36s} {path.stat().st_size / 1024:6.0f} KiB")
print()
rows = headerlet.headerlet_summary(files[1], columns=["HDRNAME", "WCSNAME", "NMATCH"])

# %% [markdown]
# ## The same sky with each
# `wcskey` takes the HDRNAME of a headerlet, or the name of a solution, for one mosaic and leaves the files as
# they are. Circles are the true positions. Cosmic rays are left in: with the first solution their rejection
# would take the stars away.

# %%
frame = {"final_ra": 150.1, "final_dec": 2.2, "final_rot": 0.0, "final_scale": 0.04}
options = RunOptions(memory="2GiB", tile=640)
sky = SkyCoord(stars["ra"], stars["dec"], unit="deg")
brightness = np.array(stars["rate_e_s"])
is_inner = sky.separation(SkyCoord(150.1, 2.2, unit="deg")) < 8 * u.arcsec
chosen_stars = sky[np.flatnonzero(is_inner)[np.argsort(-brightness[is_inner])[3:6]]]
names = {"telescope": name_of_telescope, "relative": "RELATIVE", "absolute": "ABSOLUTE"}
fig, axes = plt.subplots(3, 3, figsize=(8.4, 8.8), layout="constrained")
for row, (title, wcsname) in zip(axes, names.items(), strict=True):
    field = mosaic.open_mosaic(files, options=options, wcskey=wcsname, driz_cr=False, **frame)
    for ax, star in zip(row, chosen_stars, strict=True):
        cut = field.mosaic.cutout(star, 2.4 * u.arcsec)
        ax.imshow(np.arcsinh(cut["sci"].values / 0.3), origin="lower", cmap="gray", vmin=-0.5, vmax=5)
        x, y = cut.mosaic.wcs.world_to_pixel(star)
        ax.plot(x, y, "o", mfc="none", mec="tab:orange", ms=22, mew=1.5)
        ax.set(xticks=[], yticks=[], title=title)
    field.close()
plt.show()

# %% [markdown]
# The telescope's solution blurs the stars. With the relative one they are sharp, and all off by the error of
# the first exposure. With the absolute one they are sharp and in their places.
#
# ## Back and forth
# `restore_from_headerlet` makes an attached headerlet primary, by its name or by its place in the file;
# `apply_headerlet_as_primary` does the same with one that is a file.


# %%
def primary(path: str) -> str:
    """Name and position of the primary solution."""
    solution = list_solutions(path)[0]
    return f"{solution.wcsname:16s} RA {solution.crval_deg[0]:.8f} Dec {solution.crval_deg[1]:.8f}"


path, root = files[1], Path(files[1]).name[:9]
print("as it is           ", primary(path))
headerlet.restore_from_headerlet(path, hdrname=f"telescope_{root}", archive=False)
print("restored by name   ", primary(path))
index = headerlet.find_headerlet_HDUs(path, hdrname=f"relative_{root}")[0]
headerlet.restore_from_headerlet(path, hdrext=index, archive=False)
print("restored by number ", primary(path))
headerlet.apply_headerlet_as_primary(path, str(folder / f"{root}_absolute_hlet.fits"), attach=False)
print("applied from a file", primary(path))
