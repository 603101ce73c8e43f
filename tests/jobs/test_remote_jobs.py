"""Jobs in an object store: the bits of a local run, and nobody reads or writes what is not theirs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.jobs.jobfolder import JobFolder
from cluster.jobs.places import Places
from cluster.jobs.run_one import prove_inputs, run_job
from cluster.jobs.runner import Runner
from mosaic.errors import ParameterError
from mosaic.graph.cancel import CancelToken
from mosaic.places import get, list_names, place_of, put
from tests.jobs.conftest import Served, drizzle_locally, make_config, start_service
from tests.support.jobservice import assert_every_task_once, assert_same_product, freeze_in_the_middle
from tests.support.objectstore import BUCKET, ObjectStore

PRODUCTS = "products"
PARAMETERS: dict[str, Any] = {"final_scale": 0.045, "build": True, "final_err": True}
TILE = 160
IMPATIENT = """
import sys
from mosaic.graph import lock
lock.RENEWAL_S, lock.PATIENCE_S = 0.2, 1.0
from cluster.jobs.run_one import main
sys.exit(main(sys.argv[1:]))
"""
"""The process of a job, which takes the lease of a dead one over after a second."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore, exposures: list[Path]) -> Path:
    object_store.reset()
    object_store.make_bucket(PRODUCTS)
    for path in exposures:
        put(place_of(f"s3://{BUCKET}/jobs/{path.name}"), path.read_bytes())
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def served(base: Path) -> Iterator[Served]:
    config = make_config(base, buckets=frozenset({BUCKET}), output_buckets=(PRODUCTS,))
    command = (sys.executable, "-c", IMPATIENT)
    yield from start_service(
        config, lambda store: Runner(store, config.capacity, lambda folder: [*command, str(folder)])
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, exposures: list[Path]) -> Path:
    return drizzle_locally(exposures, tmp_path_factory.mktemp("local"), PARAMETERS, TILE)


def wanted(output: str, **changes: Any) -> dict[str, Any]:
    return {
        "inputs": [f"s3://{BUCKET}/jobs/*_flc.fits"],
        "output": output,
        "parameters": PARAMETERS,
        "tile": TILE,
        "cores": 1,
        **changes,
    }


def test_a_job_in_a_store_that_is_killed_ends_with_the_bits_of_a_local_run(
    served: Served, base: Path, local: Path
) -> None:
    who = served.vera.get("/service").json
    assert who["output_roots"] == [str(base / "out" / "vera"), f"s3://{PRODUCTS}/vera/"]
    root = f"s3://{PRODUCTS}/vera/deep/m"
    answer = served.vera.post("/jobs", wanted(root))
    assert answer.status == 201, answer.body
    folder = served.service.store.folder_of(answer.json["id"])
    pid = freeze_in_the_middle(folder)
    assert folder.work.is_dir()
    # The same output is taken as long as the job has not ended.
    assert served.vera.post("/jobs", wanted(root)).status == 409
    os.killpg(pid, signal.SIGKILL)
    job = served.vera.ended(answer.json["id"])
    assert job["state"] == "done", (job["error"], served.vera.get(f"/jobs/{job['id']}/log").body)
    assert (job["output"], job["attempts"]) == (root, 2)
    assert job["outcome"]["products"] == [f"{root}_drc.fits"]
    assert job["outcome"]["folder"] == f"{root}.mosaic"
    assert_same_product(job, local)
    assert_every_task_once(folder)
    assert job["progress"]["bytes_read"] > 0
    assert served.vera.get(f"/jobs/{job['id']}/preview.png").body.startswith(b"\x89PNG")
    assert b"mosaic drizzle: s3://" in served.vera.get(f"/jobs/{job['id']}/log").body
    page = served.vera.get(f"/jobs/{job['id']}/report", Accept="text/html")
    assert page.body == get(place_of(f"{root}.mosaic/report/report.html"))
    assert b"<h1" in page.body
    assert "sandbox" in page.headers["content-security-policy"]
    # Nothing is left on this machine, and nothing but the product and its folder in the store.
    assert not folder.work.exists()
    assert [path for path in (base / "out").rglob("*") if path.is_file()] == []
    assert list_names(place_of(f"s3://{PRODUCTS}/vera/deep")) == ["m.mosaic", "m_drc.fits"]
    assert "lock" not in list_names(place_of(f"{root}.mosaic"))
    # The product is an input for its owner, and for nobody else.
    again = wanted("next", inputs=[f"{root}_drc.fits"])
    assert served.vera.post("/jobs?dry_run=1", again).status == 200
    assert served.edwin.post("/jobs?dry_run=1", again).status == 422
    assert served.operator.post("/jobs?dry_run=1", again).status == 200


