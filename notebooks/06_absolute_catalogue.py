# %% [markdown]
# # An absolute catalogue, and the years between
#
# Handbook, chapter 8, "Absolute catalogues". Exposures of a star cluster, taken in 2003, are aligned to three
# catalogues: a coarse one of the ground, Gaia as it stands (epoch 2016), and Gaia with its proper motions
# taken back to the date of the exposures, which happens by itself when the table has them.

# %%
from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time

import mosaic
from mosaic.alignment.solution import corrected_sky
from mosaic.options import RunOptions
from mosaic.simulate import simulate

folder = Path(tempfile.mkdtemp(prefix="gaia-"))
start = Time("2003-03-15T06:00:00")
made = simulate(
    folder / "in", exposures=3, pattern="line", chip_shape=(360, 720), n_stars=320, n_galaxies=6,
    start_mjd=start.mjd, pointing_rms_arcsec=0.2, pointing_roll_rms_deg=0.01, seed=11,
)  # fmt: skip
files = [str(path) for path in made.files]

# %% [markdown]
# ## Catalogues
# With a network: `astroquery.gaia`, a cone over the field, saved as ECSV with its own column names. Without
# one, as here, a table of the same form: two thirds of the stars belong to the cluster and move together, the
# others are field stars. Some are double, which Gaia tells by a large RUWE.

# %%
rng = np.random.default_rng(11)
truth = Table.read(made.sources)
stars = truth[(truth["type"] == "star") & (truth["rate_e_s"] > 12)]
n = len(stars)
in_cluster = rng.random(n) < 0.65
motion = np.where(
    in_cluster[:, None], rng.normal((-0.4, -2.3), 0.15, (n, 2)), rng.normal((-2.0, -3.5), 4.0, (n, 2))
)
years = 2016.0 - start.jyear
is_double = rng.random(n) < 0.1
error_mas = np.where(is_double[:, None], rng.normal(0, 60, (n, 2)), rng.normal(0, 0.5, (n, 2)))
cos_dec = np.cos(np.deg2rad(stars["dec"]))
gaia = Table(
    {
        "ra": stars["ra"] + (motion[:, 0] * years + error_mas[:, 0]) / 3.6e6 / cos_dec,
        "dec": stars["dec"] + (motion[:, 1] * years + error_mas[:, 1]) / 3.6e6,
        "ref_epoch": np.full(n, 2016.0),
        "pmra": motion[:, 0],
        "pmdec": motion[:, 1],
        "ruwe": np.where(is_double, 1.3 + rng.exponential(1.5, n), 1.0 + 0.05 * rng.standard_normal(n)),
        "phot_g_mean_mag": stars["mag_ab"],
    }
)
gaia["phot_g_mean_mag"].format = gaia["ruwe"].format = ".2f"
print(gaia[:5])

# %%
good = gaia[gaia["ruwe"] < 1.25]
good.write(folder / "gaia.ecsv", overwrite=True)
good["ra", "dec", "phot_g_mean_mag"].write(folder / "gaia_2016.ecsv", overwrite=True)
coarse = Table(
    {
        "ra": stars["ra"] + rng.normal(0, 50, n) / 3.6e6 / cos_dec,
        "dec": stars["dec"] + rng.normal(0, 50, n) / 3.6e6,
    }
)
coarse.write(folder / "ground.ecsv", overwrite=True)
fig, ax = plt.subplots(figsize=(5.2, 4.4), layout="constrained")
drawn = ax.scatter(gaia["pmra"], gaia["pmdec"], c=gaia["ruwe"], s=14, vmin=0.9, vmax=2.0, cmap="viridis_r")
fig.colorbar(drawn, ax=ax, label="RUWE", extend="max")
ax.set(xlabel="proper motion in RA (mas/yr)", ylabel="in Dec (mas/yr)", xlim=(-14, 10), ylim=(-16, 9))
ax.set_title(
    f"median {np.median(np.hypot(*motion.T)):.1f} mas/yr, {years:.1f} years: {len(good)} of {n} kept"
)
plt.show()

