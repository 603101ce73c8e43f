"""Data quality that lies in a file of its own, as with WFPC2: ``_c0m`` is flagged by ``_c1m``.

Covers finding, opening (compressed, waivered and GEIS too) and describing it from its headers. Which file
it is, the instrument says (`mosaic.exposure.instruments`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import StructureError
from mosaic.exposure import blocks
from mosaic.exposure.instruments import HeaderPair, flag_file
from mosaic.exposure.model import DataBlock
from mosaic.exposure.staging import open_plain
from mosaic.exposure.storage import find_remote, open_stream, size_and_tag
from mosaic.places import is_remote
from mosaic.types import ShapeYX

_REMEDY = "put it beside the exposure or remove the exposure from the list"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What belongs to an exposure besides its own file."""

    flags: FlagFile | None
    """File of its flags; None when they are in its own file."""
    staging_dir: Path | None
    """Where copies of files in other formats go."""


@dataclass(frozen=True, slots=True)
class FlagFile:
    """Where the flags of an exposure are when they are in another file."""

    path: str
    """The file beside the input."""
    name: str
    """EXTNAME of its extensions, as the first of them says."""
    blocks: Mapping[int, tuple[DataBlock | None, int]]
    """Flags and DETECTOR (0: not said) by EXTVER."""
    digest: str
    """Digest of its headers, size and modification time."""

    def block(self, headers: HeaderPair, shape_yx: ShapeYX) -> DataBlock:
        """Flags of one chip.

        Raises
        ------
        StructureError
            When the extension is missing, empty, of another size or of another detector.
        """
        found, detector = self.blocks.get(headers.extver, (None, 0))
        place = f"[{self.name},{headers.extver}] of {Path(self.path).name}"
        problem = ""
        if found is None:
            problem = f"its flags, {place}, are missing"
        elif found.shape_yx != shape_yx:
            sizes = [f"{shape.nx} x {shape.ny} pixels" for shape in (shape_yx, found.shape_yx)]
            problem = f"SCI is {sizes[0]}, {place} is {sizes[1]}"
        elif detector and headers.detector_number and detector != headers.detector_number:
            problem = f"DETECTOR is {headers.detector_number}, in {place} it is {detector}"
        if found is None or problem:
            raise StructureError(headers.exposure, problem, "fetch both files again", headers.chip)
        return found


def read_flag_file(
    primary: fits.Header, path: str, exposure: str, staging_dir: Path | None
) -> FlagFile | None:
    """Describe the flag file of an exposure; None when its flags are in its own file.

    Raises
    ------
    StructureError
        When the instrument keeps flags apart and the file is not there; names the file wanted.
    """
    wanted = flag_file(str(primary.get("INSTRUME", "")).strip().upper(), path)
    if not wanted:
        return None
    found = _existing(wanted)
    if not found:
        raise StructureError(exposure, f"its data-quality file {wanted} is not there", _REMEDY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdul, readable = open_plain(found, staging_dir)
        with hdul:
            blocks.require_complete(hdul, readable, found)
            if len(hdul) < 2:
                raise StructureError(exposure, f"its data-quality file {found} has no extension", _REMEDY)
            name = hdul[1].name
            described = {}
            for hdu in (hdu for hdu in hdul[1:] if hdu.name == name):
                pair = HeaderPair(exposure, f"{name.lower()},{hdu.ver}", hdul[0].header, hdu.header, hdu.ver)
                described[int(hdu.ver)] = (blocks.data_block(hdu, readable, pair), pair.detector_number)
            return FlagFile(found, name, described, header_digest(hdul, readable, found))


def header_digest(hdul: fits.HDUList, readable: str, path: str) -> str:
    """Digest of all header bytes, file size and modification time: tells whether a file changed."""
    digest = hashlib.sha256()
    with open_stream(readable) as stream:
        for hdu in hdul:
            place = hdu.fileinfo()
            stream.seek(place["hdrLoc"])
            digest.update(stream.read(place["datLoc"] - place["hdrLoc"]))
    size, tag = size_and_tag(path)
    digest.update(f"{size}:{tag}".encode())
    return digest.hexdigest()


def _existing(wanted: str) -> str:
    """The file wanted, or the same with or without compression; empty when there is none."""
    plain = wanted.removesuffix(".gz").removesuffix(".fz")
    for name in dict.fromkeys((wanted, plain, f"{plain}.gz", f"{plain}.fz")):
        if find_remote(name) if is_remote(name) else Path(name).is_file():
            return name
    return ""
