from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from mosaic.graph.software import PACKAGES, installed_version, software_versions


def test_versions_are_those_that_python_finds() -> None:
    for name in PACKAGES:
        try:
            expected = version(name)
        except PackageNotFoundError:
            expected = "absent"
        assert software_versions()[name] == expected


def test_what_is_not_installed_has_no_version() -> None:
    with pytest.raises(PackageNotFoundError):
        installed_version("no-such-distribution")
