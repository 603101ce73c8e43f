"""Folders and files of a job, on a disk or in an object store: one way to write, read and list both.

A file appears whole or not at all. On a disk it is written under a temporary name and renamed. An object
store replaces objects as a whole, but what lies between may drop or cut short what it is sent: every object
is read back and compared, and sent again until it is right. Inputs are read elsewhere
(`mosaic.exposure.storage`).
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from mosaic.errors import OutputError, ParameterError
from mosaic.retries import MOST_TRIES, TransientError, backoff_seconds, io_errors, with_retries

_BLOCK: Final = 16 << 20
_REFUSALS: Final = (FileNotFoundError, PermissionError)
"""What a write meets where there is no bucket, or none for us."""
_S3: Final = frozenset({"s3", "s3a"})
_PART_BYTES: Final = 32 << 20
_PARTS_AT_A_TIME: Final = 4
_S3_OPTIONS: Final = {
    "max_concurrency": 1,  # more costs a request for the size before every read
    "config_kwargs": {
        "retries": {"mode": "standard", "max_attempts": 8},
        "connect_timeout": 20,
        "read_timeout": 60,
    },
}
"""What the client of S3 does about throttling and silence; credentials and endpoint are those of its own."""


class RemotePlace:
    """A folder or file behind an fsspec URL, spelled like a path.

    Parameters
    ----------
    url : str
        With its protocol, ``s3://bucket/folder``.
    """

    __slots__ = ("url",)

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def __truediv__(self, name: str) -> RemotePlace:
        return RemotePlace(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemotePlace({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePlace) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    @property
    def name(self) -> str:
        """Last part."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> RemotePlace:
        """All but the last part."""
        return RemotePlace(self.url.rpartition("/")[0])


Place: TypeAlias = Path | RemotePlace


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def place_of(text: str) -> Place:
    """Place of a path or URL; ``file://`` is a path."""
    if text.lower().startswith("file://"):
        return Path(text[len("file://") :])
    return RemotePlace(text) if is_remote(text) else Path(text)


def split_place(text: str) -> tuple[Place, str]:
    """Folder and last part of a path or URL; a text that ends with a slash is all folder."""
    place = place_of(text)
    return (place, "") if text.endswith("/") else (place.parent, place.name)


def open_system(url: str, **options: object) -> tuple[Any, str]:
    """File system of a URL and the name in it.

    Raises
    ------
    ParameterError
        When the protocol is unknown or its client is not installed.
    """
    protocol = url.partition("://")[0].lower()
    import fsspec.core  # noqa: PLC0415 (few runs need it, and it takes its time to load)

    try:
        # Listings are never kept: other processes write, too.
        known = {"use_listings_cache": False, **(_S3_OPTIONS if protocol in _S3 else {})}
        system, name = fsspec.core.url_to_fs(url, **known, **options)
    except (ImportError, ValueError) as error:
        problem = f"{url} cannot be used ({error}); give a path, or install its client"
        raise ParameterError(problem) from error
    return system, str(name)