@pytest.mark.parametrize(
    "output", ["s3://archive/vera/m", f"s3://{PRODUCTS}/edwin/m", f"s3://{PRODUCTS}/vera/../edwin/m"]
)
def test_outputs_elsewhere_are_refused_and_so_are_changes_to_inputs(served: Served, output: str) -> None:
    answer = served.vera.post("/jobs", wanted(output))
    assert answer.status == 422
    assert [problem["field"] for problem in answer.json["problems"]] == ["output"]
    # Not even what is one's own is changed in a store.
    own = [f"s3://{PRODUCTS}/vera/a_flc.fits"]
    for changes in ({"dq_update": "inplace"}, {"restore": True}, {"overwrite": True}):
        refused = served.vera.post(
            "/jobs?dry_run=1", wanted(f"s3://{PRODUCTS}/vera/m", inputs=own, parameters=changes)
        )
        assert refused.status == 422
        assert [problem["field"] for problem in refused.json["problems"]] == list(changes)


@pytest.mark.parametrize(
    "output", [f"s3://{PRODUCTS}/edwin/m", f"s3://{BUCKET}/m", "s3://other/vera/m", "/etc/m"]
)
def test_a_process_judges_again_where_it_may_write(tmp_path: Path, output: str) -> None:
    places = Places((), (tmp_path / "out",), frozenset({BUCKET}), "vera", (PRODUCTS,))
    folder = JobFolder(tmp_path / "job")
    resolved = {"inputs": [], "output": output, "parameters": {}, "options": {}, "align": False}
    folder.create({"resolved": resolved, "places": places.document()})
    outcome = run_job(folder, CancelToken())
    assert (outcome["ok"], outcome["kind"]) == (False, "ParameterError")
    assert "lies outside the folder that may be written" in outcome["error"]


HOSTILE_FOLDERS = (
    f"s3://{PRODUCTS}/edwin/m.mosaic",
    f"s3://{BUCKET}/m.mosaic",
    f"s3://{PRODUCTS}/vera/../edwin/m.mosaic",
    f"simplecache::s3://{PRODUCTS}/edwin/m.mosaic",
    "http://127.0.0.1:{port}/products/edwin/m.mosaic",
    "file://{base}/secret.mosaic",
    "{base}/secret.mosaic",
    "{base}/out/edwin/m.mosaic",
    "{base}/out/vera/../edwin/m.mosaic",
    "{base}/out/vera/link.mosaic",
    "",
)


@pytest.mark.parametrize("folder", HOSTILE_FOLDERS)
def test_a_report_is_read_from_where_the_owner_may_write_and_nowhere_else(
    served: Served, base: Path, object_store: ObjectStore, folder: str
) -> None:
    for place in (f"s3://{PRODUCTS}/edwin", f"s3://{BUCKET}", f"{base}/out/edwin"):
        put(place_of(f"{place}/m.mosaic/report/report.html"), b"SECRET")
    put(place_of(f"{base}/secret.mosaic/report/report.html"), b"SECRET")
    (base / "out" / "vera").mkdir(exist_ok=True)
    if not (base / "out/vera/link.mosaic").is_symlink():
        (base / "out/vera/link.mosaic").symlink_to(base / "secret.mosaic")
    job = served.vera.post("/jobs", wanted("never", inputs=["none_flc.fits"])).json["id"]
    assert served.vera.ended(job)["state"] == "failed"
    text = folder.format(base=base, port=object_store.endpoint.rpartition(":")[2])
    served.service.store.folder_of(job).finish({"ok": False, "error": "", "folder": text})
    object_store.reset()
    page = served.vera.get(f"/jobs/{job}/report", Accept="text/html")
    assert page.status == 200
    assert b"SECRET" not in page.body
    assert object_store.traffic.n_reads == 0


def test_a_list_in_a_store_is_judged_before_anything_that_it_names_is_looked_for(
    served: Served, object_store: ObjectStore
) -> None:
    places = Places((), (), frozenset({BUCKET}), "vera", (PRODUCTS,))
    for number, line in enumerate(
        (
            f"{object_store.endpoint}/{PRODUCTS}/edwin/x_flc.fits",
            f"s3://{PRODUCTS}/edwin/x_flc.fits",
            "/etc/passwd",
            "../../products/edwin/x_flc.fits",
        )
    ):
        listing = f"s3://{BUCKET}/lists/{number}.txt"
        put(
            place_of(listing),
            f"../jobs/a_flc.fits\n{line}\n".replace("../jobs", f"s3://{BUCKET}/jobs").encode(),
        )
        object_store.reset()
        with pytest.raises(ParameterError, match=r"only s3://|open to you below|lies outside"):
            prove_inputs([f"@{listing}"], places)
        assert list(object_store.traffic.fetched) == [f"lists/{number}.txt"]
