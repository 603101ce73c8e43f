"""The reference implementation: an interpreter that has it, and a process that carries out its jobs."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from tests.parity.measure import CommandError, Measured

PACKAGES = ("drizzlepac==3.11.0", "spherical_geometry<1.4")
SCRIPT = Path(__file__).with_name("oracle_job.py")
LOG = "oracle.out"
QUIET = {
    "ASTROMETRY_STEP_CONTROL": "OFF",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


def ensure_oracle(python: Path | None, folder: Path) -> Path:
    """Return an interpreter that has DrizzlePac; make an environment for it if none is given."""
    if python is None:
        python = folder / "bin" / "python"
        if not python.exists():
            venv.create(folder, with_pip=True)
        if not _has_oracle(python):
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, *PACKAGES], check=True)
    # The path is not resolved: a link to the base interpreter would lose the environment.
    python = Path(os.path.abspath(python))  # noqa: PTH100
    if not _has_oracle(python):
        raise CommandError(f"{python} has no DrizzlePac 3.11.0 with spherical_geometry before 1.4")
    return python


def _has_oracle(python: Path) -> bool:
    code = (
        "from importlib.metadata import version as v; "
        "sphere = tuple(map(int, v('spherical_geometry').split('.')[:2])); "
        "assert v('drizzlepac') == '3.11.0' and sphere < (1, 4)"
    )
    return subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode == 0


class Oracle:
    """Carries out jobs one after another in children of one process that has imported the reference."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self._server: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def run(self, folder: Path, job: Mapping[str, Any]) -> Measured:
        """Carry out a job in a folder.

        Raises
        ------
        CommandError
            When it fails; the end of its log is the message.
        """
        (folder / "job.json").write_text(json.dumps(job, indent=1))
        with self._lock:
            server = self._started()
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(f"{folder}\n")
            server.stdin.flush()
            line = server.stdout.readline()
        if not line:
            raise CommandError("the process of the reference ended")
        answer = json.loads(line)
        if answer["status"] != 0:
            tail = (folder / LOG).read_text(errors="replace").strip().splitlines()[-12:]
            raise CommandError("\n".join(tail))
        return Measured(answer["seconds"], answer["peak_rss_bytes"], answer["peak_rss_bytes"], 1)

    def _started(self) -> subprocess.Popen[str]:
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                [str(self.python), str(SCRIPT), "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **QUIET},
            )
        return self._server

    def close(self) -> None:
        """End the process."""
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait(60)
            self._server = None
