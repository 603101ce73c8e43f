"""Headers of a file as text: astropy takes much longer for all HDUs than for the headers that are wanted."""

from __future__ import annotations

import math
from typing import BinaryIO, Final

from astropy.io import fits

from mosaic.exposure.storage import FITS_BLOCK, open_fits, open_stream, padded

_CARD: Final = 80
_END: Final = b"END" + b" " * (_CARD - 3)


def header_texts(path: str) -> list[bytes]:
    """Headers of all HDUs of a file, in order; of compressed images as astropy presents them.

    Raises
    ------
    OSError
        When it cannot be opened or is not FITS.
    """
    with open_stream(path) as stream:
        texts = _read_texts(stream)
    if texts is None:
        with open_fits(path) as hdus:
            texts = [hdu.header.tostring().encode("ascii") for hdu in hdus]
    return texts


def card_value(text: bytes, keyword: str) -> object:
    """Value of the first card of a keyword; None when there is none."""
    try:
        place = _place(text, keyword)
    except ValueError:
        return None
    value: object = fits.Card.fromstring(text[place : place + _CARD]).value
    return value


def _read_texts(stream: BinaryIO) -> list[bytes] | None:
    """Headers of a plain FITS file; None for what is packed or not quite as the standard has it."""
    texts: list[bytes] = []
    position = 0
    while True:
        stream.seek(position)
        block = stream.read(FITS_BLOCK)
        if texts and not block.startswith(b"XTENSION"):
            return texts
        if not texts and not block.startswith(b"SIMPLE  ="):
            return None
        text = b""
        while not (end := _end_of(block)):
            if len(block) < FITS_BLOCK:
                return None
            text += block
            block = stream.read(FITS_BLOCK)
        text += block[:end]
        if b"ZIMAGE  =" in text or (n_bytes := _data_bytes(text)) is None:
            return None
        position += padded(len(text)) + padded(n_bytes)
        texts.append(text)


def _end_of(block: bytes) -> int:
    """Where the END card of a block ends; 0 when it has none."""
    place = -1
    while (place := block.find(_END, place + 1)) >= 0:
        if place % _CARD == 0:
            return place + _CARD
    return 0


def _data_bytes(text: bytes) -> int | None:
    """Bytes of the data that follow a header; None when its cards do not tell, or tell of random groups."""
    try:
        axes = [_integer(text, f"NAXIS{axis}") for axis in range(1, _integer(text, "NAXIS") + 1)]
        if not axes or axes[0] == 0:
            return None if axes else 0
        n_extra = _integer(text, "PCOUNT") if b"PCOUNT  =" in text else 0
        return abs(_integer(text, "BITPIX")) // 8 * (math.prod(axes) + n_extra)
    except ValueError:
        return None


def _integer(text: bytes, keyword: str) -> int:
    """Integer of a card in the fixed format of those that describe the data."""
    return int(text[(place := _place(text, keyword)) + 10 : place + 30])


def _place(text: bytes, keyword: str) -> int:
    """Where the first card of a keyword begins.

    Raises
    ------
    ValueError
        When there is none.
    """
    start = f"{keyword:<8}=".encode("ascii")
    place = text.index(start)
    while place % _CARD:
        place = text.index(start, place + 1)
    return place
