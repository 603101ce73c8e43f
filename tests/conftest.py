"""What all tests share: hypothesis profiles and a kernel cache of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Read by numba when it is first imported, so it has to be set before any test module is.
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"mosaic-test-kernels-{os.getuid()}")
)

import pytest
from hypothesis import HealthCheck, settings

from tests.support.objectstore import ObjectStore, running_store

settings.register_profile("dev", max_examples=30, deadline=None, derandomize=True)
settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """The one object store of a session: clients find it by the environment and stay connected."""
    with running_store() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment().items():
            patch.setenv(name, value)
        yield store
