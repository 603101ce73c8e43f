"""The page in a real browser: by keyboard, at two widths, live, and without a word to anybody else."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from cluster.jobs.runner import Capacity, Runner
from tests.jobs.conftest import Served, link_exposures, make_config, start_service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
PATIENCE_MS = 120_000
WIDTHS = (1280, 400)
EXPECTED = re.compile(r"status of (401|404|422)|Password forms|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE")
"""What the console may say: refusals that a test asks for, and a service that it takes away."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, exposures: list[Path]) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    config = make_config(folder)
    link_exposures(exposures, folder / "data")
    yield from start_service(config, lambda store: Runner(store, config.capacity))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that may say nothing unexpected, and talk to nobody but the service."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, reduced_motion="reduce")
    made = context.new_page()
    made.set_default_timeout(PATIENCE_MS)
    said: list[str] = []
    asked: set[str] = set()
    made.on("console", lambda message: said.append(message.text))
    made.on("pageerror", lambda error: said.append(f"error: {error}"))
    made.on("request", lambda request: asked.add(request.url.split("/")[2]))
    yield made
    context.close()
    assert [text for text in said if not EXPECTED.search(text)] == []
    assert len(asked) == 1, asked


def address(served: Served, rest: str = "") -> str:
    return f"http://127.0.0.1:{served.port}/{rest}"


def type_token(page: Any, served: Served, token: str) -> None:
    """Type into the page as it opens; the browser focuses the field a moment after the page is loaded."""
    page.goto(address(served))
    page.wait_for_selector("#token:focus")
    page.keyboard.type(token)
    page.keyboard.press("Enter")


def log_in(page: Any, served: Served, token: str) -> None:
    type_token(page, served, token)
    page.wait_for_selector("h1:text-is('Jobs')")


