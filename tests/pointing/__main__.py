"""``python -m tests.pointing --oracle-python PYTHON``: align simulated exposures, write docs/alignment.md."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

from mosaic.simulate import simulate
from tests.parity.measure import clean_environment
from tests.parity.oracle import QUIET, ensure_oracle
from tests.pointing.judge import Truth, centroid_limit, errors_left
from tests.pointing.report import REPORT, Figures, RealRow, write_report

JOBS = Path(__file__).parent
SCALE_ARCSEC = 0.05
PROGRAMS = {"mosaic": "our_job.py", "DrizzlePac": "peer_job.py"}
REAL = {"searchrad": 1.0}


def main() -> None:
    """Simulate, align with both programs, judge, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.pointing", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/pointing"), help="where to work")
    parser.add_argument("--oracle-python", type=Path, help="interpreter with DrizzlePac")
    parser.add_argument("--exposures", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2048, help="rows of a chip: fewer are quicker")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    parser.add_argument("--real", type=Path, help="folder of a real set that shares no stars but few")
    parser.add_argument("--report", type=Path, default=REPORT)
    chosen = parser.parse_args()
    folder = chosen.folder.absolute()
    oracle = ensure_oracle(chosen.oracle_python, folder / "oracle")
    inputs = folder / f"inputs-{chosen.exposures}x{chosen.rows}"
    originals = _simulated(inputs, chosen.exposures, chosen.rows)
    truth = Truth.read(inputs, SCALE_ARCSEC)
    zero = errors_left(truth, originals, originals)
    figures = [
        _measure(program, threshold, originals, truth, folder, oracle, chosen.repeats)
        for threshold in (20.0, 200.0)
        for program in PROGRAMS
    ]
    real = _real(chosen.real, folder, oracle) if chosen.real else []
    write_report(chosen.report, len(originals), chosen.rows, zero, figures, real)
    print(f"wrote {chosen.report}")


def _simulated(folder: Path, exposures: int, rows: int) -> list[Path]:
    if not (folder / "simulation.json").exists():
        simulate(
            folder,
            exposures=exposures,
            chip_shape=None if rows == 2048 else (rows, 2 * rows),
            n_stars=int(6000 * (rows / 2048) ** 2),
            pointing_rms_arcsec=0.2,
            pointing_roll_rms_deg=0.02,
            seed=8,
        )
    return sorted(folder.glob("*_flc.fits"))


def _run(program: str, job: dict[str, object], oracle: Path) -> dict[str, float]:
    """Carry out a job; wall and processor seconds of the work, imports left out."""
    folder = Path(str(job["folder"]))
    (folder / "job.json").write_text(json.dumps(job))
    python = sys.executable if program == "mosaic" else str(oracle)
    environment = clean_environment() | QUIET | {"PYTHONPATH": str(Path.cwd()) if program == "mosaic" else ""}
    with (folder / "log.txt").open("w") as log:
        command = [python, str(JOBS / PROGRAMS[program]), str(folder / "job.json")]
        subprocess.run(command, check=True, env=environment, stdout=log, stderr=subprocess.STDOUT)
    cost: dict[str, float] = json.loads((folder / "cost.json").read_text())
    return cost


def _copies(originals: list[Path], folder: Path) -> list[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return [Path(shutil.copy(path, folder)) for path in originals]


def _measure(
    program: str,
    threshold: float,
    originals: list[Path],
    truth: Truth,
    folder: Path,
    oracle: Path,
    repeats: int,
) -> Figures:
    """Align copies with one program, and judge what it wrote into their headers."""
    place = folder / f"{program}-{threshold:.0f}"
    # The same noise for both: what they make of the background by themselves differs.
    find = {"threshold": threshold, "conv_width": 3.5, "computesig": False, "skysigma": 8.0}
    parameters = {"searchrad": 1.5, "fitgeometry": "rscale", "updatehdr": True, "wcsname": "TWEAK"}
    files = [path.name for path in originals]
    job = {"folder": str(place), "files": files, "find": find, "parameters": parameters}
    costs = []
    for _ in range(repeats):
        copies = _copies(originals, place)
        costs.append(_run(program, job, oracle))
    shifts = np.genfromtxt(place / "shifts.txt", usecols=(5, 6))[1:]
    errors = np.array(errors_left(truth, originals, copies))
    matches = [place / f"{path.stem}_catalog_fit.match" for path in copies[1:]]
    limits = [
        centroid_limit(truth, path, match)
        for path, match in zip(originals[1:], matches, strict=True)
        if match.exists()
    ]
    counts = [len(np.genfromtxt(match, usecols=0)) for match in matches if match.exists()]
    # Residuals are differences of two lists of equal quality.
    limit = float(np.sqrt(2.0) * np.median(limits)) if limits else float("nan")
    wall_s, cpu_s = (min(cost[name] for cost in costs) for name in ("wall_s", "cpu_s"))
    return Figures(program, threshold, errors, shifts, limit, counts, wall_s, cpu_s)


def _real(source: Path, folder: Path, oracle: Path) -> list[RealRow]:
    """What both programs make of a real set that is pointed well but full of cosmic rays and hot pixels."""
    originals = sorted(source.glob("*_flc.fits"))
    rows = []
    settings: dict[str, dict[str, object]] = {
        "defaults": {},
        "threshold=20, minobj=6": {"threshold": 20.0, "minobj": 6},
        "threshold=20, minobj=6, fitgeometry=shift": {
            "threshold": 20.0, "minobj": 6, "fitgeometry": "shift",
        },
    }  # fmt: skip
    for title, chosen in settings.items():
        find = {name: value for name, value in chosen.items() if name == "threshold"}
        parameters = REAL | {name: value for name, value in chosen.items() if name not in find}
        parameters |= {"updatehdr": False, "wcsname": "TWEAK"}
        for program in PROGRAMS:
            place = folder / f"real-{program}-{len(rows)}"
            files = [path.name for path in _copies(originals, place)]
            job = {"folder": str(place), "files": files, "find": find, "parameters": parameters}
            try:
                _run(program, job, oracle)
            except subprocess.CalledProcessError:
                last = (place / "log.txt").read_text(errors="replace").strip().splitlines()[-1]
                rows.append(RealRow(title, program, "all", f"stopped: {last}"))
                continue
            rows += _real_rows(title, program, place)
    return rows


def _real_rows(title: str, program: str, place: Path) -> list[RealRow]:
    told = {}
    if (place / "verdicts.ecsv").exists():
        told = {row["file"]: row for row in Table.read(place / "verdicts.ecsv")}
    rows = []
    for line in (place / "shifts.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, dx, dy, _turn, _scale, rms_x, rms_y = line.split()
        if name in told and told[name]["status"] not in {"aligned", "reference"}:
            text = f"refused, {told[name]['status']}: {told[name]['reason']}"
        elif dx == "nan":
            text = "not enough matches"
        elif float(rms_x) == float(rms_y) == 0.0:
            continue
        else:
            text = f"shift {float(dx):.2f}, {float(dy):.2f}; rms {float(rms_x):.3f}, {float(rms_y):.3f}"
        rows.append(RealRow(title, program, name[:9], text))
    return rows


if __name__ == "__main__":
    main()
