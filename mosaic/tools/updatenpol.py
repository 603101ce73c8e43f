"""Name the NPOLFILE and D2IMFILE that belong to an exposure in its primary header.

Covers the choice by detector, filters and date, the keywords, and having the WCS derived from them. Does not
cover how that is done (`mosaic.headers.update_wcs`).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import environ
from pathlib import Path
from typing import Final

from astropy.io import fits

from mosaic.errors import MetadataError, MissingFileError, ParameterError
from mosaic.exposure.storage import open_fits
from mosaic.headers.update_wcs import copy_with_new_wcs
from mosaic.products.partial import PartialFile
from mosaic.tools.extensions import find_files
from mosaic.tools.rewrite import editing, require_target, target_of

logger = logging.getLogger(__name__)

_DATES: Final = ("%Y-%m-%d", "%b %d %Y %H:%M:%S", "%b %d %Y", "%d/%m/%y", "%Y-%m-%dT%H:%M:%S")
_COMMENTS: Final = {
    "NPOLFILE": "Non-polynomial distortion correction",
    "D2IMFILE": "Detector to image correction",
}


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """A file of corrections and what it is for."""

    path: Path
    detector: str
    filters: tuple[str, str]
    """FILTER1 and FILTER2; ANY or empty stands for every filter."""
    useafter: datetime
    """From when on it holds."""

    def fits_to(self, detector: str, filters: tuple[str, str], date: datetime | None) -> bool:
        """Whether it may be used for an exposure."""
        wildcards = {"", "ANY"}
        return (
            self.detector == detector
            and all(
                own in wildcards or own == other for own, other in zip(self.filters, filters, strict=True)
            )
            and (date is None or self.useafter <= date)
        )


@dataclass(frozen=True, slots=True)
class Assignment:
    """Keywords of one exposure."""

    path: Path
    """File with the new keywords."""
    npolfile: str
    """Value of NPOLFILE."""
    d2imfile: str
    """Value of D2IMFILE; empty when no file fits, which leaves the keyword as it is."""


def assign_references(
    files: str | Sequence[str],
    folder: Path,
    prefix: str,
    *,
    dry_run: bool = False,
    output: Path | None = None,
) -> list[Assignment]:
    """Write NPOLFILE and D2IMFILE into primary headers.

    Of the files that fit detector, filters and date, the one with the latest USEAFTER is taken, of these the
    last by name.

    Parameters
    ----------
    files : str or sequence of str
        Exposures: files, globs, comma lists, @lists, association tables.
    folder : Path
        Where ``*npl.fits`` and ``*d2i.fits`` are.
    prefix : str
        What stands before the file name in the keywords, such as ``jref$``.
    dry_run : bool
        Only say what would be written.
    output : Path, optional
        File or folder to write; None changes the files themselves.

    Raises
    ------
    MissingFileError
        When no NPOLFILE fits an exposure; no file is changed then.
    MetadataError
        When an exposure has no DETECTOR.
    """
    if not folder.is_dir():
        raise ParameterError(f"{folder} is not a folder; name the one with *npl.fits and *d2i.fits")
    npol, d2im = _read_references(folder, "*npl.fits"), _read_references(folder, "*d2i.fits")
    paths = find_files(files)
    require_target(output, paths)
    assignments = [_assign(path, target_of(path, output), npol, d2im, folder, prefix) for path in paths]
    if dry_run:
        return assignments
    for path, assignment in zip(paths, assignments, strict=True):
        with editing(path, output) as edit:
            _set(edit.hdul[0].header, assignment)
            edit.mark(0)
    return assignments


def reference_folder(refdir: str) -> tuple[Path, str]:
    """Folder of references, and what stands before their names in headers."""
    name, dollar, rest = refdir.partition("$")
    if not dollar:
        return Path(refdir), refdir if not refdir or refdir.endswith("/") else f"{refdir}/"
    if name not in environ:
        raise ParameterError(
            f"refdir={refdir!r}: set the environment variable {name} to the folder of references"
        )
    return Path(environ[name]) / rest, refdir if not rest or rest.endswith("/") else f"{refdir}/"


def derive_wcs(path: Path) -> None:
    """Derive the WCS of an exposure anew from its references, in place.

    Raises
    ------
    ExposureError
        When a reference is missing or no WCS can be derived; the file is then as before.
    """
    with tempfile.TemporaryDirectory(prefix="mosaic_updatewcs_") as folder:
        derived = copy_with_new_wcs(path, Path(folder))
        with PartialFile(path) as out:
            out.close()
            shutil.copyfile(derived, out.temporary)
            shutil.copymode(path, out.temporary)
            out.publish()


def _assign(
    path: Path,
    target: Path,
    npol: Sequence[ReferenceFile],
    d2im: Sequence[ReferenceFile],
    folder: Path,
    prefix: str,
) -> Assignment:
    """Choose the references of one exposure."""
    with open_fits(str(path)) as hdul:
        header = hdul[0].header
    detector = str(header.get("DETECTOR", "")).strip().upper()
    if not detector:
        raise MetadataError(str(path), "DETECTOR is absent", "correct the header")
    filters = (str(header.get("FILTER1", "")).strip().upper(), str(header.get("FILTER2", "")).strip().upper())
    text = str(header.get("DATE-OBS", "") or "").strip()
    date = _parse_date(text) if text else None
    best = _latest(reference for reference in npol if reference.fits_to(detector, filters, date))
    if best is None:
        what = (
            f"no *npl.fits in {folder} fits DETECTOR {detector}, FILTER1 {filters[0]}, FILTER2 {filters[1]}"
        )
        raise MissingFileError(
            str(path), what + (f", DATE-OBS {text}" if text else ""), "name another folder"
        )
    column = _latest(reference for reference in d2im if reference.fits_to(detector, filters, date))
    if column is None:
        logger.warning(
            "%s: no *d2i.fits in %s fits DETECTOR %s; D2IMFILE is left as it is", path, folder, detector
        )
    return Assignment(target, prefix + best.path.name, "" if column is None else prefix + column.path.name)


def _set(header: fits.Header, assignment: Assignment) -> None:
    """Write the keywords, after DGEOFILE when they are new."""
    for keyword, value in (("D2IMFILE", assignment.d2imfile), ("NPOLFILE", assignment.npolfile)):
        if not value:
            continue
        if keyword in header or "DGEOFILE" not in header:
            header[keyword] = (value, _COMMENTS[keyword])
        else:
            header.set(keyword, value, _COMMENTS[keyword], after="DGEOFILE")


def _read_references(folder: Path, pattern: str) -> list[ReferenceFile]:
    found = []
    for path in sorted(folder.glob(pattern)):
        header = fits.getheader(path)
        found.append(
            ReferenceFile(
                path,
                str(header.get("DETECTOR", "")).strip().upper(),
                (
                    str(header.get("FILTER1", "")).strip().upper(),
                    str(header.get("FILTER2", "")).strip().upper(),
                ),
                _parse_date(str(header.get("USEAFTER", "") or "")) or datetime.min.replace(tzinfo=UTC),
            )
        )
    return found


def _latest(references: Iterable[ReferenceFile]) -> ReferenceFile | None:
    return max(references, key=lambda reference: (reference.useafter, reference.path.name), default=None)


def _parse_date(text: str) -> datetime | None:
    """Date in one of the forms of Hubble headers; None when it is in none of them."""
    for form in _DATES:
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
