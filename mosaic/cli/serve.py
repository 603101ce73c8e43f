"""`mosaic serve` and `mosaic token`: the job service, and who may use it."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from mosaic.cli.failure import one_line_errors, report_failure

State: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--state", envvar="MOSAIC_STATE", metavar="DIR", help="Where the service keeps jobs and tokens."
    ),
]
STATE = Path("~/.local/state/mosaic")
"""State folder unless another is given."""
DAY_S = 86400.0
UNENCRYPTED = "warning: tokens travel unencrypted; give --tls-cert and --tls-key, or put a proxy before it"

token_app = typer.Typer(name="token", help="Who may use the job service.", no_args_is_help=True)


def serve_command(
    output_root: Annotated[
        list[Path] | None,
        typer.Option("--output-root", metavar="DIR", help="Folder for products; one folder a user."),
    ] = None,
    input_root: Annotated[
        list[Path] | None,
        typer.Option("--input-root", metavar="DIR", help="Folder jobs may read; repeatable."),
    ] = None,
    bucket: Annotated[
        list[str] | None,
        typer.Option("--bucket", metavar="NAME", help="S3 bucket jobs may read; repeatable."),
    ] = None,
    output_bucket: Annotated[
        list[str] | None,
        typer.Option("--output-bucket", metavar="NAME", help="S3 bucket for products; one prefix a user."),
    ] = None,
    state: State = STATE,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8765,
    cores: Annotated[int | None, typer.Option(help="Cores of all jobs together; default: all.")] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory of all jobs; default: 75 % of the free.")
    ] = None,
    job_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory of a job that asks for none.")
    ] = "2GiB",
    jobs: Annotated[int, typer.Option(min=1, help="Jobs at a time.")] = 4,
    jobs_per_user: Annotated[int, typer.Option(min=1, help="Jobs of one user at a time.")] = 4,
    queue_per_user: Annotated[
        int, typer.Option(min=1, help="Jobs a user may have that have not ended.")
    ] = 1000,
    submissions_per_minute: Annotated[float, typer.Option(min=0.1, help="Submissions of one user.")] = 120.0,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0.01, metavar="N", help="Days after their end that jobs are listed; default: always."
        ),
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="KIND", help="threads, processes, or a Dask scheduler's address.")
    ] = "threads",
    dashboard: Annotated[str, typer.Option(metavar="URL", help="Dask dashboard to link.")] = "",
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Start the job service: HTTP API, web page and queue in one process. Jobs outlive it.

    Example: mosaic serve --input-root /data/hst --output-root /data/mosaics
    """
    with one_line_errors(debug=debug):
        from mosaic.errors import MosaicError
        from mosaic.options import RunOptions

        try:
            from cluster.jobs import server
            from cluster.jobs.runner import Capacity
            from cluster.jobs.service import ServiceConfig
        except ImportError as error:
            problem = f"the job service needs {error.name}: run pip install 'mosaic-hst[service]'"
            raise MosaicError(problem) from error
        options = RunOptions.resolve(cores=cores, memory=memory, scheduler=scheduler)
        config = ServiceConfig(
            state=state.expanduser().resolve(),
            input_roots=tuple(path.expanduser().resolve() for path in input_root or ()),
            output_roots=tuple(path.expanduser().resolve() for path in output_root or ()),
            capacity=Capacity(options.cores, options.memory, jobs, jobs_per_user),
            buckets=frozenset(bucket or ()),
            output_buckets=tuple(output_bucket or ()),
            scheduler=options.scheduler,
            job_memory_bytes=min(RunOptions.resolve(memory=job_memory).memory, options.memory),
            keep_s=math.inf if keep_days is None else keep_days * DAY_S,
            most_active_per_user=queue_per_user,
            submissions_per_minute=submissions_per_minute,
            dashboard=dashboard,
        )
        if not server.tokens_of(config.state).all():
            typer.echo(f"nobody has a token yet: mosaic token add NAME --state {config.state}", err=True)
        if tls_cert is None and host not in server.LOCAL_HOSTS:
            report_failure(UNENCRYPTED)
        scheme = "http" if tls_cert is None else "https"
        typer.echo(f"mosaic job service on {scheme}://{host}:{port}", err=True)
        server.serve(config, host, port, tls_cert, tls_key)


@token_app.command("add")
def add_command(
    owner: Annotated[str, typer.Argument(metavar="NAME", help="User the token is for.")],
    role: Annotated[str, typer.Option(help="user (own jobs) or operator (all jobs).")] = "user",
    days: Annotated[
        float | None, typer.Option(min=0.001, help="Days it is valid; default: until revoked.")
    ] = None,
    state: State = STATE,
) -> None:
    """Make a token and show it, once.

    Example: mosaic token add vera --role user --days 90
    """
    with one_line_errors():
        from cluster.jobs.server import tokens_of

        lifetime = None if days is None else days * DAY_S
        identity, token = tokens_of(state.expanduser()).add(owner, role, lifetime)  # type: ignore[arg-type]
        typer.echo(f"token {identity} of {owner} ({role}); it is not shown again:", err=True)
        typer.echo(token)


@token_app.command("list")
def list_command(state: State = STATE) -> None:
    """List who has tokens; the tokens themselves are not kept.

    Example: mosaic token list
    """
    with one_line_errors():
        from cluster.jobs.server import tokens_of

        for record in tokens_of(state.expanduser()).all():
            status = "valid" if record.expires_s is None else f"until {_date(record.expires_s)}"
            if record.revoked_s is not None:
                status = f"revoked {_date(record.revoked_s)}"
            typer.echo(
                f"{record.id}  {record.owner:20s} {record.role:9s} {_date(record.created_s)}  {status}"
            )


@token_app.command("revoke")
def revoke_command(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Identity, as 'mosaic token list' shows it.")],
    state: State = STATE,
) -> None:
    """Make a token worthless at once.

    Example: mosaic token revoke 3fa29c01
    """
    with one_line_errors():
        from cluster.jobs.server import tokens_of

        tokens_of(state.expanduser()).revoke(identity)


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M")
