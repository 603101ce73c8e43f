"""Batch scripts and Kubernetes resources as their systems get them, and clusters of the user's making."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from distributed import LocalCluster

from cluster.backends import BACKENDS, kubernetes_document, parse_walltime, start_cluster
from cluster.connect import open_workers
from cluster.spec import BackendName, ClusterSpec
from mosaic.errors import ParameterError
from tests.support.certificates import write_certificates

jobqueue = pytest.importorskip("dask_jobqueue")

HEAD = {
    "slurm": ["#SBATCH -p science", "#SBATCH -A hst42", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G",
              "#SBATCH -t 02:00:00"],
    "pbs": ["#PBS -q science", "#PBS -A hst42", "#PBS -l select=1:ncpus=4:mem=8192MB",
            "#PBS -l walltime=02:00:00"],
    "sge": ["#$ -q science", "#$ -P hst42", "#$ -l h_rt=02:00:00"],
    "lsf": ["#BSUB -q science", '#BSUB -P "hst42"', "#BSUB -n 4", "#BSUB -W 02:00"],
}  # fmt: skip


def _spec(backend: str, **values: object) -> ClusterSpec:
    common = {
        "backend": backend,
        "queue": "science",
        "account": "hst42",
        "walltime": "02:00:00",
        "worker_cores": 4,
        "worker_memory": "8GiB",
        "scratch": "/local/scratch",
        "environment": {"AWS_PROFILE": "group's own"},
        "prologue": ["module load python"],
        "allow_plain": True,
    }
    return ClusterSpec.resolve(common | values)


def test_every_backend_has_a_name_and_every_name_a_backend() -> None:
    assert set(BACKENDS) == set(get_args(BackendName))


@pytest.mark.parametrize("backend", HEAD)
def test_a_batch_script_asks_for_what_was_wanted_and_prepares_the_worker(backend: str) -> None:
    with start_cluster(_spec(backend)) as cluster:
        script = cluster.job_script()
    lines = script.splitlines()
    assert [line for line in HEAD[backend] if line not in lines] == [], script
    assert {"export OMP_NUM_THREADS=1", "export MALLOC_TRIM_THRESHOLD_=65536", "module load python"} <= {
        *lines
    }
    assert """export AWS_PROFILE='group'"'"'s own'""" in lines
    command = lines[-1]
    assert re.search(r"distributed\.cli\.dask_worker tcp://\S+ ", command), command
    for option in (
        "--nthreads 4",
        "--preload workers.preload",
        "--local-directory /local/scratch",
        "--lifetime 6900s --lifetime-stagger 150s",
        "--nanny",
    ):
        assert option in command
    assert re.search(r"--memory-limit 8\.00GiB", command), command


def test_certificates_reach_the_workers_of_a_batch_system(tmp_path: Path) -> None:
    credentials = write_certificates(tmp_path)
    with start_cluster(_spec("slurm", allow_plain=False, **credentials)) as cluster:
        script = cluster.job_script()
        assert cluster.scheduler_address.startswith("tls://")
    for option, name in (("--tls-ca-file", "tls_ca"), ("--tls-cert", "tls_cert"), ("--tls-key", "tls_key")):
        assert f"{option} {credentials[name]}" in script


@pytest.mark.parametrize(
    ("text", "seconds"), [("01:00:00", 3600), ("1-00:30:00", 88200), ("90", 5400), ("02:30", 9000)]
)
def test_time_limits_are_read_as_batch_systems_write_them(text: str, seconds: int) -> None:
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "00:00:10"])
def test_impossible_time_limits_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="walltime"):
        parse_walltime(text)


def test_a_kubernetes_resource_has_the_image_the_limits_and_the_preload() -> None:
    pytest.importorskip("dask_kubernetes")
    document = kubernetes_document(_spec("kubernetes", image="registry.example/mosaic:1"))
    assert (document["apiVersion"], document["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    worker = document["spec"]["worker"]["spec"]["containers"][0]
    assert worker["image"] == "registry.example/mosaic:1"
    assert worker["resources"]["limits"] == {"memory": str(8 << 30), "cpu": "4"}
    assert worker["args"][-4:] == ["--preload", "workers.preload", "--local-directory", "/local/scratch"]
    assert {"name": "OMP_NUM_THREADS", "value": "1"} in worker["env"]
    scheduler = document["spec"]["scheduler"]["spec"]["containers"][0]
    assert scheduler["image"] == worker["image"]


def make_cluster(n_workers: int) -> LocalCluster:
    """A factory as a user may write one."""
    return LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp"
    )


def make_nonsense() -> int:
    return 3


def test_a_factory_of_the_user_makes_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    spec = ClusterSpec(
        backend="factory", factory="test_backends:make_cluster", arguments={"n_workers": 1}, warm=False
    )
    with open_workers(spec) as workers:
        workers.scale(100)
        assert workers.client.submit(sum, [1, 1]).result() == 2
    with pytest.raises(ParameterError, match="returned a int, not a Dask cluster"):
        start_cluster(ClusterSpec(backend="factory", factory="test_backends:make_nonsense"))
    with pytest.raises(ParameterError, match="nowhere_at_all"):
        start_cluster(ClusterSpec(backend="factory", factory="nowhere_at_all:make"))
