"""Plain copies of compressed exposures, made once, so that rows can be read by position.

Covers gzip and tile-compressed (.fz) FITS. A copy appears under its final name only when complete.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import warnings
import zlib
from pathlib import Path
from typing import Final

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from mosaic.errors import MissingFileError, ParameterError, StructureError, TruncatedFileError
from mosaic.exposure.inputs import strip_compression
from mosaic.exposure.storage import is_remote, open_stream, read_bytes, size_and_tag

_GZIP_MAGIC: Final = b"\x1f\x8b"
_RESTORE: Final = "fetch the file again or remove it from the list"
_COPY_BYTES: Final = 1 << 20


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
    if staging_dir is None:
        raise ParameterError(
            f"{path} is compressed and no staging folder was given; uncompress it or name one"
        )
    return str(_stage(path, staging_dir, is_gzip=is_gzip))


def _stage(path: str, staging_dir: Path, *, is_gzip: bool) -> Path:
    size, tag = size_and_tag(path)
    identity = f"{path if is_remote(path) else os.path.realpath(path)}:{size}:{tag}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    target = staging_dir / f"{digest}_{strip_compression(Path(path).name)}"
    if target.exists():
        return target
    staging_dir.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        if is_gzip:
            with open_stream(path) as packed, gzip.open(packed, "rb") as source, partial.open("wb") as sink:
                shutil.copyfileobj(source, sink, _COPY_BYTES)
        else:
            _decompress_tiles(path, partial)
        partial.replace(target)
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        raise TruncatedFileError(path, f"cannot be uncompressed ({error})", _RESTORE) from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _decompress_tiles(path: str, partial: Path) -> None:
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
            fits.HDUList(plain).writeto(partial, output_verify="ignore")
