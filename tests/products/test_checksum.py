from __future__ import annotations

import numpy as np
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from mosaic.products.checksum import OnesComplementSum, encode_checksum


def slow_sum(data: bytes) -> int:
    """Ones' complement sum of big-endian words, by the definition."""
    data += bytes(-len(data) % 4)
    total = sum(int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4))
    while total > 0xFFFFFFFF:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_sum_does_not_depend_on_how_the_bytes_are_cut(pieces: list[bytes]) -> None:
    total = OnesComplementSum()
    for piece in pieces:
        total.update(piece)
    assert total.value == slow_sum(b"".join(pieces))


def test_value_may_be_asked_for_in_between() -> None:
    total = OnesComplementSum()
    total.update(b"abcde")
    assert total.value == slow_sum(b"abcde")
    total.update(b"fgh")
    assert total.value == slow_sum(b"abcdefgh")


@given(st.integers(0, 0xFFFFFFFF))
def test_coded_sum_is_alphanumeric_and_adds_up_to_the_complement(total: int) -> None:
    coded = encode_checksum(total)
    assert len(coded) == 16
    assert coded.isalnum()
    # In a header the value begins at column 12 (a multiple of four minus one): undo the rotation, take
    # off the zeros and the four characters of each place add up to the complement.
    unrotated = coded[1:] + coded[:1]
    words = np.frombuffer(unrotated.encode(), dtype=">u4").astype(np.uint64)
    assert slow_sum((int(words.sum()) - 4 * 0x30303030).to_bytes(8, "big")) == 0xFFFFFFFF - total


def test_coding_agrees_with_astropy() -> None:
    hdu = fits.ImageHDU(np.arange(600, dtype=np.int16).reshape(20, 30))
    hdu.add_checksum()
    block = hdu.header.tostring().replace(hdu.header["CHECKSUM"], "0" * 16).encode()
    total = OnesComplementSum(int(hdu.header["DATASUM"]))
    total.update(block)
    assert encode_checksum(total.value) == hdu.header["CHECKSUM"]
