"""`mosaic submit status logs cancel retry delete jobs`: the job service from another shell."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mosaic.cli.drizzle import Align, AlignAssignments, AlignConfig
from mosaic.cli.failure import EXIT_FAILED, one_line_errors, report_failure

if TYPE_CHECKING:
    from cluster.jobs.client import JobsClient

Server: TypeAlias = Annotated[
    str, typer.Option("--server", envvar="MOSAIC_SERVER", metavar="URL", help="Address of the job service.")
]
Token: TypeAlias = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="MOSAIC_TOKEN",
        metavar="TOKEN",
        help="Who you are; better in MOSAIC_TOKEN.",
        show_default=False,
    ),
]
JobId: TypeAlias = Annotated[
    str, typer.Argument(metavar="JOB", help="Identity, or as much of it as is clear.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the document of the service.")]
SERVER = "http://localhost:8765"


def submit_command(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT...", help="Exposures, as the service sees them.")
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="ROOT", help="Root of the product names.")
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", metavar="FILE", help="Parameter file: TOML or DrizzlePac .cfg."),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Set a parameter.")
    ] = None,
    cores: Annotated[int | None, typer.Option(help="Processor cores.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory, as 2GiB.")] = None,
    tile: Annotated[int | None, typer.Option(metavar="PX", help="Side of an output tile.")] = None,
    on_error: Annotated[str, typer.Option(metavar="stop|skip", help="At a bad exposure.")] = "stop",
    restart: Annotated[bool, typer.Option("--restart", help="Discard what an earlier run left.")] = False,
    align: Align = False,
    align_parameter: AlignAssignments = None,
    align_config: AlignConfig = None,
    priority: Annotated[
        int, typer.Option(min=-100, max=100, help="Higher goes first; above 0 for operators.")
    ] = 0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when the job has ended; exit 1 if it failed.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="As --wait, with live progress.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the request.")] = False,
    server: Server = SERVER,
    token: Token = "",
) -> None:
    """Put a job into the queue of a job service; prints its identity.

    Example: mosaic submit 'm51/*_flc.fits' -o m51 -p final_scale=0.04 --follow
    """
    with one_line_errors():
        body = _request(inputs or [], output, config, assignments or [])
        given = {"cores": cores, "memory": memory, "tile": tile}
        body |= {name: value for name, value in given.items() if value is not None}
        body |= {"on_error": on_error, "restart": restart, "priority": priority}
        body["align"] = _alignment(align_config, align_parameter or [], is_wanted=align)
        client = _client(server, token)
        # A key of its own: should the answer be lost, sending the request again does no harm.
        answer = client.submit(body, key=secrets.token_hex(16), dry_run=dry_run)
        if dry_run:
            typer.echo(json.dumps(answer, indent=2))
            return
        typer.echo(answer["id"])
        if wait or follow:
            _watch(client, answer["id"], is_shown=follow)


def status_command(job: JobId, as_json: AsJson = False, server: Server = SERVER, token: Token = "") -> None:
    """Say where a job stands.

    Example: mosaic status 0f3a
    """
    with one_line_errors():
        client = _client(server, token)
        document = client.job(_identity(client, job))
        if as_json:
            typer.echo(json.dumps(document, indent=2))
            return
        typer.echo(_describe(document))


def jobs_command(
    state: Annotated[
        list[str] | None, typer.Option(help="queued, running, done, failed, cancelled; repeatable.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Jobs of one user (operators).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many, newest first.")] = 20,
    as_json: AsJson = False,
    server: Server = SERVER,
    token: Token = "",
) -> None:
    """List jobs, newest first.

    Example: mosaic jobs --state running
    """
    with one_line_errors():
        page = _client(server, token).jobs(state=state, owner=owner, limit=limit)
        if as_json:
            typer.echo(json.dumps(page, indent=2))
            return
        for job in page["jobs"]:
            typer.echo(
                f"{job['id']}  {job['state']:10s} {100 * job['done']:3.0f} %  {job['owner']:12s} "
                f"{_clock(job['created'])}  {job['output']}"
            )
        if page["next"] is not None:
            typer.echo(f"older ones: mosaic jobs --limit {min(500, 2 * limit)}", err=True)


def logs_command(
    job: JobId,
    tail: Annotated[
        int, typer.Option(min=1, max=4 << 20, metavar="BYTES", help="How much of the end.")
    ] = 65536,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Show events as they come, until the job ends.")
    ] = False,
    server: Server = SERVER,
    token: Token = "",
) -> None:
    """Print the log of a job.

    Example: mosaic logs 0f3a --follow
    """
    with one_line_errors():
        client = _client(server, token)
        identity = _identity(client, job)
        typer.echo(client.log(identity, tail), nl=False)
        if follow:
            _watch(client, identity, is_shown=True)


def cancel_command(job: JobId, server: Server = SERVER, token: Token = "") -> None:
    """Stop a job; what is finished is kept.

    Example: mosaic cancel 0f3a
    """
    _change(job, "cancel", server, token)


def retry_command(job: JobId, server: Server = SERVER, token: Token = "") -> None:
    """Queue a failed or cancelled job again; it continues where it stopped.

    Example: mosaic retry 0f3a
    """
    _change(job, "retry", server, token)


def delete_command(
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="Identities, or as much of them as is clear.")
    ],
    server: Server = SERVER,
    token: Token = "",
) -> None:
    """Remove jobs that have ended from the list, with their logs; their products stay.

    Example: mosaic delete 0f3a 77c1
    """
    with one_line_errors():
        client = _client(server, token)
        for identity in [_identity(client, job) for job in jobs]:
            client.delete(identity)
            typer.echo(f"{identity}  deleted")


def _change(job: str, action: str, server: str, token: str) -> None:
    with one_line_errors():
        client = _client(server, token)
        document = client.change(_identity(client, job), action)
        typer.echo(f"{document['id']}  {document['state']}")


def _client(server: str, token: str) -> JobsClient:
    from cluster.jobs.client import JobsClient

    return JobsClient(server, token)


def _identity(client: JobsClient, start: str) -> str:
    """Identity of the job that begins so, when it is the only one."""
    from mosaic.errors import ParameterError

    if len(start) == 16:
        return start
    found = [job["id"] for job in client.jobs(limit=500)["jobs"] if job["id"].startswith(start)]
    if len(found) != 1:
        problem = (
            "fits several jobs; give more of it"
            if found
            else "fits none of your latest jobs; see 'mosaic jobs'"
        )
        raise ParameterError(f"{start!r} {problem}")
    return str(found[0])


def _request(inputs: list[str], output: str, config: Path | None, assignments: list[str]) -> dict[str, Any]:
    """Inputs, output and parameters of a request; the service judges them."""
    from mosaic.configfile import read_config
    from mosaic.errors import ParameterError

    parameters: dict[str, Any] = {}
    if config is not None:
        file = read_config(config)
        if file.problems:
            raise ParameterError("; ".join(file.problems))
        parameters = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in file.parameters.items()
        }
        inputs = inputs or list(file.inputs)
        output = output or file.output
    parameters |= _split(assignments)
    if not inputs:
        raise ParameterError("no INPUT is given")
    if not output:
        raise ParameterError("no output is given: add -o ROOT")
    return {"inputs": inputs, "output": output, "parameters": parameters}


def _alignment(config: Path | None, assignments: list[str], *, is_wanted: bool) -> bool | dict[str, Any]:
    """Alignment of a request: none, or its parameters; the service judges them."""
    if config is None and not assignments:
        return is_wanted
    from mosaic.alignment.settings import TASKS
    from mosaic.configfile import read_config
    from mosaic.errors import ParameterError

    parameters: dict[str, Any] = {}
    if config is not None:
        file = read_config(config, TASKS["align"])
        if file.problems:
            raise ParameterError("; ".join(file.problems))
        parameters = dict(file.parameters)
    return parameters | _split(assignments)


def _split(assignments: list[str]) -> dict[str, Any]:
    """Texts by name of ``NAME=VALUE``."""
    from mosaic.errors import ParameterError
    from mosaic.parameters import split_assignments

    problems: list[str] = []
    parameters = split_assignments(assignments, problems)
    if problems:
        raise ParameterError("; ".join(problems))
    return parameters


def _watch(client: JobsClient, job: str, *, is_shown: bool) -> None:
    """Wait for a job to end, with progress if wanted; exit 1 unless it is done."""
    from mosaic.cli.progress import LiveProgress, choose_display
    from mosaic.graph.progress import PhaseTotal, TaskRecord

    try:
        with LiveProgress(choose_display(quiet=not is_shown)) as progress:
            for event in client.follow(job):
                kind = event["kind"]
                if kind == "begin":
                    progress.begin([PhaseTotal(*phase) for phase in event["phases"]])
                elif kind == "task":
                    record = TaskRecord(
                        event["phase"],
                        event["task"],
                        event["seconds"],
                        event["read"],
                        event["written"],
                        event["rss"],
                    )
                    progress.task_done(record)
                elif kind == "memory":
                    progress.memory(event["used"], event["budget"])
                elif is_shown and kind == "message":
                    progress.console.print(
                        f"{event['level']}: {event['text']}", markup=False, highlight=False
                    )
                elif is_shown and kind == "state":
                    progress.console.print(f"job {job}: {event['state']}", markup=False, highlight=False)
    except KeyboardInterrupt:
        report_failure(f"no longer watching; the job goes on: mosaic status {job}, mosaic cancel {job}")
        raise typer.Exit(EXIT_FAILED) from None
    document = client.job(job)
    for product in (document["outcome"] or {}).get("products", ()):
        typer.echo(product)
    if document["state"] != "done":
        report_failure(
            f"job {job} {document['state']}{': ' + document['error'] if document['error'] else ''}"
        )
        raise typer.Exit(EXIT_FAILED)


def _describe(document: dict[str, Any]) -> str:
    from mosaic.summary import format_rows
    from mosaic.values import format_memory

    progress = document["progress"]
    rows = [
        ("job", f"{document['id']} of {document['owner']}"),
        (
            "state",
            f"{document['state']}, {100 * document['done']:.0f} % done, {document['attempts']} attempts",
        ),
        ("output", document["output"]),
        ("submitted", _clock(document["created"])),
    ]
    rows += [("started", _clock(document["started"]))] if document["started"] else []
    rows += [("ended", _clock(document["ended"]))] if document["ended"] else []
    rows += [("error", document["error"])] if document["error"] else []
    rows += [(phase["name"], f"{phase['done']}/{phase['tasks']}") for phase in progress["phases"]]
    if progress["peak_memory"]:
        stated = progress["plan"].get("peak_bytes", 0)
        rows.append(
            ("memory", f"peak {format_memory(progress['peak_memory'])}, stated {format_memory(stated)}")
        )
    rows += [("product", product) for product in (document["outcome"] or {}).get("products", ())]
    return format_rows(rows)


def _clock(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
