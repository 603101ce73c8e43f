"""Inputs, job folder and products in an object store: the bits of a local run, whatever gets lost."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mosaic import pipeline, places, retries
from mosaic.errors import OutputError
from mosaic.exposure import scratch
from mosaic.graph import lock
from mosaic.graph.job import Job
from mosaic.graph.plan import Plan
from mosaic.graph.verify import locate_chunk
from mosaic.options import RunOptions
from mosaic.places import RemotePlace, get, list_names, place_of, put, put_new, remove, size_of, upload
from mosaic.simulate import simulate
from tests.support.objectstore import BUCKET, Faults, ObjectStore

GIB = 1 << 30
PARAMETERS: dict[str, object] = {"runfile": "", "final_err": True, "build": False}


@pytest.fixture
def store(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ObjectStore]:
    object_store.reset()
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(lock, "RENEWAL_S", 0.2)
    monkeypatch.setattr(lock, "PATIENCE_S", 1.0)
    monkeypatch.setenv("MOSAIC_SCRATCH", str(tmp_path / "scratch"))
    yield object_store
    object_store.reset()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = simulate(
        tmp_path_factory.mktemp("inputs"),
        instrument="wfc3/ir",
        exposures=2,
        pattern="line",
        chip_shape=(150, 260),
        n_stars=40,
        seed=5,
        workers=1,
    )
    return list(made.files)


@pytest.fixture(scope="module")
def local(inputs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> pipeline.Result:
    return _run([str(path) for path in inputs], str(tmp_path_factory.mktemp("local") / "m"))


def _run(inputs: list[str], output: str, **changes: object) -> pipeline.Result:
    options = RunOptions.resolve(scheduler="serial", memory=2 * GIB, tile=400, **changes)
    return pipeline.drizzle(inputs, output, options=options, **PARAMETERS)


def _url(*parts: str) -> str:
    return "/".join((f"s3://{BUCKET}", *parts))


def _send(paths: list[Path], folder: str) -> list[str]:
    urls = [_url(folder, path.name) for path in paths]
    for path, url in zip(paths, urls, strict=True):
        put(place_of(url), path.read_bytes())
    return urls


def _images(result: pipeline.Result) -> dict[str, bytes]:
    """Pixels of every product, and of every chunk that the ledger names."""
    found = {}
    for product in result.products:
        with fits.open(io.BytesIO(get(product))) as hdus:
            found[product.name] = b"".join(hdu.data.tobytes() for hdu in hdus if hdu.is_image)
    job = Job(result.job_folder, Plan.read(result.job_folder))
    for phase in list_names(result.job_folder / "ledger"):
        for record in job.ledger.read_phase(phase).values():
            for name in record.checksums:
                array, index = locate_chunk(job, record, name)
                found[f"{phase} {record.task} {name}"] = np.asarray(array[index]).tobytes()
    return found


def test_a_run_in_an_object_store_gives_the_bits_of_a_local_run(
    store: ObjectStore, inputs: list[Path], local: pipeline.Result
) -> None:
    urls = _send(inputs, "plain")
    result = _run(urls, _url("plain", "m"))
    assert str(result.job_folder) == _url("plain", "m.mosaic")
    assert {str(product) for product in result.products} == {
        _url("plain", f"m_drz_{kind}.fits") for kind in ("sci", "wht", "ctx", "err")
    }
    assert _images(result) == _images(local)
    # The lease was given back, and nothing half-made was left.
    assert "lock" not in list_names(result.job_folder)
    assert not [name for name in list_names(place_of(_url("plain"))) if "partial" in name]
    # The same command finds everything done.
    seconds = {step: spent for step, spent, _note in _run(urls, _url("plain", "m")).timings}
    assert seconds["Static Mask"] == seconds["Create Median"] == seconds["Final Drizzle"] == 0.0


def test_lost_and_damaged_writes_are_all_noticed(
    store: ObjectStore, inputs: list[Path], local: pipeline.Result
) -> None:
    urls = [_url("faulty", f"{path.name}.gz") for path in inputs]
    for path, url in zip(inputs, urls, strict=True):
        put(place_of(url), gzip.compress(path.read_bytes(), 1))
    traffic = store.reset(Faults(drop=0.05, truncate=0.05, throttle=0.02, cut=0.03))
    result = _run(urls, _url("faulty", "m"))
    store.reset()
    assert traffic.count("drop") + traffic.count("truncate") > 3, traffic.faults
    assert traffic.count("cut") + traffic.count("throttle") > 3, traffic.faults
    assert _images(result) == _images(local)
    # The plain copies of compressed inputs are where workers anywhere find them.
    copies = _url("faulty", "m.mosaic", "inputs")
    assert len(list_names(place_of(copies))) == len(inputs)
    assert all(chip.sci.path.startswith(copies) for chip in Plan.read(result.job_folder).chips)


def test_a_store_that_loses_every_write_is_named(store: ObjectStore) -> None:
    store.reset(Faults(drop=1.0))
    with pytest.raises(OutputError, match=r"lost/x cannot be written \(it is not there afterwards, 6"):
        put(place_of(_url("lost", "x")), b"abc")
    store.reset(Faults(truncate=1.0))
    with pytest.raises(OutputError, match=r"1 of 3 bytes are there afterwards"):
        put(place_of(_url("lost", "x")), b"abc")


def test_a_bucket_that_is_not_there_is_named(store: ObjectStore, inputs: list[Path]) -> None:
    for write in (put, put_new):
        with pytest.raises(
            OutputError, match=r"^s3://nowhere/m/x cannot be written \(.*not exist.*; check the name"
        ):
            write(RemotePlace("s3://nowhere/m/x"), b"abc")
    with pytest.raises(OutputError, match=r"^s3://nowhere/m\.mosaic/.* cannot be written"):
        _run([str(path) for path in inputs], "s3://nowhere/m")


def test_a_large_file_arrives_in_parts_or_not_at_all(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_PART_BYTES", 5 << 20)
    path = tmp_path / "large"
    path.write_bytes(np.random.default_rng(1).bytes(16 << 20))
    target = RemotePlace(_url("large", "file"))
    traffic = store.reset(Faults(script=["", "drop", "", "", "", "", "truncate"]))
    upload(path, target)
    store.reset()
    assert traffic.count("drop") == traffic.count("truncate") == 1
    assert size_of(target) == path.stat().st_size
    assert list_names(target.parent) == ["file"]
    assert get(target) == path.read_bytes()


def test_pixels_are_fetched_once(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # However full the disk of the machine is.
    monkeypatch.setattr(scratch, "_KEPT_FREE_SHARE", 0.0)
    monkeypatch.setattr(scratch, "_KEPT_FREE_BYTES", 0)
    made = simulate(
        tmp_path / "in",
        instrument="acs/wfc",
        exposures=1,
        pattern="line",
        chip_shape=(512, 2048),
        n_stars=20,
        seed=3,
        workers=1,
    )
    urls = _send(list(made.files), "bytes")
    store.reset()
    options = RunOptions.resolve(scheduler="threads", cores=2, memory=2 * GIB, tile=512)
    pipeline.drizzle(urls, str(tmp_path / "m"), options=options, runfile="")
    plan = Plan.read(tmp_path / "m.mosaic")
    needed = sum(
        block.shape_yx.ny * block.shape_yx.nx * abs(block.bitpix) // 8
        for chip in plan.chips
        for block in (chip.sci, chip.dq)
        if block is not None
    )
    fetched = sum(store.traffic.fetched.values())
    print(f"fetched {fetched / needed:.3f} of what is needed")
    assert needed <= fetched <= 1.2 * needed, f"{fetched / needed:.3f}"
    # Nothing is left on the disk of the machine.
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


def test_two_runs_cannot_share_a_folder_in_an_object_store(store: ObjectStore) -> None:
    folder = RemotePlace(_url("shared", "m.mosaic"))
    refused = pytest.raises(OutputError, match=r"in use by another run \(process \d+ on ")
    with lock.lock_folder(folder), refused, lock.lock_folder(folder):
        pass
    with lock.lock_folder(folder):
        pass


def test_the_lease_of_a_dead_run_is_taken_over(store: ObjectStore) -> None:
    folder = RemotePlace(_url("dead", "m.mosaic"))
    put(folder / "lock", json.dumps({"token": "x", "host": "gone", "pid": 1, "count": 7}).encode())
    with lock.lock_folder(folder):
        assert json.loads(get(folder / "lock"))["token"] != "x"
    assert size_of(folder / "lock") == -1


def test_a_lease_is_taken_whatever_gets_lost(store: ObjectStore) -> None:
    folder = RemotePlace(_url("lease", "m.mosaic"))
    store.reset(Faults(script=["drop", "truncate", "", "", "drop"]))
    for _ in range(2):
        with lock.lock_folder(folder):
            pass
    store.reset()
    assert size_of(folder / "lock") == -1


def test_a_folder_is_removed_whatever_gets_lost(store: ObjectStore) -> None:
    folder = RemotePlace(_url("gone"))
    for number in range(4):
        put(folder / str(number), b"x")
    store.reset(Faults(script=["drop", "drop"]))
    remove(folder)
    store.reset()
    assert list_names(folder) == []