def get(place: Place) -> bytes:
    """Content of a file.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    if isinstance(place, Path):
        return place.read_bytes()
    system, name = open_system(place.url)
    return cast("bytes", with_retries(lambda: system.cat_file(name)))


def get_many(places: Sequence[Place]) -> list[bytes]:
    """Contents of files, those of an object store fetched side by side."""
    remote = [place for place in places if isinstance(place, RemotePlace)]
    if not remote:
        return [get(place) for place in places]
    system, _name = open_system(remote[0].url)
    names = [open_system(place.url)[1] for place in remote]
    found: dict[str, bytes] = {}

    def fetch() -> None:
        left = [name for name in names if name not in found]
        answers = system.cat(left, on_error="return")
        found.update((name, answer) for name, answer in answers.items() if isinstance(answer, bytes))
        for name in left:
            if name not in found:
                found[name] = system.cat_file(name)

    with_retries(fetch)
    return [found[name] for name in names]


def put(place: Place, data: bytes) -> None:
    """Write a whole file: it appears complete or not at all.

    Raises
    ------
    OSError
        When a disk refuses it.
    OutputError
        When an object store refuses it, or does not keep what it is sent.
    """
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for every thread: two that write the same file do not meet.
        temporary = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)
        return
    system, name = open_system(place.url)

    def send() -> None:
        system.pipe_file(name, data)
        try:
            # One byte more than there should be: what is too long differs, too.
            kept = system.cat_file(name, start=0, end=len(data) + 1)
        except FileNotFoundError as error:
            raise TransientError("it is not there afterwards") from error
        if kept != data:
            raise TransientError(f"{len(kept)} of {len(data)} bytes are there afterwards, or others")

    try:
        with_retries(send)
    except TransientError as error:
        raise OutputError(
            f"{place} cannot be written ({error}, {MOST_TRIES} times); check the object store"
        ) from error
    except _REFUSALS as error:
        raise _refused(place, error) from error


def put_new(place: RemotePlace, data: bytes) -> bool:
    """Write an object unless there is one of this name already; tell whether it was written.

    Raises
    ------
    OutputError
        When there is no such bucket, or it may not be written to.
    """
    system, name = open_system(place.url)
    try:
        with_retries(lambda: system.pipe_file(name, data, mode="create"))
    except FileExistsError:
        return False
    except _REFUSALS as error:
        raise _refused(place, error) from error
    except OSError as error:
        if "PreconditionFailed" in str(error) or "pre-conditions" in str(error):
            return False
        raise
    return True


def _refused(place: RemotePlace, error: OSError) -> OutputError:
    return OutputError(
        f"{place} cannot be written ({error}); check the name of the bucket and what the credentials allow"
    )


def size_of(place: Place) -> int:
    """Bytes of a file; -1 when there is none."""
    try:
        if isinstance(place, Path):
            return place.stat().st_size
        system, name = open_system(place.url)
        info = with_retries(lambda: system.info(name))
        return int(info["size"]) if info["type"] == "file" else -1
    except (FileNotFoundError, NotADirectoryError):
        return -1


def list_names(place: Place) -> list[str]:
    """Names in a folder, sorted; none when there is no such folder."""
    try:
        if isinstance(place, Path):
            return sorted(entry.name for entry in os.scandir(place))
        system, name = open_system(place.url)
        found = with_retries(lambda: system.ls(name, detail=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(str(entry).rstrip("/").rpartition("/")[2] for entry in found)


def list_sizes(place: RemotePlace) -> dict[str, int]:
    """Bytes of everything below a folder of an object store, by full URL: one request for a thousand."""
    system, name = open_system(place.url)
    found = with_retries(lambda: system.find(name, detail=True))
    return {str(system.unstrip_protocol(path)): int(info["size"]) for path, info in found.items()}


def make_folder(place: Place) -> None:
    """Make a folder and those above it; object stores have none."""
    if isinstance(place, Path):
        place.mkdir(parents=True, exist_ok=True)


def remove(place: Place) -> None:
    """Remove a file or a folder with all it holds; nothing happens when there is none."""
    if isinstance(place, RemotePlace):
        system, name = open_system(place.url)

        def delete() -> None:
            with suppress(FileNotFoundError):
                system.rm(name, recursive=True)
            if system.exists(name):
                raise TransientError(f"{place} is still there after it was removed")

        with_retries(delete)
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def upload(source: Path, target: RemotePlace) -> None:
    """Copy a file of any size to an object store: sent under another name, compared, then given its own.

    Raises
    ------
    OutputError
        When the store does not keep what it is sent.
    """
    system, name = open_system(target.url)
    parts: dict[str, int] = {}
    if "s3" in system.protocol:
        parts = {"chunksize": _PART_BYTES, "max_concurrency": _PARTS_AT_A_TIME}
    temporary = f"{name}.partial-{uuid.uuid4().hex[:8]}"
    size, crc = source.stat().st_size, _crc(_local_blocks(source))
    problem = ""
    for n_tries in range(1, MOST_TRIES + 1):
        try:
            with_retries(lambda: system.put_file(str(source), temporary, **parts))
            kept = int(system.info(temporary)["size"])
            if kept == size and _crc(_remote_blocks(system, temporary, size)) == crc:
                with_retries(lambda: system.copy(temporary, name))
                if int(system.info(name)["size"]) == size and _crc(_remote_blocks(system, name, size)) == crc:
                    return
            problem = f"{kept} of {size} bytes are there afterwards, or others"
        except FileNotFoundError:
            problem = "it is not there afterwards"
        except io_errors() as error:
            # A part that was lost on the way is noticed when the parts are put together.
            if isinstance(error, PermissionError):
                raise
            problem = str(error)
        finally:
            remove(target.parent / temporary.rpartition("/")[2])
        time.sleep(backoff_seconds(n_tries))
    raise OutputError(f"{target} cannot be written ({problem}, {MOST_TRIES} times); check the object store")


def _local_blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _remote_blocks(system: Any, name: str, size: int) -> Iterator[bytes]:  # noqa: ANN401 (fsspec is not typed)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)

        def fetch(start: int = start, stop: int = stop) -> bytes:
            return require_length(system.cat_file(name, start=start, end=stop), stop - start)

        yield with_retries(fetch)


def require_length(data: bytes, wanted: int) -> bytes:
    """Refuse an answer that was cut short.

    Raises
    ------
    TransientError
        When it was.
    """
    if len(data) != wanted:
        raise TransientError(f"{len(data)} bytes came of {wanted}")
    return data


def _crc(blocks: Iterator[bytes]) -> int:
    crc = 0
    for block in blocks:
        crc = zlib.crc32(block, crc)
    return crc
