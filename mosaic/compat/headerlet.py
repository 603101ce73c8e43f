"""The headerlet tasks of stwcs under their names: ``from mosaic.compat import headerlet``.

Files are updated in place, as there; what stwcs only reports as a message and passes over is an error here.
Arguments `logging` and `logmode` are accepted and without effect: errors are raised, nothing is printed
but the summary. Does not cover `updatewcs` (`mosaic.headers.update_wcs`).
"""

# ruff: noqa: FBT001, FBT002  (the signatures are those of the system replaced)
from __future__ import annotations

import glob
import io
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

from astropy.io import fits

from mosaic.errors import OutputError, ParameterError
from mosaic.solutions import apply
from mosaic.solutions.apply import Selector
from mosaic.solutions.distortion import distortion_names
from mosaic.solutions.editing import edited, open_solutions, write_file
from mosaic.solutions.headerlets import (
    SUMMARY_KEYWORDS,
    Headerlet,
    HeaderletText,
    from_extension,
    headerlet_extensions,
    headerlet_from_bytes,
    read_headerlet,
)
from mosaic.solutions.headerlets import create_headerlet as _create
from mosaic.solutions.wcscorr import record_solutions

FileArgument: TypeAlias = str | Path | Any
"""Name of a file, or an open HDUList, which is changed in memory."""


def write_headerlet(
    filename: FileArgument | Sequence[str],
    hdrname: str,
    output: str | None = None,
    sciext: str = "SCI",
    wcsname: str | None = None,
    wcskey: str | None = None,
    destim: str | None = None,
    sipname: str | None = None,
    npolfile: str | None = None,
    d2imfile: str | None = None,
    author: str | None = None,
    descrip: str | None = None,
    history: str | None = None,
    nmatch: int | None = None,
    catalog: str | None = None,
    attach: bool = True,
    clobber: bool = False,
    logging: bool = False,
) -> None:
    """Write a headerlet of the primary WCS, or of the alternate named, to a file; attach it.

    The file is ``<image root>_hlet.fits``, ``<image root>_<output>_hlet.fits`` when `output` has no
    ``.fits``, else `output`.

    Raises
    ------
    ParameterError
        When `hdrname` is blank, the WCS is not there, or `hdrname` is attached already.
    OutputError
        When the file exists and `clobber` is false.
    """
    del logging
    if not hdrname or not hdrname.strip():
        raise ParameterError("hdrname is blank; a headerlet needs a name")
    text = _text(author, descrip, history, nmatch, catalog)
    for file in _files(filename):
        with _reading(file) as hdul:
            names = distortion_names(
                hdul, sipname=sipname or "", npolfile=npolfile or "", d2imfile=d2imfile or ""
            )
            made = _create(
                hdul,
                hdrname,
                sciext=sciext,
                wcsname=wcsname,
                wcskey=wcskey,
                destim=destim or "",
                names=names,
                text=text,
            )
            root = Path(str(hdul.filename() or made.destim)).name.removesuffix(".fits")
        target = Path(output) if output and output.endswith(".fits") else Path(_named(root, output))
        if target.exists() and not clobber:
            raise OutputError(f"{target} exists; use clobber=True to replace it")
        write_file(made.hdul, target)
        if attach:
            with _editing(file) as hdul:
                apply.attach(hdul, made)


def create_headerlet(
    filename: FileArgument,
    sciext: str = "SCI",
    hdrname: str | None = None,
    destim: str | None = None,
    wcskey: str = " ",
    wcsname: str | None = None,
    sipname: str | None = None,
    npolfile: str | None = None,
    d2imfile: str | None = None,
    author: str | None = None,
    descrip: str | None = None,
    history: str | None = None,
    nmatch: int | None = None,
    catalog: str | None = None,
    logging: bool = False,
    logmode: str = "w",
) -> Headerlet:
    """Make a headerlet in memory."""
    del logging, logmode
    with _reading(filename) as hdul:
        names = distortion_names(
            hdul, sipname=sipname or "", npolfile=npolfile or "", d2imfile=d2imfile or ""
        )
        return _create(
            hdul,
            hdrname or "",
            sciext=sciext,
            wcskey=None if wcsname and not wcskey.strip() else wcskey,
            wcsname=wcsname,
            destim=destim or "",
            names=names,
            text=_text(author, descrip, history, nmatch, catalog),
        )


