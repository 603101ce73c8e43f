"""Plain-data form of the plan: nested frozen records and arrays to JSON and back, exactly.

Covers the classes registered here; every float survives bit for bit (JSON text by ``repr``),
arrays are stored once each however many chips share them. Nothing is ever unpickled.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import zlib
from typing import Any

import numpy as np

from mosaic.errors import StoreError
from mosaic.exposure.model import Chip, DataBlock, Exposure, SkyLevel
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.wcs import ChipWcs
from mosaic.types import ShapeYX, Window

_RECORDS: dict[str, Any] = {
    cls.__name__: cls for cls in (Exposure, Chip, DataBlock, SkyLevel, ChipWcs, OutputGrid)
}
_TUPLES: dict[str, Any] = {cls.__name__: cls for cls in (ShapeYX, Window)}


def encode(value: Any, arrays: dict[str, dict[str, Any]]) -> Any:  # noqa: ANN401
    """Turn a record tree into JSON-able data; arrays go into `arrays` under their digest."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            "@": type(value).__name__,
            **{f.name: encode(getattr(value, f.name), arrays) for f in dataclasses.fields(value)},
        }
    if isinstance(value, np.ndarray):
        raw = np.ascontiguousarray(value).tobytes()
        digest = hashlib.blake2b(raw + str(value.shape).encode(), digest_size=12).hexdigest()
        if digest not in arrays:
            arrays[digest] = {
                "dtype": value.dtype.str,
                "shape": list(value.shape),
                "data": base64.b64encode(zlib.compress(raw, 1)).decode(),
            }
        return {"@array": digest}
    if isinstance(value, tuple) and type(value).__name__ in _TUPLES:
        return {"@tuple": type(value).__name__, "items": [encode(v, arrays) for v in value]}
    if isinstance(value, (list, tuple)):
        return [encode(v, arrays) for v in value]
    if isinstance(value, dict):
        return {key: encode(v, arrays) for key, v in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value


def decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:  # noqa: ANN401
    """Inverse of `encode`; lists come back as tuples.

    Raises
    ------
    StoreError
        When the data name a record that this version does not know.
    """
    if isinstance(value, list):
        return tuple(decode(v, arrays) for v in value)
    if not isinstance(value, dict):
        return value
    if "@array" in value:
        return arrays[value["@array"]]
    if "@tuple" in value:
        return _TUPLES[value["@tuple"]](*(decode(v, arrays) for v in value["items"]))
    if "@" in value:
        name = value["@"]
        if name not in _RECORDS:
            raise StoreError(f"plan.json holds an unknown record {name!r}: it was written by another version")
        return _RECORDS[name](**{k: decode(v, arrays) for k, v in value.items() if k != "@"})
    return {key: decode(v, arrays) for key, v in value.items()}


def decode_arrays(table: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Unpack the array table of a plan (writable copies: kernels take read-only arrays as another type)."""
    arrays = {}
    for digest, entry in table.items():
        raw = zlib.decompress(base64.b64decode(entry["data"]))
        arrays[digest] = np.frombuffer(raw, dtype=entry["dtype"]).reshape(entry["shape"]).copy()
    return arrays
