"""Clusters: what a specification allows, and clients whose workers are prepared."""

from __future__ import annotations

import os

import pytest

from cluster.connect import ClusterError, open_client
from cluster.spec import ClusterSpec
from mosaic.errors import ParameterError
from mosaic.options import RunOptions
from workers.threads import THREAD_ENVIRONMENT


@pytest.mark.parametrize(
    ("scheduler", "kind", "address"),
    [("threads", "threads", ""), ("processes", "processes", ""), ("tcp://h:8786", "address", "tcp://h:8786")],
)
def test_options_become_a_specification(scheduler: str, kind: str, address: str) -> None:
    options = RunOptions(cores=3, memory="2GiB", scheduler=scheduler)
    spec = ClusterSpec.from_options(options)
    assert (spec.kind, spec.address, spec.cores, spec.memory_bytes) == (kind, address, 3, 2**31)


def test_a_serial_run_has_no_cluster() -> None:
    with pytest.raises(ParameterError, match="'serial' runs without a cluster"):
        ClusterSpec.from_options(RunOptions(scheduler="serial"))


def test_impossible_specifications_are_refused() -> None:
    with pytest.raises(ParameterError, match="needs the address"):
        ClusterSpec("address")
    with pytest.raises(ParameterError, match="has no address, 'tcp://h:1' was given"):
        ClusterSpec("threads", address="tcp://h:1")
    with pytest.raises(ParameterError, match="0 cores"):
        ClusterSpec("threads", cores=0)


def test_threads_share_this_process() -> None:
    with open_client(ClusterSpec("threads", cores=2, warm=False)) as client:
        assert client.submit(os.getpid).result() == os.getpid()
        assert list(client.nthreads().values()) == [2]
    assert client.status == "closed"


def test_processes_are_separate_and_prepared() -> None:
    spec = ClusterSpec("processes", cores=2, memory_bytes=2 * 2**30, warm=False)
    with open_client(spec) as client:
        assert list(client.nthreads().values()) == [1, 1]
        ran_in = client.run(os.getpid)
        assert os.getpid() not in ran_in.values()
        seen = client.submit(_environment).result()
        assert seen == dict(THREAD_ENVIRONMENT)
        limits = {
            worker["memory_limit"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()
        }
        assert limits == {2**30}


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in THREAD_ENVIRONMENT}


def test_an_address_is_joined_and_left_running() -> None:
    with open_client(ClusterSpec("processes", cores=1, warm=False)) as owner:
        address = owner.scheduler.address
        with open_client(ClusterSpec("address", address=address, warm=False)) as guest:
            assert guest.submit(sum, [1, 2]).result() == 3
        assert owner.submit(sum, [3, 4]).result() == 7


def test_an_address_without_workers_is_refused() -> None:
    from distributed import LocalCluster  # noqa: PLC0415 (one test needs it)

    with LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp") as empty:
        spec = ClusterSpec("address", address=empty.scheduler_address, warm=False)
        with pytest.raises(ClusterError, match="has no workers: start some"), open_client(spec):
            pass


def test_an_address_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.connect.CONNECT_TIMEOUT_S", 0.2)
    with (
        pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"),
        open_client(ClusterSpec("address", address="tcp://127.0.0.1:9", warm=False)),
    ):
        pass
