"""Encrypted schedulers: joined with certificates, closed to everyone else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from cluster.backends import security_of
from cluster.connect import open_workers
from cluster.spec import ClusterSpec
from mosaic.errors import ClusterError, ParameterError
from tests.support.certificates import write_certificates
from workers import health


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates, the same for all sides."""
    return write_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def address(files: dict[str, str]) -> Iterator[str]:
    security = security_of(ClusterSpec(backend="slurm", **files))
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
    other = write_certificates(tmp_path)
    spec = ClusterSpec(backend="address", address=address, warm=False, **other)
    with pytest.raises(ClusterError, match="no scheduler answers at tls://"), open_workers(spec):
        pass


def test_the_health_check_takes_certificates_and_says_when_it_needs_them(
    address: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--tls-ca-file", files["tls_ca"], "--tls-cert", files["tls_cert"], "--tls-key", files["tls_key"]]
    assert health.main([address, "--worker", "", *given]) == 0
    assert capsys.readouterr().out == "well\n"
    with pytest.raises(SystemExit):
        health.main([address])
    assert "is encrypted: give --tls-ca-file" in capsys.readouterr().err


def test_an_encrypted_address_without_certificates_is_refused(address: str) -> None:
    with pytest.raises(ParameterError, match="is encrypted: name tls_ca, tls_cert and tls_key"):
        ClusterSpec.resolve({"backend": "address", "address": address})
