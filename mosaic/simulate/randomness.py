"""One random stream per purpose, exposure and chip, so that order and workers change nothing."""

from __future__ import annotations

import numpy as np

_PURPOSES = ("scene", "pointing", "sky", "defects", "counts", "cosmic", "header")


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Random stream of one purpose (see `_PURPOSES`) for an exposure, chip or both."""
    key = (_PURPOSES.index(purpose), *numbers)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
