"""Versions of everything that results depend on: driver and workers must agree in all of them."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

from mosaic.errors import ClusterError

PACKAGES: Final = (
    *("mosaic-hst", "numpy", "numba", "llvmlite", "astropy", "zarr", "numcodecs", "pydantic"),
    *("dask", "distributed", "fsspec", "s3fs"),
)
"""Distributions that compute, store or carry what is computed."""


@cache
def installed_version(name: str) -> str:
    """Version of a distribution, without reading all that its metadata say.

    Raises
    ------
    PackageNotFoundError
        When it is not installed.
    """
    found = distribution(name)
    stated = re.search(r"^Version: *(\S+)", found.read_text("METADATA") or "", re.MULTILINE)
    return found.version if stated is None else stated[1]


@cache
def software_versions() -> dict[str, str]:
    """Version of the interpreter and of every package in `PACKAGES`, as installed here."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = installed_version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def describe_differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Name what differs, as ``numpy 2.1 (here 2.2)``; empty when nothing does."""
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return ", ".join(
        f"{name} {theirs.get(name, 'unknown')} (here {ours.get(name, 'unknown')})" for name in names
    )


def require_same_software(driver: Mapping[str, str], place: str) -> None:
    """Refuse to work in this process for a driver of other versions.

    Parameters
    ----------
    driver : mapping of str to str
        Versions of the driver.
    place : str
        What this process is, for the error.

    Raises
    ------
    ClusterError
        Naming every package that differs.
    """
    differences = describe_differences(driver, software_versions())
    if differences:
        raise ClusterError(f"{place} has {differences}: install the same versions on all sides")
