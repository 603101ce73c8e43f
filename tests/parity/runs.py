"""Products and intermediates of one run, whichever program wrote them: same names, one way to read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from mosaic.exposure.catalogue import Catalogue, read_catalogue
from mosaic.settings import Settings
from tests.parity.compare import Array

_EXPOSURE_SUFFIX = re.compile(r"_(flt|flc|cal|c0m)\.fits$")


def exposure_root(path: Path) -> str:
    """Root name of an exposure file."""
    return _EXPOSURE_SUFFIX.sub("", path.name)


@dataclass(frozen=True)
class Run:
    """A folder with everything one run of either program left."""

    folder: Path
    output: str
    """Root of the product names."""
    updated: Path
    """Folder of the exposures with updated DQ and MDRIZSKY."""
    inputs: tuple[Path, ...]
    """The exposures as they were before the run."""

    def _product(self, kind: str) -> tuple[Path, int]:
        simple = sorted(self.folder.glob(f"{self.output}_dr?_{kind}.fits"))
        if simple:
            return simple[0], 0
        built = sorted(self.folder.glob(f"{self.output}_dr?.fits"))
        if not built:
            raise FileNotFoundError(f"{self.folder}: no product {self.output}_dr?")
        with fits.open(built[0]) as hdul:
            return built[0], hdul.index_of(kind.upper())

    def plane(self, kind: str) -> Array:
        """Return the `sci`, `wht` or `ctx` array of the product."""
        path, index = self._product(kind)
        return read(path, index)

    def header(self, kind: str) -> fits.Header:
        """Return the header of a plane."""
        path, index = self._product(kind)
        return fits.getheader(path, index)

    def primary(self) -> fits.Header:
        """Return the primary header of the science product."""
        return fits.getheader(self._product("sci")[0], 0)

    @cached_property
    def table(self) -> Any:
        """The HDRTAB table, or None."""
        with fits.open(self._product("sci")[0], memmap=False) as hdul:
            return hdul["HDRTAB"].data if "HDRTAB" in hdul else None

    def intermediate(self, name: str) -> Path | None:
        """Return the path of an intermediate file, or None if the run has none."""
        path = self.folder / name
        return path if path.exists() else None

    @property
    def median(self) -> Path | None:
        """The median image."""
        return self.intermediate(f"{self.output}_med.fits")

    @cached_property
    def chips(self) -> tuple[tuple[Path, int, int], ...]:
        """Input file, EXTVER and HDU index of every chip."""
        found = []
        for path in self.inputs:
            with fits.open(path) as hdul:
                found += [(path, hdu.ver, i) for i, hdu in enumerate(hdul) if hdu.name == "SCI"]
        return tuple(found)

    def static_masks(self) -> dict[str, Path]:
        """Static masks by shape and chip (the part of the name before differs between programs)."""
        found = sorted(self.folder.glob("*_staticMask.fits"))
        return {re.sub(r"^.*?(\d+x\d+_\d+_staticMask)", r"\1", path.stem): path for path in found}

    @cached_property
    def sky(self) -> dict[str, float]:
        """MDRIZSKY of every chip, from the updated exposures, else from the HDRTAB table."""
        found: dict[str, float] = {}
        for row, (path, extver, index) in enumerate(self.chips):
            key = f"{exposure_root(path)}[{extver}]"
            updated = self.updated / path.name
            if updated.exists():
                header = fits.getheader(updated, index)
                if "MDRIZSKY" in header:
                    found[key] = float(header["MDRIZSKY"])
                continue
            table = self.table
            if table is not None and "MDRIZSKY" in table.names and len(table) == len(self.chips):
                found[key] = float(table["MDRIZSKY"][row])
        return found


@lru_cache(maxsize=16)
def catalogue_of(inputs: tuple[Path, ...]) -> Catalogue:
    """Read what the headers of exposures say, once."""
    return read_catalogue([str(path) for path in inputs], Settings())


def read(path: Path, index: int = 0) -> Array:
    """Read one image in native byte order."""
    with fits.open(path, memmap=False) as hdul:
        data = hdul[index].data
        if data is None:
            raise FileNotFoundError(f"{path}[{index}] holds no image")
        return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))
