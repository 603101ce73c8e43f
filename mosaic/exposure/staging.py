"""Plain copies of compressed and converted exposures, made once, so that rows can be read by position.

Covers gzip and tile-compressed (.fz) FITS, GEIS and waivered FITS. A copy appears under its final name
only when complete.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import MissingFileError, ParameterError, StructureError, TruncatedFileError
from mosaic.exposure.conversion import geis_data_file, is_geis, is_waivered, read_geis, read_waivered
from mosaic.exposure.inputs import strip_compression
from mosaic.exposure.storage import open_stream, read_bytes, size_and_tag
from mosaic.places import is_remote

_GZIP_MAGIC: Final = b"\x1f\x8b"
_RESTORE: Final = "fetch the file again or remove it from the list"
_COPY_BYTES: Final = 1 << 20
_WAIVERED_NAME: Final = re.compile(r"(_[a-z]\d)f\.fits$", re.IGNORECASE)


def open_plain(path: str, staging_dir: Path | None) -> tuple[fits.HDUList, str]:
    """Open an input as multi-extension FITS, staging a copy where it is something else.

    Parameters
    ----------
    path : str
        Input as named by the user: FITS, compressed or not, waivered FITS, or the header of a GEIS image.
    staging_dir : Path or None
        Where copies go.

    Returns
    -------
    HDUList, str
        The open file and its path.

    Raises
    ------
    ExposureError
        As `plain_path`.
    """
    readable = plain_path(path, staging_dir)
    hdul = _open(readable, path)
    if any(isinstance(hdu, fits.CompImageHDU) for hdu in hdul):
        hdul.close()
        readable = plain_path(readable, staging_dir, has_tiles=True)
        hdul = _open(readable, path)
    if is_waivered(hdul):
        with hdul:
            write = partial(_write, partial(read_waivered, hdul, path))
            readable = str(_stage(path, staging_dir, f"groups_{named_plainly(path)}", write))
        hdul = _open(readable, path)
    return hdul, readable


def named_plainly(path: str) -> str:
    """Base name that the copy of an input has once it is plain multi-extension FITS."""
    name = strip_compression(Path(path).name)
    if is_geis(name):
        return f"{name[:-4]}_{name[-3:]}.fits"
    return _WAIVERED_NAME.sub(r"\1h.fits", name)


def plain_path(path: str, staging_dir: Path | None, *, has_tiles: bool = False) -> str:
    """Path of an uncompressed FITS file with the content of `path`.

    Parameters
    ----------
    path : str
        Input as named by the user.
    staging_dir : Path or None
        Where copies of compressed inputs go.
    has_tiles : bool
        Whether images are known to be tile-compressed, whatever the name says.

    Raises
    ------
    MissingFileError, TruncatedFileError, StructureError
        When the file cannot be opened, is cut short, or is not FITS.
    ParameterError
        When the input is compressed and there is nowhere to stage it.
    """
    if is_geis(path):
        return str(_stage(path, staging_dir, named_plainly(path), partial(_write, partial(read_geis, path))))
    try:
        size, _ = size_and_tag(path)
        start = bytes(read_bytes(path, 0, min(6, size)))
    except OSError as error:
        raise MissingFileError(
            path, f"cannot be opened ({error.strerror})", "check its name and permissions"
        ) from error
    if size == 0:
        raise TruncatedFileError(path, "the file has 0 bytes", _RESTORE)
    is_gzip = start.startswith(_GZIP_MAGIC)
    if not is_gzip and not start.startswith(b"SIMPLE"):
        raise StructureError(
            path, f"not a FITS file (it begins with {start!r})", "give calibrated FITS exposures"
        )
    if not is_gzip and not has_tiles and not path.lower().endswith(".fz"):
        return path
    write = partial(_unzip if is_gzip else _decompress_tiles, path)
    return str(_stage(path, staging_dir, strip_compression(Path(path).name), write))


def _open(readable: str, path: str) -> fits.HDUList:
    source = open_stream(readable) if is_remote(readable) else readable
    try:
        return fits.open(source, mode="readonly", memmap=False, lazy_load_hdus=False)
    except OSError as error:
        problem = f"not readable as FITS ({' '.join(str(error).split())})"
        raise TruncatedFileError(path, problem, _RESTORE) from error


def _stage(path: str, staging_dir: Path | None, name: str, write: Callable[[Path], None]) -> Path:
    """Copy of an input under its staged name, written by `write` unless it is there already."""
    if staging_dir is None:
        raise ParameterError(
            f"{path} is compressed or of an older format and no staging folder was given; "
            "convert it or name one"
        )
    parts = [path, geis_data_file(path)] if is_geis(path) else [path]
    identity = "".join(_identity(part) for part in parts)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    target = staging_dir / f"{digest}_{name}"
    if target.exists():
        return target
    staging_dir.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        temporary.replace(target)
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        raise TruncatedFileError(path, f"cannot be uncompressed ({error})", _RESTORE) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _identity(path: str) -> str:
    """What tells a file from another, and from itself after a change."""
    if not is_remote(path) and not Path(path).exists():
        return f"{path}:absent"
    size, tag = size_and_tag(path)
    return f"{path if is_remote(path) else os.path.realpath(path)}:{size}:{tag}"


def _write(read: Callable[[], fits.HDUList], temporary: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        read().writeto(temporary, output_verify="silentfix")


def _unzip(path: str, temporary: Path) -> None:
    with open_stream(path) as packed, gzip.open(packed, "rb") as source, temporary.open("wb") as sink:
        shutil.copyfileobj(source, sink, _COPY_BYTES)


def _decompress_tiles(path: str, temporary: Path) -> None:
    """Write tile-compressed images as plain ones; other extensions are kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        with open_stream(path) as packed, fits.open(packed, memmap=False) as hdul:
            plain = [
                fits.ImageHDU(hdu.data, hdu.header) if isinstance(hdu, fits.CompImageHDU) else hdu.copy()
                for hdu in hdul
            ]
            if len(plain) > 1 and plain[0].header.get("NAXIS", 0) == 0:
                plain[0] = fits.PrimaryHDU(header=hdul[0].header)
            fits.HDUList(plain).writeto(temporary, output_verify="ignore")