def archive_as_headerlet(
    filename: FileArgument,
    hdrname: str,
    sciext: str = "SCI",
    wcsname: str | None = None,
    wcskey: str | None = None,
    destim: str | None = None,
    sipname: str | None = None,
    npolfile: str | None = None,
    d2imfile: str | None = None,
    author: str | None = None,
    descrip: str | None = None,
    history: str | None = None,
    nmatch: int | None = None,
    catalog: str | None = None,
    logging: bool = False,
    logmode: str = "w",
) -> None:
    """Attach a headerlet of a WCS, without a file; one of `wcsname` and `wcskey` is required."""
    if wcsname is None and wcskey is None:
        raise ParameterError("give wcsname or wcskey: the WCS to archive (wcskey=' ' for the primary one)")
    headerlet = create_headerlet(
        filename, sciext, hdrname, destim, wcskey or " ", wcsname, sipname, npolfile, d2imfile,
        author, descrip, history, nmatch, catalog, logging, logmode,
    )  # fmt: skip
    with _editing(filename) as hdul:
        apply.attach(hdul, headerlet)
        record_solutions(hdul)


def apply_headerlet_as_primary(
    filename: FileArgument | Sequence[str],
    hdrlet: FileArgument | Headerlet | Sequence[str],
    attach: bool = True,
    archive: bool = True,
    force: bool = False,
    logging: bool = False,
    logmode: str = "a",
) -> None:
    """Make the solution of a headerlet the primary WCS (`mosaic.solutions.apply.apply_as_primary`)."""
    del logging, logmode
    for file, headerlet in _pairs(filename, hdrlet):
        with _editing(file) as hdul:
            apply.apply_as_primary(hdul, headerlet, attach_it=attach, archive=archive, force=force)


def apply_headerlet_as_alternate(
    filename: FileArgument | Sequence[str],
    hdrlet: FileArgument | Headerlet | Sequence[str],
    attach: bool = True,
    wcskey: str | None = None,
    wcsname: str | None = None,
    logging: bool = False,
    logmode: str = "w",
) -> None:
    """Add the solution of a headerlet as an alternate WCS."""
    del logging, logmode
    key = wcskey.strip() or None if wcskey else None
    for file, headerlet in _pairs(filename, hdrlet):
        with _editing(file) as hdul:
            apply.apply_as_alternate(hdul, headerlet, key=key, name=wcsname or "", attach_it=attach)


def attach_headerlet(
    filename: FileArgument | Sequence[str],
    hdrlet: FileArgument | Headerlet | Sequence[str],
    logging: bool = False,
    logmode: str = "a",
) -> None:
    """Append a headerlet as HDRLET extension."""
    del logging, logmode
    for file, headerlet in _pairs(filename, hdrlet):
        with _editing(file) as hdul:
            apply.attach(hdul, headerlet)


def delete_headerlet(
    filename: FileArgument | Sequence[str],
    hdrname: str | None = None,
    hdrext: int | tuple[str, int] | None = None,
    distname: str | None = None,
    keep_first: bool = False,
    logging: bool = False,
    logmode: str = "w",
) -> None:
    """Remove attached headerlets: exactly one selector."""
    del logging, logmode
    for file in _files(filename):
        with _editing(file) as hdul:
            selector = _selector(hdul, hdrname, hdrext, distname)
            apply.delete_headerlets(hdul, selector, keep_first=keep_first)


