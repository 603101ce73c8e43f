"""Write the cosmic rays that were found into the data-quality arrays of exposures.

Covers copies of exposures with new DQ bits and the sky in MDRIZSKY, and the same in place. Every byte that
does not have to change stays as it is; a file that carries CHECKSUM and DATASUM keeps them true. Does not
cover how cosmic rays are found (`mosaic.steps.cosmic_rays`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from mosaic.errors import OutputError, StructureError, TruncatedFileError
from mosaic.exposure.model import Chip, DataBlock, Exposure
from mosaic.exposure.staging import named_plainly
from mosaic.products.checksum import OnesComplementSum, encode_checksum
from mosaic.products.partial import BLOCK, PartialFile, require_space
from mosaic.types import BoolArray, Window

_BAND_BYTES = 16 * 2**20
_MAX_BITS = 0xFFFF
_STORED = {8: ">u1", 16: ">u2", 32: ">u4"}
SKY_COMMENT = "Sky value computed by AstroDrizzle"
"""Comment of MDRIZSKY."""


class MaskSource(Protocol):
    """Gives the cosmic rays of a window of a chip."""

    def __call__(self, chip: Chip, window: Window, /) -> BoolArray:
        """Return True where a pixel is hit."""


@dataclass(frozen=True, slots=True)
class DqBits:
    """Which data-quality bits change."""

    crbit: int
    """Bit set where a cosmic ray was found; 0 sets none."""
    resetbits: int = 0
    """Bits cleared everywhere before."""

    def __post_init__(self) -> None:
        for name in ("crbit", "resetbits"):
            value = getattr(self, name)
            if not 0 <= value <= _MAX_BITS:
                raise ValueError(f"{name} must be between 0 and {_MAX_BITS}, not {value}")

    def apply(self, flags: NDArray[np.uint16], is_cosmic_ray: BoolArray) -> NDArray[np.uint16]:
        """Return the new flags; unsigned 16-bit arithmetic, so bit 32768 works."""
        kept = flags & np.uint16(_MAX_BITS & ~self.resetbits)
        return np.where(is_cosmic_ray, kept | np.uint16(self.crbit), kept).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class _Unit:
    """One HDU of the file: where it is, and what happens to it."""

    header_at: int
    data_at: int
    data_bytes: int
    sky: float | None
    """MDRIZSKY to write; None leaves the header as it is, except for checksums."""
    has_sums: bool
    """Whether CHECKSUM and DATASUM must be made true again."""
    chip: Chip | None
    """Chip whose flags these pixels are; None leaves the pixels as they are."""


def write_dq_update(
    exposure: Exposure,
    crmask: MaskSource,
    bits: DqBits,
    *,
    mode: Literal["copy", "inplace"],
    folder: Path | None = None,
    sky: Mapping[int, float] | None = None,
) -> list[Path]:
    """Write an exposure with updated data quality.

    Parameters
    ----------
    exposure : Exposure
        The exposure; only its files are read.
    crmask : callable (Chip, Window) -> bool array
        Cosmic rays of a window of one of its chips, called for bands of full rows in order.
    bits : DqBits
        Bits to clear and to set.
    mode : {"copy", "inplace"}
        Write a copy into `folder`, or replace the file: the copy then lies beside it until it is complete.
    folder : Path, optional
        Where copies go; required for "copy". A compressed input gives an uncompressed copy.
    sky : mapping of int to float, optional
        MDRIZSKY of each chip by the index of its SCI extension, native units; others keep their header.

    Returns
    -------
    list of Path
        Files written: the exposure, and its DQ file where that is another one.

    Raises
    ------
    OutputError
        When the target cannot be written, the disk is full, or an input cannot be replaced in place.
    StructureError
        When a DQ array is not where the catalogue found it.
    TruncatedFileError
        When a file has become shorter.
    """
    sources: dict[str, Path] = {}
    for chip in exposure.chips:
        sources[chip.sci.path] = Path(exposure.path)
        if chip.dq is not None and chip.dq.path != chip.sci.path:
            sources.setdefault(chip.dq.path, Path(exposure.flag_path or chip.dq.path))
    targets = {source: _target(source, named, mode, folder) for source, named in sources.items()}
    return [_rewrite(exposure, source, target, crmask, bits, sky or {}) for source, target in targets.items()]


def _target(source: str, named: Path, mode: str, folder: Path | None) -> Path:
    """Return where the new file goes."""
    if mode == "copy":
        if folder is None:
            raise ValueError("mode 'copy' needs a folder")
        target = folder / named_plainly(named.name)
        if "://" not in source and target.absolute() == Path(source).absolute():
            raise OutputError(f"{target}: the copy would replace its input; choose another folder")
        return target
    if "://" in source or Path(source).absolute() != named.absolute():
        raise OutputError(
            f"{named}: compressed, converted and remote inputs cannot be updated in place; "
            "use dq_update='copy'"
        )
    return named


def _rewrite(
    exposure: Exposure,
    source: str,
    target: Path,
    crmask: MaskSource,
    bits: DqBits,
    sky: Mapping[int, float],
) -> Path:
    """Write one file HDU by HDU, verify it and give it its name."""
    with _open_source(source) as file:
        units = _plan_units(exposure, source, file, sky)
        size = file.seek(0, 2)
        require_space(target, size + BLOCK * len(units))
        with PartialFile(target) as out:
            for unit in units:
                _write_unit(out, file, unit, crmask, bits)
            file.seek(units[-1].data_at + units[-1].data_bytes)
            for block in iter(lambda: file.read(_BAND_BYTES), b""):
                out.write(block)
            out.close()
            _verify(out, len(units))
            if target.exists() and "://" not in source:
                shutil.copymode(target, out.temporary)
            out.publish()
    return target


@contextmanager
def _open_source(source: str) -> Iterator[BinaryIO]:
    """Open a local or remote file for reading."""
    if "://" in source:
        import fsspec  # noqa: PLC0415 (as in `mosaic.places`)

        with fsspec.open(source, "rb") as file:
            yield file
    else:
        with Path(source).open("rb") as local:
            yield local


def _plan_units(exposure: Exposure, source: str, file: BinaryIO, sky: Mapping[int, float]) -> list[_Unit]:
    """Find all HDUs of a file and decide what happens to each."""
    dq_at = {chip.dq.offset: chip for chip in exposure.chips if chip.dq and chip.dq.path == source}
    sci = {chip.hdu_index: chip for chip in exposure.chips if chip.sci.path == source}
    units = []
    hdus = fits.open(file, memmap=False)
    try:
        for index, hdu in enumerate(hdus):
            place = hdu.fileinfo()
            chip = dq_at.pop(place["datLoc"], None) if place["datSpan"] else None
            value = sky.get(index) if index in sci else None
            is_changed = chip is not None or value is not None
            has_sums = is_changed and ("CHECKSUM" in hdu.header or "DATASUM" in hdu.header)
            units.append(_Unit(place["hdrLoc"], place["datLoc"], place["datSpan"], value, has_sums, chip))
    finally:
        hdus.close(closed=False)
    for offset, chip in dq_at.items():
        problem = "has no DQ pixels to update" if offset < 0 else f"has no DQ array at byte {offset}"
        raise StructureError(exposure.rootname, problem, "restore the file", f"dq,{chip.extver}")
    return units


def _write_unit(out: PartialFile, file: BinaryIO, unit: _Unit, crmask: MaskSource, bits: DqBits) -> None:
    """Write one HDU; checksums that were there are made true again."""
    header = _read(file, unit.header_at, unit.data_at - unit.header_at)
    if unit.sky is not None:
        header = _set_card(header, "MDRIZSKY", float(unit.sky), SKY_COMMENT)
    if unit.has_sums:
        header = _set_card(header, "DATASUM", "0", "data unit checksum")
        header = _set_card(header, "CHECKSUM", "0" * 16, "HDU checksum")
    start = out.position
    out.write(header)
    total = OnesComplementSum()
    for data in _pixels(file, unit, crmask, bits):
        out.write(data)
        if unit.has_sums:
            total.update(data)
    if unit.has_sums:
        header = _set_card(header, "DATASUM", str(total.value), "")
        whole = OnesComplementSum(total.value)
        whole.update(header)
        out.overwrite(start, _set_card(header, "CHECKSUM", encode_checksum(whole.value), ""))


def _set_card(header: bytes, keyword: str, value: float | str, comment: str) -> bytes:
    """Return the header block with one card replaced, or added before END; no other byte changes."""
    cards = [header[at : at + 80] for at in range(0, len(header), 80)]
    end = next(index for index, card in enumerate(cards) if card.rstrip() == b"END")
    name = f"{keyword:8}=".encode("ascii")
    place = next((index for index, card in enumerate(cards[:end]) if card.startswith(name)), end)
    if place < end:
        comment = fits.Card.fromstring(cards[place]).comment
    card = fits.Card(keyword, value, comment[:47]).image.encode("ascii")
    block = b"".join([*cards[:place], card, *cards[place + (place < end) : end + 1]])
    return block.ljust(-(-len(block) // BLOCK) * BLOCK)


def _pixels(file: BinaryIO, unit: _Unit, crmask: MaskSource, bits: DqBits) -> Iterator[bytes]:
    """Yield the data of an HDU in bands, with new flags where it is a DQ array."""
    done = 0
    if unit.chip is not None and unit.chip.dq is not None:
        block = unit.chip.dq
        ny, nx = block.shape_yx
        stored: np.dtype[Any] = np.dtype(_STORED[block.bitpix])
        step = max(1, _BAND_BYTES // (nx * 8))
        for y0 in range(0, ny, step):
            window = Window(y0, min(ny, y0 + step), 0, nx)
            raw = _read(file, unit.data_at + done, window.shape_yx.ny * nx * stored.itemsize)
            values = np.frombuffer(raw, dtype=stored).reshape(window.shape_yx)
            yield _update_flags(values, crmask(unit.chip, window), bits, block)
            done += len(raw)
    while done < unit.data_bytes:
        raw = _read(file, unit.data_at + done, min(_BAND_BYTES, unit.data_bytes - done))
        yield raw
        done += len(raw)


def _update_flags(values: NDArray[Any], is_cosmic_ray: BoolArray, bits: DqBits, block: DataBlock) -> bytes:
    """Return the stored form of new flags.

    Signed storage (BZERO = 0) holds the same bits as unsigned; BZERO = 2**(bitpix-1) inverts the highest.
    """
    offset = int(block.bzero)
    native = values.astype(np.uint32) ^ np.uint32(offset)
    low = (native & np.uint32(_MAX_BITS)).astype(np.uint16)
    changed = bits.apply(low, is_cosmic_ray).astype(np.uint32)
    return (((native & ~np.uint32(_MAX_BITS)) | changed) ^ np.uint32(offset)).astype(values.dtype).tobytes()


def _read(file: BinaryIO, at: int, n_bytes: int) -> bytes:
    """Read exactly so many bytes."""
    file.seek(at)
    raw = file.read(n_bytes)
    if len(raw) != n_bytes:
        problem = f"the file ends at byte {at + len(raw)} instead of {at + n_bytes} or later"
        raise TruncatedFileError(str(getattr(file, "name", "input")), problem, "restore it and run again")
    return raw


def _verify(out: PartialFile, n_units: int) -> None:
    """Read the headers back."""
    size = out.temporary.stat().st_size
    try:
        with fits.open(out.temporary, memmap=False) as hdus:
            n_found = len(hdus)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise OutputError(f"{out.path}: cannot be read back ({error}); check the disk") from error
    if size != out.position or n_found != n_units:
        raise OutputError(f"{out.path}: {n_found} HDUs and {size} bytes read back; check the disk")
