"""Power spectrum of the sky, averaged over patches: periodic patterns stand out of their neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mosaic.quality.stars import Level
from mosaic.types import BoolArray, DoubleArray, FloatArray

PATCH = 128
_MAX_PATCHES = 64
_NEAR = 7


@dataclass(slots=True)
class SkySpectrum:
    """Mean power of patches of sky."""

    total: DoubleArray = field(default_factory=lambda: np.zeros((PATCH, PATCH // 2 + 1)))
    """Sum of the power of all patches, each in units of its mean."""
    n: int = 0
    """Patches."""

    def add(self, image: FloatArray, is_sky: BoolArray, level: Level) -> None:
        """Add the patches of a tile that are mostly sky."""
        values = np.where(is_sky, image - np.float32(level.value), np.float32(0.0))
        window = np.hanning(PATCH)[:, None] * np.hanning(PATCH)[None, :]
        for y0 in range(0, image.shape[0] - PATCH + 1, PATCH):
            for x0 in range(0, image.shape[1] - PATCH + 1, PATCH):
                part = slice(y0, y0 + PATCH), slice(x0, x0 + PATCH)
                if self.n >= _MAX_PATCHES or is_sky[part].mean() < 0.6:
                    continue
                power = np.abs(np.fft.rfft2(values[part] * window)) ** 2
                self.total += power / power.mean()
                self.n += 1

    def strongest(self) -> tuple[float, float, float, float]:
        """Power of the strongest frequency over its neighbourhood, what chance allows, and its period (x, y).

        Periods above a quarter of a patch are left out: they are structure of the sky.
        """
        if self.n == 0:
            return float("nan"), float("nan"), float("nan"), float("nan")
        mean = self.total / self.n
        around = _local_median(mean)
        fy = np.fft.fftfreq(PATCH)[:, None]
        fx = np.fft.rfftfreq(PATCH)[None, :]
        is_short = np.hypot(fy, fx) > 4.0 / PATCH
        # Where the drops have averaged all power away, nothing can be seen; rounding would.
        seen = is_short & (around > 1e-3 * np.median(around[is_short]))
        ratio = np.where(seen, mean / np.maximum(around, 1e-30), 0.0)
        j, i = np.unravel_index(int(ratio.argmax()), ratio.shape)
        # A mean of n exponentials over its median (Wilson and Hilferty), at one in a million.
        middle = 1.0 - 1.0 / (9.0 * self.n)
        chance = (1.0 + 4.9 / (3.0 * np.sqrt(self.n)) / middle) ** 3
        with np.errstate(divide="ignore"):
            period = 1.0 / np.abs(fx[0, i]), 1.0 / np.abs(fy[j, 0])
        return float(ratio[j, i]), float(chance), float(period[0]), float(period[1])


def _local_median(power: DoubleArray) -> DoubleArray:
    """Median of the neighbourhood of every frequency."""
    half = _NEAR // 2
    padded = np.pad(power, ((half, half), (0, 0)), mode="wrap")
    padded = np.pad(padded, ((0, 0), (half, half)), mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(padded, (_NEAR, _NEAR))
    return np.asarray(np.median(view.reshape(*view.shape[:2], -1), axis=2))