def extract_headerlet(
    filename: FileArgument,
    output: str,
    extnum: int | None = None,
    hdrname: str | None = None,
    clobber: bool = False,
    logging: bool = True,
) -> None:
    """Write an attached headerlet to a file, byte for byte.

    Parameters
    ----------
    filename : file
        The exposure.
    output : str
        File to write; ``.fits`` is appended when absent.
    extnum : int, optional
        Index of the extension.
    hdrname : str, optional
        HDRNAME.
    clobber : bool
        Replace a file that exists.
    logging : bool
        Without effect.
    """
    del logging
    target = Path(output if output.endswith(".fits") else f"{output}.fits")
    if target.exists() and not clobber:
        raise OutputError(f"{target} exists; use clobber=True to replace it")
    with _reading(filename) as hdul:
        selector = _selector(hdul, hdrname, extnum, None)
        write_file(from_extension(hdul, selector.index(hdul)).hdul, target)


def restore_from_headerlet(
    filename: FileArgument,
    hdrname: str | None = None,
    hdrext: int | tuple[str, int] | None = None,
    archive: bool = True,
    force: bool = False,
    logging: bool = False,
    logmode: str = "w",
) -> None:
    """Make an attached headerlet the primary WCS."""
    del logging, logmode
    with _editing(filename) as hdul:
        selector = _selector(hdul, hdrname, hdrext, None)
        apply.restore_headerlet(hdul, selector, archive=archive, force=force)


def restore_all_with_distname(
    filename: FileArgument,
    distname: str,
    primary: int | str | None,
    archive: bool = True,
    sciext: str = "SCI",
    logging: bool = False,
    logmode: str = "w",
) -> None:
    """Make one headerlet of a distortion model primary, and the others alternates."""
    del sciext, logging, logmode
    with _editing(filename) as hdul:
        chosen: int | str | None = primary
        if isinstance(primary, int):
            chosen = _selector(hdul, None, primary, None).number
        apply.restore_all(hdul, distname, chosen, archive=archive)


def headerlet_summary(
    filename: FileArgument | Sequence[str],
    columns: Sequence[str] | None = None,
    pad: int = 2,
    maxwidth: int | None = None,
    output: str | None = None,
    clobber: bool = True,
    quiet: bool = False,
) -> list[dict[str, str]]:
    """Return the attached headerlets of files, and print them as a table unless `quiet`.

    Returns
    -------
    list of dict
        One for each headerlet: EXTN and the columns.
    """
    wanted = [name.upper() for name in columns or SUMMARY_KEYWORDS]
    rows: list[dict[str, str]] = []
    for file in _files(filename):
        with _reading(file) as hdul:
            for index in headerlet_extensions(hdul):
                primary = from_extension(hdul, index).hdul[0].header
                row = {name: str(primary.get(name, hdul[index].header.get(name, "INDEF"))) for name in wanted}
                rows.append({"EXTN": str(index), **row})
    table = _as_text(["EXTN", *wanted], rows, pad, maxwidth)
    if output:
        if Path(output).exists() and not clobber:
            raise OutputError(f"{output} exists; use clobber=True to replace it")
        Path(output).write_text(table, encoding="utf-8")
    if not quiet:
        sys.stdout.write(table)
    return rows


def find_headerlet_HDUs(  # noqa: N802  (the name of stwcs)
    fobj: FileArgument,
    hdrext: int | tuple[str, int] | None = None,
    hdrname: str | None = None,
    distname: str | None = None,
    strict: bool = True,
    logging: bool = False,
    logmode: str = "w",
) -> list[int]:
    """Return the indices of the HDRLET extensions that fit; of all when nothing is given and not `strict`."""
    del logging, logmode
    with _reading(fobj) as hdul:
        if not strict and hdrext is None and hdrname is None and distname is None:
            return headerlet_extensions(hdul)
        return _selector(hdul, hdrname, hdrext, distname).indices(hdul)


def get_headerlet_kw_names(fobj: FileArgument, kw: str = "HDRNAME") -> list[str]:
    """Return the values of a keyword in all HDRLET extensions."""
    with _reading(fobj) as hdul:
        return [str(hdul[index].header.get(kw, "")).strip() for index in headerlet_extensions(hdul)]


