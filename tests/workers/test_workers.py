"""Workers: one thread per library, memory shared out, a cache of their own, resident memory counted."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import get_args

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.graph.memory import resident_bytes
from mosaic.kernels.blot import INTERPOLATORS
from mosaic.kernels.drizzle import KERNELS
from mosaic.settings import CombineType, Settings
from workers.memory import MEMORY_CONFIG, MINIMUM_PROCESS_BYTES, plan_layout
from workers.plugin import MosaicWorker
from workers.prepare import CACHE_VARIABLE, kernel_cache_folder
from workers.threads import THREAD_ENVIRONMENT, limit_threads

ROOT = Path(__file__).resolve().parent.parent.parent
GIB = 2**30


def test_every_library_gets_one_thread_unless_the_user_said_otherwise() -> None:
    environment = {"OMP_NUM_THREADS": "4", "HOME": "/nowhere"}
    added = limit_threads(environment)
    assert environment == {**THREAD_ENVIRONMENT, "OMP_NUM_THREADS": "4", "HOME": "/nowhere"}
    assert set(added) == set(THREAD_ENVIRONMENT) - {"OMP_NUM_THREADS"}
    assert limit_threads(environment) == {}


@pytest.mark.parametrize(
    ("cores", "memory", "expected"),
    [
        (1, GIB, (1, 1)),
        (2, 2 * GIB, (2, 1)),
        (8, 2 * GIB, (2, 4)),
        (4, GIB // 2, (1, 4)),
        (3, 2 * MINIMUM_PROCESS_BYTES, (2, 2)),
    ],
)
def test_processes_are_preferred_while_each_has_enough_memory(
    cores: int, memory: int, expected: tuple[int, int]
) -> None:
    layout = plan_layout(cores, memory, processes=True)
    assert (layout.n_workers, layout.n_threads) == expected


@given(cores=st.integers(1, 256), memory=st.integers(1, 2**42), processes=st.booleans())
def test_no_core_stays_idle_and_the_budget_is_never_exceeded(
    cores: int, memory: int, *, processes: bool
) -> None:
    layout = plan_layout(cores, memory, processes=processes)
    assert cores <= layout.n_workers * layout.n_threads < cores + layout.n_workers
    assert layout.n_workers * layout.memory_bytes <= memory
    assert layout.n_workers == 1 or (processes and layout.memory_bytes >= MINIMUM_PROCESS_BYTES)


def test_thresholds_grow_from_moving_data_to_restarting() -> None:
    assert sorted(MEMORY_CONFIG.values()) == list(MEMORY_CONFIG.values())
    assert all(0 < fraction < 1 for fraction in MEMORY_CONFIG.values())


def test_counting_memory_leaves_an_ended_child_to_who_waits_for_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert resident_bytes() > 0
    assert child.wait() == 7


def test_resident_memory_counts_children() -> None:
    alone = int(psutil.Process().memory_full_info().pss)
    code = "import sys; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.read(2) == b"up"
        together = resident_bytes()
        child.stdin.close()
    # An interpreter alone holds several MiB.
    assert together > alone + 2**20


def test_the_kernel_cache_is_local_and_per_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert str(os.getuid()) in kernel_cache_folder().name
    monkeypatch.setenv(CACHE_VARIABLE, "/somewhere/else")
    assert kernel_cache_folder() == Path("/somewhere/else")


def test_the_plugin_prepares_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    for name in THREAD_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    plugin = pickle.loads(pickle.dumps(MosaicWorker(warm=False)))
    plugin.setup(types.SimpleNamespace(address="inproc://test"))
    plugin.teardown(types.SimpleNamespace())
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {name: os.environ[name] for name in THREAD_ENVIRONMENT} == dict(THREAD_ENVIRONMENT)


def test_loading_the_plugin_loads_no_kernel() -> None:
    code = "import sys, workers.plugin; print([m for m in ('numba', 'mosaic.kernels') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_warming_up_calls_every_kernel() -> None:
    from workers.warmup import PARTS, warm_up  # noqa: PLC0415 (the kernels are not needed by other tests)

    assert warm_up().n_parts == len(PARTS) >= len(KERNELS) + len(INTERPOLATORS)


@pytest.mark.parametrize("name", [*KERNELS, *INTERPOLATORS, *get_args(get_args(CombineType)[0])])
def test_every_choice_of_kernels_has_its_parts(name: str) -> None:
    from workers.warmup import PARTS, parts_of  # noqa: PLC0415

    if name in KERNELS:
        settings = Settings(final_kernel=name, final_pixfrac=0.5, driz_sep_kernel=name)
    elif name in INTERPOLATORS:
        settings = Settings(blot_interp=name)
    else:
        settings = Settings(combine_type=name)
    assert set(parts_of(settings)) <= set(PARTS)
