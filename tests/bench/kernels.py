"""Kernels on one chip of one core: ours, the C library `drizzle`, and DrizzlePac's own C code.

Every figure is processor time of the calling thread in ns per pixel of the chip. Ours works tile by tile as a
run does, so pixels on tile borders are counted in although they are worked twice; the others fill the
whole frame at once. Values, weights and context are written by all.
"""

from __future__ import annotations

import json
import math
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from drizzle.resample import Drizzle
from numba import njit

from mosaic.exposure.catalogue import read_catalogue
from mosaic.exposure.model import Chip
from mosaic.exposure.reader import read_science
from mosaic.geometry.cells import ChipCells
from mosaic.geometry.frames import resolve_grids
from mosaic.geometry.grid import OutputGrid
from mosaic.geometry.pixmap import build_map_model
from mosaic.graph.memory import bound_allocator
from mosaic.graph.plan import LayerSpec, final_drop, plan_layers, reach
from mosaic.graph.store import MASK_BAND_ROWS
from mosaic.kernels.blot import INTERPOLATORS
from mosaic.kernels.crmask import cosmic_ray_band
from mosaic.kernels.exact_map import MapModel
from mosaic.kernels.pixmap import map_into, map_row, map_scratch
from mosaic.settings import Settings
from mosaic.steps.drizzle import DropShape, DropWindow, TileSum, deposit
from mosaic.steps.median import COMPLETE_WEIGHT, CombineParams, StackFacts, combine_stack
from mosaic.steps.statistics import image_statistics
from mosaic.types import DoubleArray, FloatArray, Window
from tests.bench.prepare import write_frame
from tests.parity.oracle import QUIET
from tests.support.maps import linear_model

DRIZZLE = ("square", "turbo", "point")
TILE = 1024
STACK = 4
_SPAN_S = 0.25
"""How long the threads work at least when their gain is measured."""

Work = Callable[[], float]
"""Does a stage once and returns the processor seconds of what is to be timed."""


@dataclass(frozen=True)
class Subject:
    """The chip and frame that everything is measured on."""

    chip: Chip
    layer: Any
    """Frame with its tiles."""
    exact: MapModel
    linear: MapModel
    """Affine map that leaves no work to mapping."""
    science: FloatArray
    weight: FloatArray
    frame: FloatArray
    """An image in the frame, to be blotted."""

    @property
    def n_pixels(self) -> int:
        return int(self.science.size)

    @property
    def scale_ratio(self) -> float:
        return float(self.layer.grid.scale_arcsec / self.chip.idcscale_arcsec)


def choose_subject(exposures: tuple[Path, ...]) -> Subject:
    """First chip of the first exposure, in the frame of all."""
    settings = Settings()
    catalogue = read_catalogue(list(map(str, exposures)), settings)
    chips = tuple(chip for exposure in catalogue.exposures for chip in exposure.chips)
    grid = resolve_grids([chip.wcs for chip in chips], settings).final
    (layer,) = plan_layers(chips, [LayerSpec(grid, TILE, final_drop(settings), 0.0)])
    chip = chips[0]
    exact = build_map_model(chip.wcs, grid, 0)
    science = read_science(chip, Window(0, chip.shape_yx.ny, 0, chip.shape_yx.nx))
    random = np.random.default_rng(1)
    weight = np.where(random.random(science.shape) < 0.02, 0.0, 500.0).astype(np.float32)
    frame = random.normal(0.1, 0.01, grid.shape_yx).astype(np.float32)
    return Subject(chip, layer, exact, affine_of(exact, chip.shape_yx), science, weight, frame)


def affine_of(model: MapModel, shape_yx: tuple[int, int]) -> MapModel:
    """Affine map that is closest to a map on a lattice over the chip."""
    ny, nx = shape_yx
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, nx - 1, 9).round(), np.linspace(0, ny - 1, 9)))
    mapped = np.array([_map_one(model, float(a), float(b)) for a, b in zip(x, y, strict=True)])
    design = np.stack([x, y, np.ones_like(x)], axis=1)
    (ax, ay), (bx, by), (cx, cy) = np.linalg.lstsq(design, mapped, rcond=None)[0]
    return linear_model(((float(ax), float(bx)), (float(ay), float(by))), (float(cx), float(cy)))


def _map_one(model: MapModel, x: float, y: float) -> tuple[float, float]:
    u, v = np.empty(1), np.empty(1)
    map_row(model, int(x), 1, 0.0, y, u, v)
    return float(u[0]), float(v[0])


def pixel_positions(model: MapModel, shape_yx: tuple[int, int]) -> DoubleArray:
    """Positions of all pixels, (ny, nx, 2), as the C library wants them."""
    ny, nx = shape_yx
    found = np.empty((ny, nx, 2))
    u, v = np.empty(nx), np.empty(nx)
    for row in range(ny):
        map_row(model, 0, nx, 0.0, float(row), u, v)
        found[row, :, 0], found[row, :, 1] = u, v
    return found


