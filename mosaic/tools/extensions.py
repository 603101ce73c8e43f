"""Names of images such as ``file.fits[sci,1]``, and the distortion model behind one.

Covers local files and URLs. Does not cover lists of files (`mosaic.exposure.inputs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits

from mosaic.errors import MissingFileError, ParameterError, StructureError
from mosaic.exposure.inputs import expand_inputs
from mosaic.exposure.storage import open_fits
from mosaic.geometry.wcs import ChipWcs, header_number

_LIST_REMEDY = "name one that it has, such as [sci,1] or [1]"


@dataclass(frozen=True, slots=True)
class ImageName:
    """A file and one of its extensions."""

    path: str
    """File or URL."""
    extension: str
    """What stands in the brackets; empty when there are none."""

    def __str__(self) -> str:
        return f"{self.path}[{self.extension}]" if self.extension else self.path


def parse_image_name(text: str) -> ImageName:
    """Split ``file[extension]``; spaces and quotes in the brackets do not matter."""
    stripped = str(text).strip()
    if stripped.endswith("]") and "[" in stripped:
        path, extension = stripped[:-1].rsplit("[", 1)
        return ImageName(path.strip(), extension.replace("'", "").replace('"', "").replace(" ", ""))
    return ImageName(stripped, "")


def find_extension(hdul: fits.HDUList, name: ImageName) -> int:
    """Index of the extension that is named.

    Without a name it is the first with CRVAL1 and pixels or size, as a rule ``[sci,1]``.

    Raises
    ------
    StructureError
        When the file has no such extension.
    """
    if not name.extension:
        for index, hdu in enumerate(hdul):
            if header_number(hdu.header, "CRVAL1") is not None:
                return index
        raise StructureError(name.path, "no extension has a WCS (CRVAL1)", _LIST_REMEDY)
    extname, _, version = name.extension.partition(",")
    if version and not version.isdigit():
        raise StructureError(name.path, f"{version!r} is not an EXTVER", _LIST_REMEDY)
    key: Any = int(extname) if extname.isdigit() else (extname, int(version or 1))
    try:
        index = int(hdul.index_of(key))
        hdul[index]
    except (KeyError, IndexError) as error:
        raise StructureError(name.path, f"there is no extension [{name.extension}]", _LIST_REMEDY) from error
    return index


def read_wcs(text: str) -> ChipWcs:
    """Read the distortion model of an image.

    Parameters
    ----------
    text : str
        ``file``, ``file[n]``, ``file[name]`` or ``file[name,ver]``.

    Raises
    ------
    MissingFileError
        When the file does not exist or is not FITS.
    StructureError
        When it has no such extension.
    WcsError
        When the extension has no WCS that is supported.
    """
    name = parse_image_name(text)
    try:
        with open_fits(name.path) as hdul:
            index = find_extension(hdul, name)
            return ChipWcs.from_hdulist(hdul, index, exposure=name.path, chip=name.extension)
    except OSError as error:
        raise _unreadable(name.path, error) from error


def read_science_wcs(path: str) -> list[ChipWcs]:
    """Read the models of all SCI extensions of a file, or of its first WCS when it has no SCI."""
    try:
        with open_fits(path) as hdul:
            indices = [i for i, hdu in enumerate(hdul) if hdu.name == "SCI"]
            indices = indices or [find_extension(hdul, ImageName(path, ""))]
            return [
                ChipWcs.from_hdulist(hdul, i, exposure=path, chip=f"{hdul[i].name},{hdul[i].ver}")
                for i in indices
            ]
    except OSError as error:
        raise _unreadable(path, error) from error


def find_files(files: str | Sequence[str]) -> list[Path]:
    """Local files that names, globs, comma lists, @lists and association tables stand for.

    Raises
    ------
    ExposureError
        When one does not exist.
    ParameterError
        When one is not on a local disk, so that a tool cannot change it.
    """
    expanded = expand_inputs([files] if isinstance(files, str) else files)
    if expanded.rejected:
        raise expanded.rejected[0]
    remote = next((file.path for file in expanded.files if "://" in file.path), None)
    if remote is not None:
        raise ParameterError(f"{remote}: only local files can be changed; copy it first")
    return [Path(file.path) for file in expanded.files]


def _unreadable(path: str, error: OSError) -> MissingFileError:
    return MissingFileError(path, f"cannot be opened ({error.strerror or error})", "correct the name")
