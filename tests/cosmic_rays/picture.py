"""Undersampled stars as each rule sees them: an exposure, its true cosmic rays, and the flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.simulate.files import read_cosmic_rays
from tests.cosmic_rays.measure import MaskOf
from tests.parity.runs import exposure_root

_SIDE = 64


def cut_out(inputs: Sequence[Path], masks: Mapping[str, MaskOf]) -> dict[str, NDArray[np.float32]]:
    """Part of the first chip of the first exposure: pixels, truth, and the flags of every rule."""
    path = inputs[0]
    part = slice(80, 80 + _SIDE), slice(120, 120 + 2 * _SIDE)
    charge = read_cosmic_rays(path.parent / f"cosmic_rays_{exposure_root(path)}.npz")[1]
    found = {"exposure": fits.getdata(path, ("SCI", 1))[part], "true cosmic rays": charge[part]}
    return found | {label: mask_of(path, 1)[part].astype(np.float32) for label, mask_of in masks.items()}


def draw_example(planes: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """Draw the pixels and the truth in grey; flags on cosmic rays in blue, flags on what is clean in red."""
    image, charge = planes["exposure"], planes["true cosmic rays"]
    low, high = np.percentile(image, 5), np.percentile(image, 99.3)
    names = list(planes)
    figure, grid = plt.subplots(3, 2, figsize=(11.5, 9), layout="constrained")
    for axes, name in zip(grid.flat, names, strict=False):
        shown = charge + low if name == "true cosmic rays" else image
        grey = 1.0 - np.clip((shown - low) / (high - low), 0.0, 1.0) ** 0.6
        colours = np.repeat(grey[:, :, None], 3, axis=2)
        title = name
        if name not in names[:2]:
            flags = planes[name] > 0
            colours[flags & (charge > 0)] = (0.1, 0.42, 0.66)
            colours[flags & (charge == 0)] = (0.85, 0.1, 0.1)
            title = f"{name}: {np.count_nonzero(flags & (charge == 0))} clean pixels flagged"
        axes.imshow(colours, origin="lower", interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
        axes.text(0.02, 0.8, "blue: flags on cosmic rays\nred: flags on clean pixels", va="top")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)
