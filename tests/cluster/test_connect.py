"""Clusters that are started or found: workers are prepared, versions compared, and what is found is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from distributed import LocalCluster

from cluster.connect import open_workers
from cluster.spec import ClusterSpec
from mosaic.errors import ClusterError
from mosaic.exposure.scratch import FOLDER_VARIABLE, SCRATCH
from mosaic.graph import software
from mosaic.graph.backend import DaskBackend
from mosaic.graph.progress import SilentObserver
from tests.support.jobservice import wait_until
from workers.threads import THREAD_ENVIRONMENT

GIB = 2**30


def _local(cores: int) -> ClusterSpec:
    return ClusterSpec(backend="local", cores=cores, memory=cores * GIB, warm=False)


def _at(address: str) -> ClusterSpec:
    return ClusterSpec(backend="address", address=address, warm=False)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in THREAD_ENVIRONMENT}


def test_processes_are_separate_and_prepared() -> None:
    with open_workers(_local(2)) as workers:
        client = workers.client
        assert list(client.nthreads().values()) == [1, 1]
        assert os.getpid() not in client.run(os.getpid).values()
        assert client.submit(_environment).result() == dict(THREAD_ENVIRONMENT)
        found = client.scheduler_info(n_workers=-1)["workers"].values()
        assert {worker["memory_limit"] for worker in found} == {GIB}
        assert (workers.smallest().n_threads, workers.smallest().memory_bytes) == (1, int(0.75 * GIB))
    assert client.status == "closed"


def test_a_worker_gives_up_the_pixels_of_a_job_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with open_workers(_local(1)) as workers:
        workers.client.run(_keep_pixels, "one")
        (kept,) = tmp_path.glob("*/one")
        DaskBackend(workers, "two", SilentObserver()).close()
        DaskBackend(workers, "one", SilentObserver()).close()
        wait_until(lambda: not kept.exists(), "an empty scratch folder")


def _keep_pixels(job: str) -> None:
    SCRATCH.use(job)
    SCRATCH.read("s3://archive/a_flc.fits", 0, 4, lambda: b"abcd")


def test_an_address_is_joined_and_left_running() -> None:
    with open_workers(_local(1)) as owner:
        with open_workers(_at(owner.client.scheduler.address)) as guest:
            assert guest.client.submit(sum, [1, 2]).result() == 3
        assert owner.client.submit(sum, [3, 4]).result() == 7


def test_workers_of_other_versions_are_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_workers(_local(1)) as owner:
        address = owner.client.scheduler.address
        ours = {**software.software_versions(), "numpy": "0.1", "astropy": "0.2"}
        monkeypatch.setattr("cluster.connect.software_versions", lambda: ours)
        with pytest.raises(ClusterError, match=r"worker tcp://.* has numpy .* \(here 0\.1\), astropy"):
            open_workers(_at(address)).__enter__()


def test_an_address_without_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.connect.CONNECT_TIMEOUT_S", 0.5)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp") as empty:
        with open_workers(_at(empty.scheduler_address)) as workers, pytest.raises(ClusterError) as caught:
            workers.smallest()
        assert "has no workers" in str(caught.value)
        assert f"dask worker {empty.scheduler_address} --preload workers.preload" in str(caught.value)


def test_an_address_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.connect.CONNECT_TIMEOUT_S", 0.2)
    with (
        pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"),
        open_workers(_at("tcp://127.0.0.1:9")),
    ):
        pass
