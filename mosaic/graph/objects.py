"""Zarr arrays of a job folder that lies in an object store: nothing is taken for written that is not.

Every object is read back after it was written and compared; whatever an answer lacks is asked for again.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import TypeVar

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import FsspecStore, WrapperStore

from mosaic.errors import OutputError
from mosaic.places import RemotePlace, open_system
from mosaic.retries import MOST_TRIES, TransientError, backoff_seconds, io_errors, is_transient

T = TypeVar("T")

_BLOSC_SIZE = struct.Struct("<12xI")
"""Compressed size in the header of a Blosc chunk."""


def open_object_store(place: RemotePlace) -> VerifyingStore:
    """Store of the arrays below a URL."""
    system, name = open_system(place.url, asynchronous=True)
    if not system.async_impl:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper  # noqa: PLC0415

        system = AsyncFileSystemWrapper(system, asynchronous=True)
    return VerifyingStore(FsspecStore(system, path=name))


class VerifyingStore(WrapperStore[FsspecStore]):  # type: ignore[misc]  # zarr is not followed
    """A store whose writes are read back, and whose faults that pass are waited out."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object; a chunk must be as long as its own header says."""

        async def read() -> Buffer | None:
            value = await self._store.get(key, prototype, byte_range)
            if value is not None and byte_range is None and _is_chunk(key):
                _require_whole_chunk(value.to_bytes())
            return value

        return await _retry(read)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object and compare what is there then.

        Raises
        ------
        OutputError
            When the store does not keep what it is sent.
        """
        data = value.to_bytes()

        async def write() -> None:
            await self._store.set(key, value)
            kept = await self._store.get(key, default_buffer_prototype())
            if kept is None or kept.to_bytes() != data:
                raise TransientError("what is there afterwards is not what was sent")

        try:
            await _retry(write)
        except TransientError as error:
            raise OutputError(
                f"{self._store.path}/{key} cannot be written ({error}, {MOST_TRIES} times); "
                "check the object store"
            ) from error

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""

        async def look() -> bool:
            return bool(await self._store.exists(key))

        return await _retry(look)


def _is_chunk(key: str) -> bool:
    return "/c/" in f"/{key}"


def _require_whole_chunk(data: bytes) -> None:
    wanted = _BLOSC_SIZE.unpack_from(data)[0] if len(data) >= _BLOSC_SIZE.size else -1
    if wanted != len(data):
        raise TransientError(f"{len(data)} bytes came of a chunk of {wanted}")


async def _retry(call: Callable[[], Awaitable[T]]) -> T:
    """Await until it succeeds, fails for good, or `MOST_TRIES` tries were made."""
    for n_tries in range(1, MOST_TRIES):
        try:
            return await call()
        except io_errors() as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(backoff_seconds(n_tries))
    return await call()
