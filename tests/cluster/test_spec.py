"""What a description of a cluster may say, where it is read from, and what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.sizing import size_cluster
from cluster.spec import ClusterSpec, is_loopback, read_entries
from mosaic.errors import ParameterError
from mosaic.options import RunOptions


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("processes", {"backend": "local", "cores": 3, "memory": 2**31}),
        ("tcp://127.0.0.1:8786", {"backend": "address", "address": "tcp://127.0.0.1:8786"}),
        ("localhost:8786", {"backend": "address", "address": "localhost:8786"}),
        ("slurm", {"backend": "slurm"}),
        ("some.module:make_cluster", {"backend": "factory", "factory": "some.module:make_cluster"}),
    ],
)
def test_options_become_a_specification(scheduler: str, expected: dict[str, object]) -> None:
    options = RunOptions(cores=3, memory="2GiB", scheduler=scheduler)
    spec = ClusterSpec.from_options(options, {})
    assert {name: getattr(spec, name) for name in expected} == expected


@pytest.mark.parametrize("scheduler", ["serial", "threads"])
def test_a_run_of_one_process_has_no_cluster(scheduler: str) -> None:
    with pytest.raises(ParameterError, match="runs without a cluster"):
        ClusterSpec.from_options(RunOptions(scheduler=scheduler), {})


def test_what_is_said_later_wins(tmp_path: Path) -> None:
    lower, upper = tmp_path / "site.toml", tmp_path / "mine.toml"
    lower.write_text('backend = "pbs"\nqueue = "site"\nworker_cores = 2\nwalltime = "02:00:00"\n')
    upper.write_text('queue = "mine"\ndirectives = ["-l place=free"]\n')
    environ = {"MOSAIC_CLUSTER": str(lower), "MOSAIC_CLUSTER_WORKER_CORES": "4", "HOME": "/nowhere"}
    options = RunOptions(cluster=(str(upper), "walltime=03:00:00", "worker_memory=3GiB"))
    spec = ClusterSpec.from_options(options, environ)
    assert (spec.backend, spec.queue, spec.worker_cores) == ("pbs", "mine", 4)
    assert (spec.walltime, spec.worker_memory, spec.directives) == ("03:00:00", 3 << 30, ("-l place=free",))
    again = RunOptions(cluster=options.cluster, scheduler="slurm")
    assert ClusterSpec.from_options(again, environ).backend == "slurm"


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"backend": "address"}, "needs the address"),
        ({"backend": "slurm", "address": "tcp://h:1"}, r"has no address, 'tcp://h:1' was given"),
        ({"backend": "local", "cores": 0}, "cores = 0"),
        ({"backend": "factory", "factory": "nothing"}, "module:callable"),
        ({"backend": "local", "colour": "red"}, "colour = 'red'"),
        ({"backend": "local", "memory": "much"}, "memory = 'much'"),
        ({"backend": "slurm", "min_workers": 9, "max_workers": 3}, "min_workers 9 is above max_workers 3"),
        ({"backend": "slurm", "tls_ca": "ca.pem"}, "tls_ca, tls_cert and tls_key together"),
        ({"backend": "address", "address": "tls://h:8786"}, "name tls_ca, tls_cert and tls_key"),
        ({"backend": "address", "address": "tcp://10.0.0.7:8786"}, "not encrypted and not on this machine"),
        ({"backend": "address", "address": "cluster.example:8786"}, "not encrypted"),
        ({"backend": "address", "address": "ws://cluster.example:8786"}, "not encrypted"),
        ({"backend": "address", "address": "tcp://127.0.0.1.example:8786"}, "not encrypted"),
    ],
)
def test_what_cannot_be_meant_or_is_dangerous_is_refused(values: dict[str, object], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        ClusterSpec.resolve(values)


def test_an_open_connection_can_be_allowed_and_an_encrypted_one_needs_no_leave() -> None:
    assert ClusterSpec(backend="address", address="tcp://10.0.0.7:8786", allow_plain=True).allow_plain
    files = {"tls_ca": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}
    assert ClusterSpec(backend="address", address="tls://10.0.0.7:8786", **files).has_tls


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "10.0.0.1", "localhost.example", "127.0.0.1.example", "0.0.0.0"])
def test_other_machines_are_not_taken_for_this_one(host: str) -> None:
    assert not is_loopback(host)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"cluster file .*absent\.toml cannot be read"):
        read_entries([str(tmp_path / "absent.toml")])
    (tmp_path / "bad.toml").write_text("queue = [")
    with pytest.raises(ParameterError, match=r"bad\.toml cannot be read"):
        read_entries([str(tmp_path / "bad.toml")])


@given(
    n_tasks=st.integers(0, 10**6),
    cores=st.integers(1, 64),
    most=st.integers(1, 500),
    least=st.integers(0, 500),
    adaptive=st.booleans(),
)
def test_workers_follow_the_plan_within_the_limits(
    n_tasks: int, cores: int, most: int, least: int, *, adaptive: bool
) -> None:
    spec = ClusterSpec(
        backend="slurm",
        worker_cores=cores,
        max_workers=max(most, least),
        min_workers=least,
        adaptive=adaptive,
    )
    size = size_cluster(spec, n_tasks)
    assert 1 <= size.n_workers <= spec.max_workers
    assert size.least <= size.n_workers
    assert adaptive or size.is_fixed
    # Nobody is asked for who would have nothing to do.
    assert size.n_workers == 1 or (size.n_workers - 1) * cores < n_tasks
    fixed = spec.model_copy(update={"workers": 7})
    assert size_cluster(fixed, n_tasks).n_workers == min(7, spec.max_workers)


def test_the_descriptions_in_the_documentation_are_valid() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
    found = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert len(found) >= 2
    for block in found:
        ClusterSpec.resolve(tomllib.loads(block))
    values = dict(re.findall(r"--cluster (\w+)=([\w./-]+)", text))
    assert set(values) <= set(ClusterSpec.model_fields)
