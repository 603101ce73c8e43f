"""The product of a run that no exposure survived: headers without pixels, so that what follows finds a file.

Covers the file that DrizzlePac writes in this case. Does not decide when there is none left.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from astropy.io import fits

from mosaic.exposure.storage import open_fits
from mosaic.headers.keywords import CardValue, remove_structure, set_value
from mosaic.places import Place, RemotePlace, place_of, put, size_of
from mosaic.products.partial import write_whole

STATUS_KEYWORD = "PRODSTAT"
"""Says ``EMPTY`` in the primary header of a product without pixels."""


def write_empty_product(inputs: Sequence[str], output: str, reasons: Sequence[str]) -> Place | None:
    """Write a product without pixels, with the headers of the first input that can be read.

    Parameters
    ----------
    inputs : sequence of str
        Files of the run.
    output : str
        The `output` parameter; the file is ``<output>_drz.fits``, whatever the instrument.
    reasons : sequence of str
        Why no exposure is left, one line each, for HISTORY.

    Returns
    -------
    Path, RemotePlace or None
        The file: PRIMARY of the first input, and SCI, WHT, CTX with the header of its SCI,1 and no data.
        None when no input can be read, or when the file is there already: it may be a good product.
    """
    headers = next((found for path in inputs if (found := _first_headers(path)) is not None), None)
    if headers is None:
        return None
    primary, sci = headers
    stem = output.removesuffix(".fits").removesuffix("_drz")
    stem += "final" if not stem or stem.endswith("/") else ""
    place = place_of(f"{stem}_drz.fits")
    if size_of(place) >= 0:
        return None
    values: dict[str, CardValue] = {
        "NEXTEND": 3,
        "FILENAME": place.name,
        "ROOTNAME": place_of(stem).name,
        "ASN_MTYP": "PROD-DTH",
        STATUS_KEYWORD: "EMPTY",
    }
    for keyword, value in values.items():
        set_value(primary, keyword, value)
    primary.add_history("Product without pixels: no input could be used")
    for reason in reasons:
        primary.add_history(reason)
    images = [fits.ImageHDU(header=sci, name=name, ver=1) for name in ("SCI", "WHT", "CTX")]
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(header=primary), *images]).writeto(buffer)
    if isinstance(place, RemotePlace):
        put(place, buffer.getvalue())
    else:
        write_whole(place, buffer.getvalue())
    return place


def _first_headers(path: str) -> tuple[fits.Header, fits.Header] | None:
    """Return PRIMARY and SCI,1 of a file without the storage of pixels; None when there are none."""
    try:
        with open_fits(path) as hdus:
            headers = hdus[0].header.copy(), hdus["SCI", 1].header.copy()
    except (OSError, KeyError, ValueError, TypeError):
        return None
    for header in headers:
        remove_structure(header)
    return headers
