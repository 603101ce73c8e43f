"""Encrypted schedulers: joined with certificates, closed to everyone else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from distributed.security import Security

from cluster.connect import open_workers
from cluster.spec import ClusterSpec
from mosaic.errors import ClusterError, ParameterError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates as files, the same for all sides."""
    folder = tmp_path_factory.mktemp("tls")
    made = Security.temporary()
    texts = {"tls_ca": made.tls_ca_file, "tls_cert": made.tls_client_cert, "tls_key": made.tls_client_key}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in texts}


@pytest.fixture(scope="module")
def address(files: dict[str, str]) -> Iterator[str]:
    security = Security(
        tls_ca_file=files["tls_ca"],
        tls_client_cert=files["tls_cert"],
        tls_client_key=files["tls_key"],
        tls_scheduler_cert=files["tls_cert"],
        tls_scheduler_key=files["tls_key"],
        tls_worker_cert=files["tls_cert"],
        tls_worker_key=files["tls_key"],
        require_encryption=True,
    )
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tls",
        security=security,
        dashboard_address=":0",
    ) as cluster:
        yield cluster.scheduler_address


def test_certificates_open_an_encrypted_scheduler(address: str, files: dict[str, str]) -> None:
    assert address.startswith("tls://")
    with open_workers(ClusterSpec(backend="address", address=address, warm=False, **files)) as workers:
        assert workers.client.submit(sum, [1, 2]).result() == 3


def test_certificates_of_another_authority_do_not(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.connect.CONNECT_TIMEOUT_S", 1.0)
    other = Security.temporary()
    texts = {"tls_ca": other.tls_ca_file, "tls_cert": other.tls_client_cert, "tls_key": other.tls_client_key}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    paths = {name: str(tmp_path / name) for name in texts}
    spec = ClusterSpec(backend="address", address=address, warm=False, **paths)
    with pytest.raises(ClusterError, match="no scheduler answers at tls://"), open_workers(spec):
        pass


def test_an_encrypted_address_without_certificates_is_refused(address: str) -> None:
    with pytest.raises(ParameterError, match="is encrypted: name tls_ca, tls_cert and tls_key"):
        ClusterSpec.resolve({"backend": "address", "address": address})
