"""The commands, from another shell: what they print, and how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cluster.jobs.runner import Runner
from cluster.jobs.server import tokens_of
from mosaic.cli.app import app
from tests.jobs.conftest import Served, link_exposures, make_config, start_service

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, exposures: list[Path]) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    config = make_config(folder)
    link_exposures(exposures, folder / "data")
    yield from start_service(config, lambda store: Runner(store, config.capacity))


def runner_for(served: Served, monkeypatch: pytest.MonkeyPatch, token: str) -> Run:
    monkeypatch.setenv("MOSAIC_SERVER", f"http://127.0.0.1:{served.port}")
    monkeypatch.setenv("MOSAIC_TOKEN", token)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def run(served: Served, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner_for(served, monkeypatch, served.vera.token)


@pytest.fixture
def run_idle(idle: Served, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner_for(idle, monkeypatch, idle.vera.token)


def test_a_job_is_submitted_followed_and_its_products_are_printed(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "p.toml"
    config.write_text("final_scale = 0.06\nbuild = true\n")
    done = run(
        "submit", "*_flc.fits", "-o", "m", "-c", config, "-p", "final_pixfrac=0.9", "--tile", 128, "--follow"
    )
    assert done.exit_code == 0, done.output
    identity, *products = done.stdout.splitlines()
    assert re.fullmatch("[0-9a-f]{16}", identity)
    assert all(Path(product).is_file() for product in products)
    assert "job" in done.stderr
    assert "done" in done.stderr
    assert "Final drizzle" in done.stderr
    status = run("status", identity[:6])
    assert "done, 100 % done, 1 attempts" in status.stdout
    assert products[0] in status.stdout
    document = json.loads(run("status", identity, "--json").stdout)
    assert document["request"]["parameters"] == {"final_scale": 0.06, "build": True, "final_pixfrac": "0.9"}
    listed = run("jobs", "--state", "done").stdout
    assert re.search(rf"^{identity}  done +100 %  vera ", listed, re.MULTILINE)
    assert "mosaic drizzle:" in run("logs", identity).stdout
    refused = run("retry", identity)
    assert refused.exit_code == 1
    assert "a job that is done cannot retry" in refused.stderr


def test_a_job_that_fails_ends_the_command_with_1(run: Run) -> None:
    failed = run("submit", "nothing_flc.fits", "-o", "n", "--wait")
    assert failed.exit_code == 1
    assert "nothing_flc.fits" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_queued_jobs_are_cancelled_and_queued_again(run_idle: Run) -> None:
    identity = run_idle("submit", "a_flc.fits", "-o", "m").stdout.strip()
    assert run_idle("cancel", identity).stdout.split() == [identity, "cancelled"]
    assert run_idle("retry", identity[:8]).stdout.split() == [identity, "queued"]
    assert json.loads(run_idle("jobs", "--json").stdout)["jobs"][0]["id"] == identity
    again = run_idle("submit", "a_flc.fits", "-o", "m")
    assert again.exit_code == 1
    assert f"job {identity} writes to" in again.stderr
    assert run_idle("submit", "a_flc.fits", "-o", "m2", "--dry-run").exit_code == 0


def test_jobs_that_have_ended_are_deleted(run_idle: Run) -> None:
    jobs = [run_idle("submit", "a_flc.fits", "-o", f"old{n}").stdout.strip() for n in range(2)]
    refused = run_idle("delete", jobs[0])
    assert refused.exit_code == 1
    assert "a job that is queued cannot be deleted; cancel it" in refused.stderr
    for job in jobs:
        run_idle("cancel", job)
    done = run_idle("delete", jobs[0][:8], jobs[1])
    assert done.stdout.split() == [jobs[0], "deleted", jobs[1], "deleted"]
    gone = run_idle("status", jobs[0])
    assert gone.exit_code == 1
    assert "no job" in gone.stderr


def test_wrong_requests_end_with_2_and_one_line(run_idle: Run, tmp_path: Path) -> None:
    for arguments, words in (
        (["submit", "-o", "m"], "no INPUT is given"),
        (["submit", "a_flc.fits"], "no output is given"),
        (["submit", "a_flc.fits", "-o", "m", "-p", "final_scale=-1"], "final_scale"),
        (["submit", "a_flc.fits", "-o", "m", "-p", "finale_scale=1"], "did you mean final_scale"),
        (["submit", "a_flc.fits", "-o", "m", "-p", "build"], "is not of the form NAME=VALUE"),
        (["submit", "/etc/passwd", "-o", "m"], "lies outside the folders that may be read"),
        (["submit", "a_flc.fits", "-o", "/etc/m"], "lies outside the folder that may be written"),
        (["submit", "a_flc.fits", "-o", "m", "--on-error", "explode"], "on_error"),
        (["status", "zz"], "fits none of your latest jobs"),
        (["jobs", "--server", "ftp://x"], "is not an address"),
        (["jobs", "--token", ""], "no usable token is given"),
    ):
        ended = run_idle(*arguments)
        assert ended.exit_code == 2, (arguments, ended.output)
        assert words in ended.stderr, (arguments, ended.stderr)
        assert len(ended.stderr.strip().splitlines()) == 1


def test_a_service_that_is_not_there_or_does_not_know_one_is_said_to_be_so(run_idle: Run) -> None:
    gone = run_idle("jobs", "--server", "http://127.0.0.1:1")
    assert gone.exit_code == 1
    assert "is 'mosaic serve' running?" in gone.stderr
    unknown = run_idle("jobs", "--token", "mosaic_wrong")
    assert unknown.exit_code == 1
    assert "the token is not valid" in unknown.stderr


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    state = tmp_path / "state"

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["token", *arguments, "--state", str(state)])

    token = run("add", "vera", "--days", "30").stdout.strip()
    assert token.startswith("mosaic_")
    caller = tokens_of(state).find(token)
    assert caller is not None
    assert (caller.owner, caller.role) == ("vera", "user")
    listed = run("list").stdout
    assert token not in listed
    identity = listed.split()[0]
    assert re.search(r"vera +user .* until ", listed)
    assert run("revoke", identity).exit_code == 0
    assert tokens_of(state).find(token) is None
    assert "revoked" in run("list").stdout
    assert run("revoke", identity).exit_code == 2
    assert run("add", "Vera").exit_code == 2
    assert run("add", "vera", "--role", "root").exit_code == 2


def test_a_service_that_could_write_nowhere_or_into_itself_does_not_start(tmp_path: Path) -> None:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["serve", *map(str, arguments)])

    for options, words in (
        ((), "no output root or bucket is given"),
        (("--output-bucket", "s3://mosaics"), "is not the name of a bucket"),
        (("--output-bucket", "mosaics", "--bucket", "a/b"), "is not the name of a bucket"),
    ):
        ended = run("--state", tmp_path / "s", *options)
        assert (ended.exit_code, words in ended.stderr) == (2, True), ended.output
    for state, root, words in (
        (tmp_path / "out" / "state", tmp_path / "out", "lie within each other"),
        (tmp_path / "state", tmp_path / "state" / "out", "lie within each other"),
        (tmp_path / "state", tmp_path / "nothing", "is not a folder; make it first"),
    ):
        for folder in (tmp_path / "out", tmp_path / "state" / "out"):
            folder.mkdir(parents=True, exist_ok=True)
        ended = run("--state", state, "--output-root", root)
        assert ended.exit_code == 2, ended.output
        assert words in ended.stderr