def drizzle_work(subject: Subject, name: str, model: MapModel) -> Work:
    """Drizzle the chip into every tile it reaches; the cutting of windows is not timed."""
    shape = DropShape(name, 1.0)
    cells = ChipCells.from_map(model, subject.chip.shape_yx)
    margin = reach(shape, subject.scale_ratio)
    tiles = []
    for tile in range(subject.layer.n_tiles):
        window = subject.layer.window(tile)
        wanted = cells.window_for(window, margin)
        if not wanted.is_empty:
            cut = [np.ascontiguousarray(a[wanted.slices]) for a in (subject.science, subject.weight)]
            tiles.append((window, DropWindow(wanted, *cut)))

    def work() -> float:
        seconds = 0.0
        for window, drops in tiles:
            sums = TileSum.empty(window, float("nan"))
            context = np.zeros(window.shape_yx, np.int32)
            start = time.thread_time()
            deposit(drops, model, shape, subject.scale_ratio, sums, context, 1)
            seconds += time.thread_time() - start
        return seconds

    return work


def library_work(subject: Subject, name: str, model: MapModel) -> Work:
    """The same with the C library, which is given the positions."""
    positions = pixel_positions(model, subject.science.shape)

    def work() -> float:
        library = Drizzle(kernel=name, out_shape=subject.layer.grid.shape_yx)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Warning)
            start = time.thread_time()
            library.add_image(
                subject.science,
                1.0,
                positions,
                pixel_scale_ratio=subject.scale_ratio,
                weight_map=subject.weight,
                pixfrac=1.0,
            )
            return time.thread_time() - start

    return work


def _timed(function: Callable[[], object]) -> Work:
    def work() -> float:
        start = time.thread_time()
        function()
        return time.thread_time() - start

    return work


def blot_work(subject: Subject) -> Work:
    """Blot the whole frame back to the chip with the quintic."""
    ny, nx = subject.science.shape
    out = np.zeros((ny, nx), dtype=np.float32)
    shape = subject.frame.shape
    return _timed(
        lambda: INTERPOLATORS["poly5"](
            subject.frame, (0, 0), shape, subject.exact, (0, ny, 0, nx), 1.0, False, 1.0, out
        )
    )


def cosmic_ray_work(subject: Subject) -> Work:
    """Compare the chip with an image of its size, in bands of the size that tasks take."""
    blot = np.full(subject.science.shape, float(np.median(subject.science)), dtype=np.float32)
    out = np.zeros(subject.science.shape, dtype=np.uint8)
    numbers = (1.0, 5.0, 3.5, 3.0, 1.2, 0.7, 0.0, 1, 0, 1, False)
    shape = subject.science.shape

    def flag() -> None:
        for first in range(0, shape[0], MASK_BAND_ROWS):
            rows = slice(first, first + MASK_BAND_ROWS)
            cosmic_ray_band(subject.science[rows], blot[rows], first, shape, 0.0, *numbers, out[rows])

    return _timed(flag)


def median_work(subject: Subject) -> Work:
    """Combine a stack of `STACK` copies of the chip, each with noise of its own, tile by tile as tasks do."""
    random = np.random.default_rng(2)
    stack = np.stack([subject.science] * STACK)
    stack += random.normal(0.0, 5.0, stack.shape).astype(np.float32)
    weights = np.stack([subject.weight] * STACK)
    ny, nx = subject.science.shape
    corners = [(y, x) for y in range(0, ny, TILE) for x in range(0, nx, TILE)]
    tiles = [
        [np.ascontiguousarray(planes[:, y : y + TILE, x : x + TILE]) for planes in (stack, weights)]
        for y, x in corners
    ]
    facts = [StackFacts(mean_weight=500.0, read_noise2_e=16.0, background_rate=0.1)] * STACK
    params = CombineParams(
        combine_type="minmed",
        nsigma=(4.0, 3.0),
        nlow=0,
        nhigh=0,
        lthresh=None,
        hthresh=None,
        grow=1,
        maskpt=0.3,
        newmasks=True,
        complete=COMPLETE_WEIGHT,
    )

    def combine() -> None:
        for images, planes in tiles:
            combine_stack(images, planes, facts, params, STACK)

    return _timed(combine)


def sky_work(subject: Subject) -> Work:
    """Clipped median of all pixels, as the sky is measured."""
    values = subject.science.ravel()
    options = {"nclip": 5, "lower_sigma": 4.0, "upper_sigma": 4.0, "lower": None, "upper": None}
    return _timed(lambda: image_statistics(values, "median", binwidth=0.1, **options))