def _files(filename: FileArgument | Sequence[str]) -> list[Any]:
    """Files of an argument: names with wildcards and commas, lists, open files."""
    if isinstance(filename, str):
        found: list[Any] = []
        for part in filename.split(","):
            matches = sorted(glob.glob(part.strip())) if any(c in part for c in "*?[") else [part.strip()]  # noqa: PTH207
            if not matches:
                raise ParameterError(f"no file matches {part.strip()!r}")
            found += matches
        return found
    if isinstance(filename, fits.HDUList) or not isinstance(filename, list | tuple):
        return [filename]
    return list(filename)


def _pairs(
    filename: FileArgument | Sequence[str], hdrlet: FileArgument | Headerlet | Sequence[str]
) -> list[tuple[Any, Headerlet]]:
    """Files with their headerlets: by DESTIM when there are several."""
    files = _files(filename)
    given = [hdrlet] if isinstance(hdrlet, Headerlet) else _files(hdrlet)
    headerlets = [h if isinstance(h, Headerlet) else _headerlet(h) for h in given]
    if len(files) == len(headerlets) == 1:
        return [(files[0], headerlets[0])]
    pairs = []
    for headerlet in headerlets:
        matching = [file for file in files if _rootname(file) == headerlet.destim]
        if not matching:
            raise ParameterError(f"headerlet {headerlet.hdrname!r} is for {headerlet.destim!r}, not listed")
        pairs += [(file, headerlet) for file in matching]
    return pairs


def _headerlet(file: FileArgument) -> Headerlet:
    if isinstance(file, fits.HDUList):
        buffer = io.BytesIO()
        file.writeto(buffer, output_verify="ignore")
        return headerlet_from_bytes(buffer.getvalue(), str(file.filename() or "headerlet"))
    return read_headerlet(file)


def _rootname(file: FileArgument) -> str:
    with _reading(file) as hdul:
        return str(hdul[0].header.get("ROOTNAME", "")).strip()


def _selector(
    hdul: fits.HDUList, hdrname: str | None, hdrext: int | tuple[str, int] | None, distname: str | None
) -> Selector:
    """Selector of stwcs's arguments: a number is the index of the extension, a pair EXTNAME and EXTVER."""
    number = None
    if isinstance(hdrext, tuple):
        number = hdrext[1]
    elif hdrext is not None:
        there = headerlet_extensions(hdul)
        if hdrext not in there:
            raise ParameterError(f"extension {hdrext} is no headerlet (headerlets are in: {there or 'none'})")
        number = there.index(hdrext) + 1
    return Selector(hdrname or "", number, distname or "")


def _reading(file: FileArgument) -> AbstractContextManager[fits.HDUList]:
    """Open a file, or use one that is open."""
    return nullcontext(file) if isinstance(file, fits.HDUList) else open_solutions(file)


def _editing(file: FileArgument) -> AbstractContextManager[fits.HDUList]:
    """Edit a file in place, or change one that is open in memory."""
    return nullcontext(file) if isinstance(file, fits.HDUList) else edited(file, Path(file))


def _text(
    author: str | None, descrip: str | None, history: str | None, nmatch: int | None, catalog: str | None
) -> HeaderletText:
    """Texts of a headerlet; `history` is the name of a file."""
    lines = ""
    if history and history.strip() not in {"", "INDEF"} and Path(history).is_file():
        lines = Path(history).read_text(encoding="utf-8")
    return HeaderletText(author or "", descrip or "", lines, nmatch, catalog or "")


def _named(root: str, output: str | None) -> str:
    return f"{root}_{output}_hlet.fits" if output else f"{root}_hlet.fits"


def _as_text(names: Sequence[str], rows: Sequence[dict[str, str]], pad: int, maxwidth: int | None) -> str:
    """Return a table in columns as wide as their longest value."""
    widths = [max(len(name), *(len(row[name]) for row in rows)) if rows else len(name) for name in names]
    widths = [min(width, maxwidth) if maxwidth else width for width in widths]
    gap = " " * pad
    lines = [dict(zip(names, names, strict=True)), *rows]
    return "".join(
        gap.join(line[name][:width].ljust(width) for name, width in zip(names, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