# %% [markdown]
# ## Three alignments
# Nothing is written yet. The coarse catalogue needs a larger tolerance.

# %%
catalogues = {
    "ground": {"refcat": str(folder / "ground.ecsv"), "tolerance": 3.0},
    "Gaia, epoch 2016": {"refcat": str(folder / "gaia_2016.ecsv"), "tolerance": 2.0},
    "Gaia, moved to 2003": {"refcat": str(folder / "gaia.ecsv")},
}
common = {"threshold": 30, "searchrad": 1.0, "fitgeometry": "rscale"}
sky = SkyCoord(stars["ra"], stars["dec"], unit="deg")
fig, axes = plt.subplots(1, 3, figsize=(12, 4.1), layout="constrained")
for ax, limit, (name, chosen) in zip(axes, (2.2, 0.4, 0.4), catalogues.items(), strict=True):
    result = mosaic.align(files, **common, **chosen)
    print(name)
    for image, solution in zip(result.images, result.solutions, strict=True):
        corrected = SkyCoord(*corrected_sky(result.frame, solution.fit, *image.sky()), unit="deg")
        nearest, distance, _ = corrected.match_to_catalog_sky(sky)
        near = distance < 0.15 * u.arcsec
        east, north = corrected[near].spherical_offsets_to(sky[nearest[near]])
        off = (-np.median(east.to_value("mas")), -np.median(north.to_value("mas")))
        rms = np.hypot(*solution.fit.rms_xy)
        print(
            f"   {image.name} {solution.n_used:3d} stars, rms {rms:.3f} px; "
            f"in truth off by {off[0]:+6.1f} {off[1]:+6.1f} mas"
        )
        ax.plot(*solution.fit.residuals.T, ".", alpha=0.6, label=image.name[:9])
    ax.set(title=name, xlabel="residual in x (px)", xlim=(-limit, limit), ylim=(-limit, limit))
axes[0].set_ylabel("in y (px)")
axes[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# The catalogue of 2016 fits as well as it can, and yet is wrong: the cluster has moved by more than half a
# pixel since, all of it in one direction, and a fit cannot see that.
#
# ## The mosaic, before and after
# Circles are catalogue positions at the date of the exposures. Before, the exposures do not even fit each
# other, and the rejection of cosmic rays takes the stars away.

# %%
frame = {"final_ra": 150.1, "final_dec": 2.2, "final_rot": 0.0, "final_outnx": 620, "final_outny": 620}
options = RunOptions(memory="2GiB", tile=640)
before = mosaic.open_mosaic(files, options=options, final_scale=0.05, **frame).load()
aligned = mosaic.align(files, **common, **catalogues["Gaia, moved to 2003"], updatehdr=True, wcsname="GAIA")
print("updated:", len(aligned.updated))
after = mosaic.open_mosaic(files, options=options, final_scale=0.05, **frame).load()
cluster = SkyCoord(150.1, 2.2 + 3.0 / 3600, unit="deg")
fig, axes = plt.subplots(1, 2, figsize=(10.5, 5.4), layout="constrained")
for ax, dataset, title in ((axes[0], before, "before"), (axes[1], after, "after")):
    cut = dataset.mosaic.cutout(cluster, 9 * u.arcsec)
    ax.imshow(np.arcsinh(cut["sci"].values / 0.1), origin="lower", cmap="gray", vmin=-0.5, vmax=5)
    x, y = cut.mosaic.wcs.world_to_pixel(sky)
    ax.plot(x, y, "o", mfc="none", mec="tab:orange", ms=11)
    ax.set(title=title, xlim=(-0.5, cut.sizes["x"] - 0.5), ylim=(-0.5, cut.sizes["y"] - 0.5))
plt.show()

# %%
after.mosaic.plot()
