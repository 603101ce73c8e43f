"""The HTTP front: who gets in, what is refused and how, what documents look like."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from cluster.jobs.guard import CSRF_HEADER, MOST_BODY_BYTES, OPEN
from cluster.jobs.server import tokens_of
from cluster.jobs.service import RateLimit, TooManyRequestsError
from cluster.jobs.state import JobEvent
from mosaic.places import put
from mosaic.settings import Settings
from tests.jobs.conftest import Served
from tests.support.jobservice import Answer, Client

REQUEST: dict[str, Any] = {"inputs": ["a_flc.fits"], "output": "m"}
_n = iter(range(10**6))


def request(**changes: Any) -> dict[str, Any]:
    """A request that is accepted, to an output of its own."""
    return {**REQUEST, "output": f"m{next(_n)}", **changes}


def submit(client: Client, **changes: Any) -> str:
    answer = client.post("/jobs", request(**changes))
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def refused(answer: Answer, status: int, *words: str) -> None:
    """Assert a refusal: status, JSON, one line, and no more than what was asked for."""
    assert answer.status == status, (answer.status, answer.body)
    detail = answer.json["detail"]
    assert isinstance(detail, str)
    assert "\n" not in detail
    assert "Traceback" not in detail
    for word in words:
        assert word in detail, (word, detail)


def routes(served: Served) -> list[tuple[str, str]]:
    """Every method and path that the application knows, the page and the document included."""
    app = served.operator.get("/openapi.json").json
    found = [
        (method.upper(), re.sub(r"\{[^}]+\}", "0" * 16, path))
        for path, methods in app["paths"].items()
        for method in methods
    ]
    return [*found, ("GET", "/openapi.json"), ("GET", "/static/app.js"), ("DELETE", "/session")]


def test_without_a_token_nothing_answers_but_the_health_check(idle: Served) -> None:
    assert idle.nobody.get("/health").json == {"status": "ok"}
    found = routes(idle)
    assert len(found) > 12
    headers = ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {idle.vera.token}"})
    more = (
        {"Authorization": idle.vera.token},
        {"Cookie": "mosaic_session=wrong"},
        {"Authorization": "Bearer "},
    )
    for method, path in [*found, ("GET", "/nothing"), ("GET", "/docs"), ("PUT", "/jobs"), ("HEAD", "/jobs")]:
        if (method, path) == ("GET", "/health"):
            continue
        for given in (*headers, *more):
            answer = idle.nobody.ask(method, path, **given)
            assert answer.status == 401, (method, path, given, answer.status)
            assert answer.headers["www-authenticate"] == "Bearer"
    page = idle.nobody.get("/")
    assert page.status == 401
    assert b"<form" in page.body
    assert {path for _, path in OPEN} == {"/health", "/", "/session"}


@pytest.mark.parametrize(
    "path", ["//jobs", "/jobs/", "/health/../jobs", "/health/%2e%2e/jobs", "/health;/jobs", "/JOBS"]
)
def test_odd_spellings_of_a_path_open_nothing(idle: Served, path: str) -> None:
    assert idle.nobody.get(path).status == 401


def test_web_sockets_are_not_spoken(idle: Served) -> None:
    answer = idle.nobody.raw(
        b"GET /jobs HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 401")


def test_a_job_comes_back_as_it_was_submitted(idle: Served) -> None:
    wanted = request(
        parameters={"final_scale": 0.04, "build": True, "final_bits": "64,32"},
        cores=1,
        memory="512MiB",
        tile=256,
        on_error="skip",
        priority=-5,
    )
    answer = idle.vera.post("/jobs", wanted)
    assert answer.status == 201
    assert answer.headers["location"] == f"/jobs/{answer.json['id']}"
    job = idle.vera.get(answer.headers["location"]).json
    assert job["state"] == "queued"
    assert (job["owner"], job["cores"], job["memory"], job["priority"]) == ("vera", 1, 512 << 20, -5)
    assert job["output"].endswith(f"/out/vera/{wanted['output']}")
    assert job["request"] == {**wanted, "restart": False, "align": False}
    assert job["progress"]["done"] == 0
    assert job["outcome"] is None
    resolved = idle.service.store.folder_of(job["id"]).read()["resolved"]
    assert resolved["inputs"][0].endswith("/data/a_flc.fits")
    assert resolved["options"]["cores"] == 1


def test_jobs_of_others_do_not_exist_for_a_user_and_do_for_an_operator(idle: Served) -> None:
    job = submit(idle.vera)
    for path in ("", "/log", "/tiles", "/report", "/preview.png", "/events"):
        theirs = idle.edwin.get(f"/jobs/{job}{path}")
        unknown = idle.edwin.get(f"/jobs/{'0' * 16}{path}")
        refused(theirs, 404)
        assert theirs.body.replace(job.encode(), b"0" * 16) == unknown.body
    for action in ("cancel", "retry"):
        refused(idle.edwin.post(f"/jobs/{job}/{action}"), 404)
    refused(idle.edwin.ask("DELETE", f"/jobs/{job}"), 404)
    assert job not in [found["id"] for found in idle.edwin.get("/jobs?limit=500").json["jobs"]]
    assert job not in [found["id"] for found in idle.edwin.get("/jobs?owner=vera&limit=500").json["jobs"]]
    assert job in [found["id"] for found in idle.operator.get("/jobs?owner=vera&limit=500").json["jobs"]]
    assert idle.operator.post(f"/jobs/{job}/cancel").json["state"] == "cancelled"


def test_what_is_for_operators_is_refused_to_users(idle: Served) -> None:
    refused(idle.vera.get("/metrics"), 403, "for operators")
    refused(idle.vera.post("/jobs", request(priority=1)), 403, "priority")
    assert idle.operator.post("/jobs", request(priority=1)).status == 201
    text = idle.operator.get("/metrics").body.decode()
    assert re.search(r'^mosaic_jobs\{state="queued"\} [1-9]', text, re.MULTILINE)
    for name in ("tiles_per_second", "megapixels_per_second", "read_bytes_total", "job_retries_total"):
        assert f"\nmosaic_{name} " in text, name


def test_cancel_and_retry_follow_the_table(idle: Served) -> None:
    job = submit(idle.vera)
    refused(idle.vera.post(f"/jobs/{job}/retry"), 409, "a job that is queued cannot retry")
    assert idle.vera.post(f"/jobs/{job}/cancel").json["state"] == "cancelled"
    refused(idle.vera.post(f"/jobs/{job}/cancel"), 409, "a job that is cancelled cannot cancel")
    assert idle.vera.post(f"/jobs/{job}/retry").json["state"] == "queued"


def test_a_job_that_has_ended_is_deleted_by_its_owner_or_an_operator(idle: Served) -> None:
    for client in (idle.vera, idle.operator):
        job = submit(idle.vera)
        refused(client.ask("DELETE", f"/jobs/{job}"), 409, "a job that is queued cannot be deleted")
        idle.vera.post(f"/jobs/{job}/cancel")
        path = idle.service.store.folder_of(job).path
        assert path.is_dir()
        answer = client.ask("DELETE", f"/jobs/{job}")
        assert (answer.status, answer.body) == (204, b"")
        assert not path.exists()
        for method, rest in (("GET", ""), ("GET", "/log"), ("POST", "/retry"), ("DELETE", "")):
            refused(client.ask(method, f"/jobs/{job}{rest}"), 404)
        assert job not in [found["id"] for found in idle.operator.get("/jobs?limit=500").json["jobs"]]


def test_a_retry_waits_for_whoever_has_the_output_now(idle: Served) -> None:
    wanted = request()
    first = idle.vera.post("/jobs", wanted).json["id"]
    idle.vera.post(f"/jobs/{first}/cancel")
    second = idle.vera.post("/jobs", wanted).json["id"]
    refused(idle.vera.post(f"/jobs/{first}/retry"), 409, second)
    refused(idle.vera.post("/jobs", wanted), 409, second)


def test_a_key_makes_sending_again_harmless(idle: Served) -> None:
    wanted = request()
    first = idle.vera.post("/jobs", wanted, Idempotency_Key="k-1")
    again = idle.vera.post("/jobs", wanted, Idempotency_Key="k-1")
    assert (first.status, again.status) == (201, 200)
    assert first.json["id"] == again.json["id"]
    refused(idle.vera.post("/jobs", request(), Idempotency_Key="k-1"), 409, "idempotency key")


def test_a_dry_run_judges_and_queues_nothing(idle: Served) -> None:
    before = sum(idle.service.store.counts().values())
    good = idle.vera.post("/jobs?dry_run=1", request(parameters={"final_scale": 0.05}))
    assert (good.status, good.json["valid"]) == (200, True)
    bad = idle.vera.post("/jobs?dry_run=1", request(parameters={"final_scale": -1}))
    refused(bad, 422)
    assert sum(idle.service.store.counts().values()) == before


def test_everything_that_is_wrong_is_told_at_once_by_field(idle: Served) -> None:
    answer = idle.vera.post(
        "/jobs",
        request(
            inputs=["../x.fits", "a_flc.fits"],
            output="/etc/m",
            parameters={
                "final_scale": -1,
                "finale_scale": 1,
                "final_kernel": "round",
                "skyfile": "/etc/passwd",
            },
            memory="lots",
        ),
    )
    refused(answer, 422)
    problems = {problem["field"]: problem["message"] for problem in answer.json["problems"]}
    assert problems.keys() >= {
        "inputs",
        "output",
        "final_scale",
        "finale_scale",
        "final_kernel",
        "skyfile",
        "memory",
    }
    assert "did you mean" in problems["finale_scale"]


def test_an_alignment_is_judged_by_its_own_parameters(idle: Served) -> None:
    for align in (True, False, {}, {"searchrad": 2, "fitgeometry": "shift", "refcat": "a_flc.fits"}):
        assert idle.vera.post("/jobs?dry_run=1", request(align=align)).status == 200
    wrong = {"searchrad": -1, "serchrad": 1, "refcat": "/etc/passwd"}
    answer = idle.vera.post("/jobs?dry_run=1", request(align=wrong))
    refused(answer, 422)
    assert {problem["field"] for problem in answer.json["problems"]} == {f"align.{name}" for name in wrong}
    for align in ({"updatehdr": True}, {"catfile": "a.txt"}, {"outshifts": "../x"}, "yes", 1, ["a"]):
        refused(idle.vera.post("/jobs?dry_run=1", request(align=align)), 422, "align")
    described = {entry["name"] for entry in idle.vera.get("/parameters").json["alignment"]}
    assert {"searchrad", "refcat", "fitgeometry"} <= described
    assert not described & {"catfile", "exclusions", "updatehdr"}


BAD_BODIES: list[tuple[str, Any, int]] = [
    ("empty", b"", 422),
    ("not JSON", b"{", 400),
    ("not UTF-8", b'{"inputs": ["\xff\xfe"]}', 400),
    ("a list", [], 422),
    ("null", None, 422),
    ("too deep", b"[" * 100_000, 400),
    ("deep and whole", b"[" * 50_000 + b"]" * 50_000, 400),
    ("huge number", b'{"inputs": ["a_flc.fits"], "output": "m", "cores": ' + b"9" * 5000 + b"}", 400),
    ("no inputs", {"output": "m"}, 422),
    ("inputs empty", {**REQUEST, "inputs": []}, 422),
    ("inputs a text", {**REQUEST, "inputs": "a_flc.fits"}, 422),
    ("too many inputs", {**REQUEST, "inputs": ["a_flc.fits"] * 20_001}, 422),
    ("unknown field", {**REQUEST, "scheduler": "tcp://evil:8786"}, 422),
    ("class", {**REQUEST, "__class__": "x"}, 422),
    ("cores a text", {**REQUEST, "cores": "2"}, 422),
    ("cores zero", {**REQUEST, "cores": 0}, 422),
    ("cores beyond", {**REQUEST, "cores": 64}, 422),
    ("cores true", {**REQUEST, "cores": True}, 422),
    ("memory beyond", {**REQUEST, "memory": "64GiB"}, 422),
    ("memory negative", {**REQUEST, "memory": -1}, 422),
    ("memory infinite", {**REQUEST, "memory": "infGiB"}, 422),
    ("tile small", {**REQUEST, "tile": 1}, 422),
    ("on_error", {**REQUEST, "on_error": "explode"}, 422),
    ("priority", {**REQUEST, "priority": 1000}, 422),
    ("restart a text", {**REQUEST, "restart": "yes"}, 422),
    ("parameters a list", {**REQUEST, "parameters": []}, 422),
    ("parameter nested", {**REQUEST, "parameters": {"final_scale": {"a": 1}}}, 422),
    ("parameter long", {**REQUEST, "parameters": {"skyfile": "x" * 5000}}, 422),
    ("parameter NaN", b'{"inputs": ["a_flc.fits"], "output": "m", "parameters": {"final_scale": NaN}}', 422),
    (
        "parameter inf",
        b'{"inputs": ["a_flc.fits"], "output": "m", "parameters": {"final_scale": Infinity}}',
        422,
    ),
    (
        "parameter 1e999",
        b'{"inputs": ["a_flc.fits"], "output": "m", "parameters": {"final_scale": 1e999}}',
        422,
    ),
    ("too many parameters", {**REQUEST, "parameters": {f"p{n}": 1 for n in range(201)}}, 422),
    ("surrogate", b'{"inputs": ["a\\ud800.fits"], "output": "m"}', 422),
    ("surrogate name", b'{"inputs": ["a_flc.fits"], "output": "m", "parameters": {"\\ud800": 1}}', 422),
    (
        "surrogate value",
        b'{"inputs": ["a_flc.fits"], "output": "m", "parameters": {"skyfile": "\\ud800"}}',
        422,
    ),
    ("zero byte", {**REQUEST, "inputs": ["a\x00_flc.fits"]}, 422),
    ("pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.", 400),
    ("changes the inputs", {**REQUEST, "parameters": {"dq_update": "inplace"}}, 422),
    ("restores the inputs", {**REQUEST, "parameters": {"restore": True}}, 422),
    *(
        (f"input {name}", {**REQUEST, "inputs": [name]}, 422)
        for name in (
            *("../secret.fits", "/etc/passwd", "leak.fits", "way_out/secret.fits", "@/etc/passwd"),
            *(
                "file:///etc/passwd",
                "http://169.254.169.254/latest",
                "https://localhost/",
                "s3://other/x.fits",
            ),
            *(
                "gopher://127.0.0.1:6379/_x",
                "simplecache::s3://open-bucket/x",
                "a\r\nb",
                "~root/x",
                "$HOME/x",
            ),
        )
    ),
    *(
        (f"output {name}", {**REQUEST, "output": name}, 422)
        for name in ("../m", "/etc/m", "s3://b/m", "a\nb", "")
    ),
]


@pytest.mark.parametrize(
    ("body", "status"), [entry[1:] for entry in BAD_BODIES], ids=[e[0] for e in BAD_BODIES]
)
def test_a_bad_request_is_refused_and_nothing_is_queued(idle: Served, body: Any, status: int) -> None:
    before = sum(idle.service.store.counts().values())
    answer = idle.vera.post("/jobs", b"null" if body is None else body)
    refused(answer, status)
    assert b"\\ud800" not in answer.body
    assert len(answer.body) < 4000
    assert sum(idle.service.store.counts().values()) == before


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/jobs/x",
            "/jobs/" + "0" * 15,
            "/jobs/" + "0" * 17,
            "/jobs/" + "G" * 16,
            "/jobs/0%0a",
            "/jobs/%00",
        ),
        *(
            "/jobs/..%2f..%2fetc%2fpasswd",
            "/jobs/%2e%2e/tokens.sqlite",
            "/jobs/" + "0" * 16 + "%0a",
            "/jobs/" + "a" * 9000,
        ),
        *("/jobs/0000000000000000/log?tail=0", "/jobs/0000000000000000/log?tail=99999999999"),
        *("/jobs?limit=0", "/jobs?limit=501", "/jobs?limit=x", "/jobs?state=lost", "/jobs?before=-1"),
        *("/jobs?before=" + "9" * 40, "/jobs?owner=" + "x" * 99, "/jobs/0000000000000000/events?after=-1"),
        *(
            "/static/..%2findex.html",
            "/static/../tokens.sqlite",
            "/static/%2e%2e%2fapi.py",
            "/static/index.html",
        ),
        *("/tokens.sqlite", "/static/", "/.git/config", "/static/app.js%00"),
    ],
)
def test_an_impossible_path_or_query_is_refused(idle: Served, path: str) -> None:
    answer = idle.vera.get(path)
    assert answer.status in {404, 422}, (answer.status, answer.body)
    assert "detail" in answer.json


def test_values_of_a_query_are_never_sql(idle: Served) -> None:
    submit(idle.vera)
    for text in ("' OR 1=1 --", "vera' --", '"; DROP TABLE jobs; --'):
        assert idle.operator.get(f"/jobs?owner={quote(text)}").json["jobs"] == []
    assert idle.operator.get("/jobs?owner=vera").json["jobs"] != []


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(idle: Served) -> None:
    head = f"POST /jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle.vera.token}\r\n"
    told = idle.vera.raw(f"{head}Content-Length: {MOST_BODY_BYTES + 1}\r\n\r\n".encode())
    assert told.startswith(b"HTTP/1.1 413")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    n_chunks = MOST_BODY_BYTES // 0x10000 + 2
    untold = idle.vera.raw(
        f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + chunk * n_chunks
        + b"0\r\n\r\n"
    )
    assert untold.startswith(b"HTTP/1.1 413")
    for length in ("-1", "x", "1e3", "99999999999999999999"):
        answer = idle.vera.raw(f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert re.match(rb"HTTP/1.1 4\d\d", answer), answer[:80]


@pytest.mark.parametrize(
    "lines",
    [
        "X-Odd: a\x00b",
        "X-Long: " + "a" * 100_000,
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Bad Header: x",
        " folded: x",
    ],
    ids=["zero", "long", "two lengths", "length and chunks", "space", "folded"],
)
def test_malformed_headers_are_refused(idle: Served, lines: str) -> None:
    head = f"POST /jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle.vera.token}\r\n{lines}\r\n\r\n"
    answer = idle.vera.raw(head.encode("latin-1") + b"{}{}{}")
    # A connection that makes no sense any longer may also be closed without a word.
    assert answer == b"" or re.match(rb"HTTP/1.1 4\d\d", answer), answer[:80]
    assert b"HTTP/1.1 2" not in answer


def test_nothing_that_is_sent_becomes_a_header(idle: Served) -> None:
    evil = "x\r\nSet-Cookie: mosaic_session=evil"
    for answer in (
        idle.vera.post("/jobs", request(inputs=[evil])),
        idle.vera.post("/jobs", request(output=evil)),
        idle.vera.get(f"/jobs?owner={quote(evil)}"),
        idle.vera.get(f"/jobs/{quote(evil)}"),
        idle.vera.get(f"/{quote(evil)}"),
        idle.vera.get("/jobs", Idempotency_Key="x", Origin="http://evil"),
    ):
        assert "set-cookie" not in answer.headers
        assert "\r" not in "".join(answer.headers.values())


def test_every_answer_tells_browsers_to_behave(idle: Served) -> None:
    for answer in (
        idle.vera.get("/jobs"),
        idle.nobody.get("/jobs"),
        idle.nobody.get("/"),
        idle.vera.get("/x"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def log_in(served: Served, token: str, **headers: str) -> Answer:
    return served.nobody.ask(
        "POST",
        "/session",
        urlencode({"token": token}).encode(),
        Content_Type="application/x-www-form-urlencoded",
        **headers,
    )


def test_a_browser_logs_in_with_a_token_and_is_protected_against_other_sites(idle: Served) -> None:
    answer = log_in(idle, idle.vera.token)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Max-Age=43200"):
        assert part.lower() in cookie.lower()
    browser = {"Cookie": cookie.partition(";")[0]}
    page = idle.nobody.get("/", **browser)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    who = idle.nobody.get("/service", **browser).json
    assert (who["user"], who["role"]) == ("vera", "user")
    refused(idle.nobody.post("/jobs", request(), **browser), 403, "does not come from the page")
    wrong = {CSRF_HEADER: "wrong", **browser}
    refused(idle.nobody.post("/jobs", request(), **wrong), 403)
    right = {CSRF_HEADER: who["csrf"], **browser}
    refused(idle.nobody.post("/jobs", request(), **right, Origin="http://evil.example"), 403)
    refused(idle.nobody.post("/jobs", request(), **right, Origin="null"), 403)
    own = f"http://127.0.0.1:{idle.port}"
    assert idle.nobody.post("/jobs", request(), **right, Origin=own).status == 201
    assert idle.nobody.ask("DELETE", "/session", **right).status == 204
    assert idle.nobody.get("/service", **browser).status == 401


def test_logging_in_with_a_wrong_token_tells_so_and_cannot_be_tried_for_ever(idle: Served) -> None:
    statuses = []
    for _ in range(40):
        answer = log_in(idle, "mosaic_wrong<script>")
        statuses.append(answer.status)
        assert b"<script>" not in answer.body
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
            break
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_too_many_submissions_are_told_to_wait() -> None:
    now = [0.0]
    limit = RateLimit(rate=0.5, burst=3, clock=lambda: now[0])
    for _ in range(3):
        limit.take("vera")
    with pytest.raises(TooManyRequestsError, match="wait 2 s"):
        limit.take("vera")
    limit.take("edwin")
    now[0] += 2.0
    limit.take("vera")
    with pytest.raises(TooManyRequestsError):
        limit.take("vera")


def test_parameters_are_those_of_the_command(idle: Served) -> None:
    sections = idle.vera.get("/parameters").json["sections"]
    described = {entry["name"]: entry for section in sections for entry in section["parameters"]}
    assert described.keys() == Settings.model_fields.keys()
    assert {"square", "point", "turbo", "gaussian", "lanczos3"} <= set(described["final_kernel"]["choices"])
    assert described["build"] == {
        "name": "build",
        "description": Settings.model_fields["build"].description,
        "kind": "boolean",
        "choices": [],
        "limits": {},
        "default": Settings.model_fields["build"].default,
        "may_be_blank": False,
    }
    for entry in described.values():
        assert entry["description"], entry["name"]
    # Every default, sent back, is accepted by the service.
    defaults = {name: entry["default"] for name, entry in described.items() if entry["default"] is not None}
    answer = idle.vera.post("/jobs?dry_run=1", request(parameters={"runfile": "x.log"} | _plain(defaults)))
    assert answer.status == 200, answer.body


def _plain(defaults: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in defaults.items() if value != "" and name != "runfile"}


def test_events_are_told_again_after_the_last_one_seen(idle: Served) -> None:
    job = submit(idle.vera)
    folder = idle.service.store.folder_of(job)
    for number in range(3):
        folder.append("message", level="INFO", text=f"line {number}\r\nid: 9\r\n\r\nevent: evil")
    idle.vera.post(f"/jobs/{job}/cancel")
    whole = idle.vera.get(f"/jobs/{job}/events")
    assert whole.headers["content-type"].startswith("text/event-stream")
    blocks = [_block(text) for text in whole.body.decode().strip().split("\n\n")]
    kinds = [block["event"] for block in blocks]
    assert kinds == ["state", "message", "message", "message", "state", "over"]
    assert json.loads(blocks[2]["data"])["text"].startswith("line 1")
    rest = idle.vera.get(f"/jobs/{job}/events", Last_Event_ID=blocks[2]["id"])
    assert [_block(text) for text in rest.body.decode().strip().split("\n\n")] == blocks[3:]
    for bad in ("x", "-1", "9" * 30, "1; DROP"):
        refused(idle.vera.get(f"/jobs/{job}/events", Last_Event_ID=bad), 422)


def _block(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_a_report_shows_text_as_text(idle: Served) -> None:
    job = submit(idle.vera)
    refused(idle.vera.get(f"/jobs/{job}/report"), 404, "there is no report yet")
    idle.service.store.folder_of(job).finish(
        {"ok": False, "error": "<img src=x onerror=alert(1)>", "warnings": ["</html><script>x</script>"]}
    )
    page = idle.vera.get(f"/jobs/{job}/report", Accept="text/html")
    assert page.headers["content-type"].startswith("text/html")
    assert "sandbox" in page.headers["content-security-policy"]
    assert b"<img" not in page.body
    assert b"<script" not in page.body
    assert idle.vera.get(f"/jobs/{job}/report").json["ok"] is False


def test_a_picture_that_is_not_there_yet_is_said_to_be_so(idle: Served) -> None:
    job = submit(idle.vera)
    refused(idle.vera.get(f"/jobs/{job}/preview.png"), 404, "no tile")
    idle.service.store.folder_of(job).preview.write_bytes(b"\x89PNG")
    answer = idle.vera.get(f"/jobs/{job}/preview.png")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/png", b"\x89PNG")


def test_a_picture_that_is_replaced_while_it_is_sent_arrives_whole(idle: Served) -> None:
    job = submit(idle.vera)
    target = idle.service.store.folder_of(job).preview
    pictures = [b"a" * 10_000, b"b" * 300_000]
    is_over = threading.Event()

    def replace_it() -> None:
        while not is_over.is_set():
            for picture in pictures:
                put(target, picture)

    put(target, pictures[0])
    writer = threading.Thread(target=replace_it)
    writer.start()
    try:
        for _ in range(60):
            answer = idle.vera.get(f"/jobs/{job}/preview.png")
            assert (answer.status, answer.body in pictures) == (200, True)
    finally:
        is_over.set()
        writer.join()


def test_pages_of_the_list_hold_every_job_once(idle: Served) -> None:
    wanted = [submit(idle.edwin) for _ in range(5)]
    found: list[str] = []
    path = "/jobs?limit=2&state=queued"
    while True:
        page = idle.edwin.get(path).json
        found += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        path = f"/jobs?limit=2&state=queued&before={page['next']}"
    assert len(found) == len(set(found))
    assert found[:5] == wanted[::-1]


def test_a_revoked_token_is_refused_at_once(idle: Served) -> None:
    tokens = tokens_of(idle.service.config.state)
    identity, token = tokens.add("vera", "user")
    client = Client(idle.port, token)
    assert client.get("/jobs").status == 200
    tokens.revoke(identity)
    assert client.get("/jobs").status == 401


def test_who_watches_a_job_that_is_deleted_is_told_that_it_is_over(idle: Served) -> None:
    job = submit(idle.vera)
    with socket.create_connection(("127.0.0.1", idle.port), timeout=60) as stream:
        head = (
            f"GET /jobs/{job}/events?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle.vera.token}"
        )
        stream.sendall(f"{head}\r\n\r\n".encode())
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        idle.service.store.apply(job, JobEvent.CANCEL)
        idle.service.store.delete(job)
        received = b""
        while b"event: over" not in received and (part := stream.recv(65536)):
            received += part
    assert b"event: over" in received


def test_answers_come_while_a_stream_is_open(idle: Served) -> None:
    job = submit(idle.vera)
    with socket.create_connection(("127.0.0.1", idle.port), timeout=60) as stream:
        head = (
            f"GET /jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle.vera.token}\r\n\r\n"
        )
        stream.sendall(head.encode())
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        assert idle.vera.get("/jobs").status == 200
        idle.vera.post(f"/jobs/{job}/cancel")
        received = b""
        end = time.monotonic() + 60
        while b"event: over" not in received and time.monotonic() < end:
            received += stream.recv(65536)
    assert b'"state": "cancelled"' in received