def map_work(subject: Subject) -> Work:
    """Map every pixel exactly and keep nothing but a row."""
    ny, nx = subject.science.shape
    u, v = np.empty(nx), np.empty(nx)

    return _timed(lambda: _map_rows(subject.exact, ny, nx, u, v))


@njit(nogil=True)
def _map_rows(model: MapModel, ny: int, nx: int, u: DoubleArray, v: DoubleArray) -> None:
    """As kernels do it, without Python between rows."""
    work = map_scratch(model)
    for row in range(ny):
        map_into(model, 0, nx, 0.0, float(row), u, v, work)


STAGES: dict[str, Callable[[Subject], Work]] = {
    "exact map": map_work,
    **{name: lambda subject, name=name: drizzle_work(subject, name, subject.exact) for name in DRIZZLE},
    "blot poly5": blot_work,
    "cosmic rays": cosmic_ray_work,
    f"minmed of {STACK}": median_work,
    "sky statistics": sky_work,
}


def ns_per_pixel(work: Work, n_pixels: int, repeats: int) -> list[float]:
    """Processor time of each repeat, after one that is not counted."""
    work()
    return [work() / n_pixels * 1e9 for _ in range(repeats)]


def wall_of_threads(works: list[Work], times: int = 1) -> float:
    """Wall seconds from first start to last end of works done so many times at once, a thread each."""
    gate = threading.Barrier(len(works))

    def run(work: Work) -> tuple[float, float]:
        gate.wait()
        start = time.perf_counter()
        for _ in range(times):
            work()
        return start, time.perf_counter()

    with ThreadPoolExecutor(len(works)) as pool:
        spans = list(pool.map(run, works))
    return max(end for _, end in spans) - min(start for start, _ in spans)


def thread_gain(make: Callable[[], Work], repeats: int, n_threads: int = 2) -> list[float]:
    """Work done per second by `n_threads` over that of one; each thread has arrays of its own."""
    works = [make() for _ in range(n_threads)]
    for work in works:
        work()
    # What takes a few milliseconds is over before the second thread has begun.
    times = math.ceil(_SPAN_S / works[0]())
    pairs = [(wall_of_threads(works[:1], times), wall_of_threads(works, times)) for _ in range(repeats)]
    return [n_threads * one / many for one, many in pairs]


def run_oracle(subject: Subject, python: Path, exposure: Path, work: Path, repeats: int) -> dict[str, Any]:
    """Time DrizzlePac's C code on the same chip and frame, in its own interpreter."""
    grid: OutputGrid = subject.layer.grid
    write_frame(grid, work / "frame.fits")
    job = {
        "exposure": str(exposure),
        "extver": subject.chip.extver,
        "frame": str(work / "frame.fits"),
        "kernels": DRIZZLE,
        "repeats": repeats,
        "scale_arcsec": subject.chip.idcscale_arcsec,
        "output": str(work / "oracle_kernels.json"),
    }
    (work / "oracle_kernels_job.json").write_text(json.dumps(job))
    script = Path(__file__).with_name("oracle_kernels.py")
    subprocess.run(
        [str(python), str(script), str(work / "oracle_kernels_job.json")],
        env=QUIET,
        check=True,
        capture_output=True,
        cwd=work,
    )
    found: dict[str, Any] = json.loads(Path(job["output"]).read_text())
    return found


def measure(
    exposures: tuple[Path, ...], oracle: tuple[Path, str | None], work: Path, repeats: int
) -> dict[str, Any]:
    """All figures of the case."""
    work.mkdir(parents=True, exist_ok=True)
    bound_allocator()  # as every run does: threads would wait for each other's page faults otherwise
    subject = choose_subject(exposures)
    n = subject.n_pixels
    ours = {name: ns_per_pixel(make(subject), n, repeats) for name, make in STAGES.items()}
    found: dict[str, Any] = {"shape": list(subject.science.shape), "ours": ours, "errors": {}}
    for key, maker in (("without map", drizzle_work), ("library", library_work)):
        found[key] = {k: ns_per_pixel(maker(subject, k, subject.linear), n, repeats) for k in DRIZZLE}
    found["threads"] = {
        name: thread_gain(lambda m=make: m(subject), repeats) for name, make in STAGES.items()
    }
    python, reason = oracle
    if reason is None:
        try:
            found["DrizzlePac"] = run_oracle(subject, python, exposures[0], work, repeats)
        except subprocess.CalledProcessError as error:
            reason = f"failed: {error.stderr.decode(errors='replace').strip().splitlines()[-1:]}"
    if reason is not None:
        found["errors"]["DrizzlePac"] = reason
        print(f"kernels: DrizzlePac: left out: {reason}", flush=True)
    return found
