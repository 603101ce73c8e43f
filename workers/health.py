"""Whether a scheduler answers, a worker of this machine is in its list and there is room to spill.

Made for health checks of containers: ``python -m workers.health tcp://scheduler:8786 --worker NAME``. Prints
one line and leaves with 0 (well) or 1.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import rpc
from distributed.security import Security

SILENT_S = 60.0
"""A worker that was not heard of for so long is not well."""


def find_problem(identity: Mapping[str, Any], worker: str, now: float) -> str:
    """Tell what is wrong with a worker by the scheduler's own account; empty when nothing is.

    Parameters
    ----------
    identity : mapping
        What the scheduler says of itself and its workers.
    worker : str
        Name or host of the worker; empty: any will do.
    now : float
        Time by the clock of the scheduler's machine, seconds.
    """
    workers = identity["workers"].values()
    own = [entry for entry in workers if worker in {"", str(entry.get("name")), entry.get("host")}]
    if not own:
        return f"the scheduler knows no worker {worker}" if worker else "the scheduler has no workers"
    if not any(entry.get("status", "running") in {"running", "init"} for entry in own):
        return f"worker {own[0].get('name')} is {own[0].get('status')}"
    silent = now - max(float(entry.get("last_seen", now)) for entry in own)
    if silent > SILENT_S:
        return f"worker {own[0].get('name')} was not heard of for {silent:.0f} s"
    return ""


async def _ask(address: str, security: Security | None, timeout_s: float) -> dict[str, Any]:
    arguments = security.get_connection_args("client") if security else {}
    async with rpc(address, timeout=timeout_s, connection_args=arguments) as scheduler:
        identity: dict[str, Any] = await asyncio.wait_for(scheduler.identity(n_workers=-1), timeout_s)
        return identity


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print one line, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.health", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("scheduler", help="address of the scheduler")
    parser.add_argument("--worker", default=None, help="name or host of the worker; empty: any")
    parser.add_argument("--scratch", default="", help="folder that must have room")
    parser.add_argument("--free", type=int, default=256, help="MiB wanted there")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for an answer")
    for name in ("--tls-ca-file", "--tls-cert", "--tls-key"):
        parser.add_argument(name, default=None, help="as for dask worker")
    given = parser.parse_args(arguments)
    security = None
    if given.scheduler.startswith("tls://") and not given.tls_ca_file:
        parser.error(f"{given.scheduler} is encrypted: give --tls-ca-file, --tls-cert and --tls-key")
    if given.tls_ca_file:
        security = Security(
            tls_ca_file=given.tls_ca_file,
            tls_client_cert=given.tls_cert,
            tls_client_key=given.tls_key,
            require_encryption=True,
        )
    problem = ""
    try:
        identity = asyncio.run(_ask(given.scheduler, security, given.timeout))
    except (OSError, TimeoutError) as error:
        problem = f"no scheduler answers at {given.scheduler} ({error})"
    else:
        if given.worker is not None:
            problem = find_problem(identity, given.worker, time.time())
    if not problem and given.scratch:
        free = shutil.disk_usage(given.scratch).free >> 20
        problem = f"{given.scratch} has {free} MiB free, {given.free} are wanted" if free < given.free else ""
    sys.stdout.write(f"{problem or 'well'}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