def tab_to(page: Any, selector: str) -> None:
    """Reach an element by the keyboard alone."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    pytest.fail(f"{selector} cannot be reached with the Tab key")


def assert_fits(page: Any, name: str) -> None:
    """Assert that nothing is wider than the window, and that everything one can use has a name."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(100)
        if folder := os.environ.get("MOSAIC_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{name}_{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, textarea, canvas, main img")]
        .filter(e => !(e.textContent.trim() || e.ariaLabel || e.alt || e.labels?.length))
        .map(e => e.outerHTML)"""
    )
    assert nameless == []
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def test_a_job_is_submitted_by_keyboard_watched_and_done(page: Any, served: Served) -> None:
    type_token(page, served, "mosaic_wrong")
    page.wait_for_selector("[role=alert]:text-is('This token is not valid.')")
    assert_fits(page, "login")
    log_in(page, served, served.vera.token)
    page.wait_for_selector("text=No job was submitted yet.")
    assert_fits(page, "empty")
    tab_to(page, "nav a[data-page=submit]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-inputs")
    tab_to(page, "#field-inputs")
    page.keyboard.type("*_flc.fits")
    tab_to(page, "#field-output")
    page.keyboard.type("page")
    tab_to(page, "#field-tile")
    page.keyboard.type("64")
    tab_to(page, "#find")
    page.keyboard.type("final_pixfrac")
    tab_to(page, "#field-final_pixfrac")
    page.keyboard.press("Control+a")
    page.keyboard.type("1.5")
    page.wait_for_selector("#field-final_pixfrac-problem:has-text('at most 1')")
    page.wait_for_selector(".verdict:has-text('final_pixfrac')")
    assert page.get_attribute("#field-final_pixfrac", "aria-invalid") == "true"
    assert_fits(page, "submit")
    tab_to(page, "button.primary")
    page.keyboard.press("Enter")
    # The first wrong field has the focus, and nothing was sent.
    assert page.evaluate("document.activeElement.id") == "field-final_pixfrac"
    assert served.vera.get("/jobs").json["jobs"] == []
    page.keyboard.press("Control+a")
    page.keyboard.type("0.9")
    page.wait_for_selector("#field-final_pixfrac-problem", state="hidden")
    tab_to(page, "button.primary")
    page.keyboard.press("Enter")
    page.wait_for_selector(".title .badge.done")
    (job,) = served.vera.get("/jobs").json["jobs"]
    document = served.vera.get(f"/jobs/{job['id']}").json
    assert document["request"]["parameters"] == {"final_pixfrac": 0.9}
    page.wait_for_selector("img.preview:not([hidden])")
    assert page.evaluate("document.querySelector('img.preview').naturalWidth") > 100
    n_tiles = len(served.vera.get(f"/jobs/{job['id']}/tiles").json["done"]["final"])
    page.wait_for_selector(f"canvas[aria-label*='{n_tiles} done']")
    assert "0 to do" in page.get_attribute("canvas >> nth=-1", "aria-label")
    assert_map_is_drawn(page)
    assert page.inner_text(".overall .number") == "100 %"
    assert re.search(r"MiB at most; .* stated, 1.00 GiB granted", page.inner_text(".panels"))
    assert "were expected" in page.inner_text(".panels")
    assert "mosaic drizzle:" in page.inner_text("pre")
    assert document["outcome"]["products"][0] in page.inner_text("main")
    assert_fits(page, "done")
    with page.expect_popup() as opened:
        page.click("text=Report")
    opened.value.wait_for_selector("h1")
    assert "page" in opened.value.inner_text("body")
    opened.value.close()


def assert_map_is_drawn(page: Any) -> None:
    """Assert that the canvas shows finished tiles in their colour."""
    share = page.evaluate(
        """() => {
          const canvas = [...document.querySelectorAll("canvas")].at(-1);
          const probe = document.createElement("i");
          probe.className = "swatch final";
          canvas.parentElement.append(probe);
          const wanted = getComputedStyle(probe).backgroundColor.match(/\\d+/g).map(Number);
          probe.remove();
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let n = 0;
          for (let i = 0; i < data.length; i += 4) n += wanted.every((v, k) => Math.abs(data[i + k] - v) < 2);
          return n / (data.length / 4);
        }"""
    )
    assert share > 0.5


def test_a_queued_job_is_cancelled_and_queued_again(page: Any, idle: Served) -> None:
    job = idle.vera.post("/jobs", {"inputs": ["a_flc.fits"], "output": "buttons"}).json["id"]
    log_in(page, idle, idle.vera.token)
    page.goto(address(idle, f"#/jobs/{job}"))
    page.wait_for_selector(".title .badge.queued")
    tab_to(page, "button.cancel")
    page.keyboard.press("Enter")
    page.wait_for_selector(".title .badge.cancelled")
    assert "Asked to stop" in page.inner_text("#notice")
    assert page.evaluate("document.activeElement.matches('button.retry')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".title .badge.queued")
    assert idle.vera.get(f"/jobs/{job}").json["state"] == "queued"
    page.goto(address(idle, "#/"))
    page.click(f"button.cancel[aria-label='Cancel job {job}']")
    page.wait_for_selector(f"button.retry[aria-label='Retry job {job}']")
    page.click("text=Cancelled")
    page.wait_for_selector(f"a[href='#/jobs/{job}']")
    assert_fits(page, "jobs")
    page.click("#leave")
    page.wait_for_selector("#token")


def test_a_job_that_has_ended_is_deleted_after_a_question(page: Any, idle: Served) -> None:
    job = idle.vera.post("/jobs", {"inputs": ["a_flc.fits"], "output": "delete"}).json["id"]
    asked: list[str] = []
    answers = iter((False, True))

    def answer(dialog: Any) -> None:
        asked.append(dialog.message)
        if next(answers):
            dialog.accept()
        else:
            dialog.dismiss()

    page.on("dialog", answer)
    log_in(page, idle, idle.vera.token)
    page.goto(address(idle, f"#/jobs/{job}"))
    page.wait_for_selector(".title .badge.queued")
    assert page.query_selector("button.delete") is None
    idle.vera.post(f"/jobs/{job}/cancel")
    page.wait_for_selector("button.delete")
    tab_to(page, "button.delete")
    assert_fits(page, "ended")
    page.focus("button.delete")
    page.keyboard.press("Enter")
    assert idle.vera.get(f"/jobs/{job}").status == 200
    page.keyboard.press("Enter")
    page.wait_for_selector("#notice:has-text('is deleted; its products stay')")
    page.wait_for_selector("h1:text-is('Jobs')")
    assert idle.vera.get(f"/jobs/{job}").status == 404
    assert page.query_selector(f"a[href='#/jobs/{job}']") is None
    assert len(asked) == 2
    assert all(job in text and "products" in text for text in asked)


def test_what_happens_is_seen_as_it_happens_and_after_the_service_was_away(page: Any, tmp_path: Path) -> None:
    config = make_config(tmp_path)
    nothing = Capacity(2, 2 << 30, 0, 0)
    first = start_service(config, lambda store: Runner(store, nothing))
    idle = next(first)
    job = idle.vera.post("/jobs", {"inputs": ["a_flc.fits"], "output": "live"}).json["id"]
    folder = idle.service.store.folder_of(job)
    layer = {
        "width": 300,
        "height": 200,
        "tile": 100,
        "columns": 3,
        "tiles": [0, 1, 2, 4],
        "depth": 2,
        "n_chips": 2,
    }
    plan = {
        "rows": [["frame", "300 x 200"]],
        "peak_bytes": 1 << 28,
        "granted_bytes": 1 << 30,
        "estimated_s": 10.0,
    }
    folder.append("plan", **plan)
    layers = {"separate": layer, "final": layer}
    none: dict[str, list[int]] = {"median": [], "final": []}
    folder.append("begin", phases=[["median", 4, 0], ["final", 4, 0]], tiles=none, layers=layers)

    def tell(phase: str, tile: int) -> None:
        facts = {"seconds": 0.1, "read": 1, "written": 1, "pixels": 1, "rss": 1}
        folder.append("task", phase=phase, task=f"t{tile:06d}", tile=tile, **facts)

    log_in(page, idle, idle.vera.token)
    page.goto(address(idle, f"#/jobs/{job}"))
    page.wait_for_selector("canvas[aria-label='Map of 4 tiles: 4 to do, 0 median, 0 done']")
    tell("median", 0)
    page.wait_for_selector("canvas[aria-label='Map of 4 tiles: 3 to do, 1 median, 0 done']")
    tell("median", 4)
    tell("final", 0)
    folder.append("memory", used=1 << 27, budget=1 << 30)
    page.wait_for_selector("canvas[aria-label='Map of 4 tiles: 2 to do, 1 median, 1 done']")
    page.wait_for_selector("text=128 MiB now, 128 MiB at most; 256 MiB stated")
    page.hover("canvas", position={"x": 3, "y": 3})
    page.wait_for_selector("text=column 0, row 1: no exposure")
    first.close()
    page.wait_for_selector("#notice:has-text('Connection lost')")
    tell("final", 1)
    second = start_service(config, lambda store: Runner(store, nothing), idle.port)
    next(second)
    page.wait_for_selector("canvas[aria-label='Map of 4 tiles: 1 to do, 1 median, 2 done']")
    page.wait_for_selector("#notice", state="hidden")
    assert_fits(page, "live")
    page.goto("about:blank")
    second.close()


def test_texts_of_users_and_files_stay_texts(page: Any, idle: Served) -> None:
    evil = "<img src=x onerror=document.title='owned'>"
    answer = idle.vera.post(
        "/jobs", {"inputs": [f"{evil}.fits"], "output": f"a{evil}", "parameters": {"skyuser": evil}}
    )
    job = answer.json["id"]
    idle.service.store.folder_of(job).log.write_text(evil)
    log_in(page, idle, idle.operator.token)
    page.goto(address(idle, f"#/jobs/{job}"))
    page.wait_for_selector(f"pre:has-text('{evil[:12]}')")
    page.goto(address(idle, f"#/submit?like={job}"))
    page.wait_for_selector("#field-inputs")
    assert page.input_value("#field-inputs") == f"{evil}.fits"
    page.goto(address(idle, "#/"))
    page.wait_for_selector(f"a[href='#/jobs/{job}']")
    assert "owned" not in page.title()
    assert page.query_selector("main img[src=x]") is None


def test_what_does_not_exist_is_said_to_be_so(page: Any, idle: Served) -> None:
    log_in(page, idle, idle.edwin.token)
    page.goto(address(idle, f"#/jobs/{'0' * 16}"))
    page.wait_for_selector("h1:text-is('No such job')")
    page.goto(address(idle, "#/nowhere"))
    page.wait_for_selector("h1:text-is('Jobs')")
