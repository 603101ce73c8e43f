"""The numerical checklist: one row per quantity, with its tolerance for each class of comparison.

Rows are numbered as in the parity specification (1 frame size ... 23 headers). Classes: B, both programs
interpolate the pixel map in the reference's table; D, as B with our default settings; C, ours exact against
the reference's table; E, both exact (held to B, but what follows from blotting to C, because the reference
always blots through its table). A row is failed by one pixel too many; rows that a case cannot have are
left out. Covers frames, maps, statistics and headers; images are in `tests.parity.planes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy.io import fits

from mosaic.geometry.grid import reference_grid
from mosaic.geometry.pixmap import build_map_model
from mosaic.kernels.pixmap import map_points
from mosaic.steps.statistics import image_statistics
from mosaic.types import DoubleArray
from tests.parity.bounds import Excuse, rows_hit
from tests.parity.compare import header_differences, summarise, table_differences
from tests.parity.facts import (
    CHIP_KEYWORDS,
    IGNORED,
    IGNORED_COLUMNS,
    IGNORED_OF_HEADERLETS,
    MEASURED,
    TOTAL_KEYWORDS,
    WCS_CARDS,
)
from tests.parity.planes import PLANE_ROWS
from tests.parity.rows import NOISE_REASON, OWN_FACTOR, Context, Row, build_context, excuse, judged
from tests.parity.runs import Run, catalogue_of, exposure_root, read

AFTER_THE_NOISE = (13, 14, 15, 16, 17, 18, 19, 20, 21)
"""Rows that depend on which cosmic rays were found."""


def compare_runs(
    ours: Run,
    theirs: Run,
    kind: str,
    parameters: Mapping[str, Any],
    excuses: Mapping[int, Excuse] = MappingProxyType({}),
) -> list[Row]:
    """Fill the checklist for two runs of one case."""
    sizes = _sizes(ours, theirs)
    if not sizes.passed:
        return [sizes]
    factors = {number: given.factor for number, given in excuses.items()}
    context = build_context(ours, theirs, kind, parameters, factors)
    rows = [sizes]
    for fill in ROWS:
        rows += fill(context)
    after = rows_hit(NOISE_REASON, *AFTER_THE_NOISE[2:]) if kind == "D" and context.masks else {}
    return excuse(rows, after | dict(excuses))


def _sizes(ours: Run, theirs: Run) -> Row:
    pairs = [("final", ours.plane("sci").shape, theirs.plane("sci").shape)]
    if ours.median is not None and theirs.median is not None:
        pairs.append(("median", read(ours.median).shape, read(theirs.median).shape))
    text = ", ".join(
        f"{name} {a[1]}x{a[0]}" + ("" if a == b else f" != {b[1]}x{b[0]}") for name, a, b in pairs
    )
    wrong = sum(a != b for _, a, b in pairs)
    return judged(1, "NAXIS1, NAXIS2 of the frames", "equal", text, (wrong, 0))


def _frame(c: Context) -> Iterator[Row]:
    ours, theirs = c.ours.header("sci"), c.theirs.header("sci")
    worst = {}
    for group, names in (
        ("CRPIX", ("CRPIX1", "CRPIX2")),
        ("CRVAL", ("CRVAL1", "CRVAL2")),
        ("CD", ("CD1_1", "CD1_2", "CD2_1", "CD2_2")),
    ):
        worst[group] = max(abs(float(ours[name]) - float(theirs[name])) for name in names)
    custom = bool(c.parameters.get("final_wcs"))
    # The reference finds CRVAL through degrees; near a pole a right ascension is coarser on the sky.
    step = 4.0 * np.spacing(max(abs(float(theirs["CRVAL1"])), abs(float(theirs["CRVAL2"]))))
    at_pole = 1.0 / max(np.cos(np.radians(float(theirs["CRVAL2"]))), 1e-6)
    limit = {
        "CRPIX": 1e-11 if custom else 1e-12,
        "CRVAL": max(1e-13, float(step)) * at_pole,
        "CD": 2e-17 if custom else 1e-17,
    }
    yield judged(
        3 if custom else 2,
        "CRPIX, CRVAL, CD" + (" of a custom frame" if custom else ""),
        f"{limit['CRPIX']:.0e} px, {limit['CRVAL']:.0e} deg, {limit['CD']:.0e} deg/px",
        ", ".join(f"{group} {value:.1e}" for group, value in worst.items()),
        *((worst[group], limit[group]) for group in worst),
    )


def _map(c: Context) -> Iterator[Row]:
    if c.repeats:
        return
    samples = c.theirs.intermediate("maps.npz")
    product = next(iter(c.theirs.folder.glob(f"{c.theirs.output}_dr?_sci.fits")), None)
    if samples is None or product is None:
        return
    step = int(c.parameters.get("stepsize", 0 if c.kind in "CE" else 10))
    if step not in {0, 10}:
        return
    grid = reference_grid(product)
    distances, own = [], []
    with np.load(samples) as maps:
        for exposure in catalogue_of(c.theirs.inputs).exposures:
            for chip in exposure.chips:
                x, y, *positions = maps[f"{exposure.filename}[{chip.extver}]"]
                x_theirs, y_theirs = positions[2:] if step == 0 and not c.loose else positions[:2]
                x_out, y_out = np.empty_like(x), np.empty_like(y)
                model = build_map_model(chip.wcs, grid, step)
                map_points(model, x - 1.0, y - 1.0, x_out, y_out)
                distances.append(np.hypot(x_out + 1.0 - x_theirs, y_out + 1.0 - y_theirs))
            own.append(np.hypot(positions[0] - positions[2], positions[1] - positions[3]))
    rms, largest = _rms_and_largest(distances)
    text = f"rms {rms:.1e}, max {largest:.1e} px"
    name = "pixel map, 2000 points a chip"
    if c.loose:
        # The limits were measured on one chip; the table of the reference costs it more on a rougher one.
        costs = [OWN_FACTOR * cost for cost in _rms_and_largest(own)]
        tolerance = f"rms 3e-4, max 4e-3 px, or {OWN_FACTOR:g} x its own table's"
        yield judged(4, name, tolerance, text, (rms, max(3e-4, costs[0])), (largest, max(4e-3, costs[1])))
    else:
        yield judged(4, name, f"{c.map_px:.1e} px", text, (largest, c.map_px))


def _rms_and_largest(parts: list[DoubleArray]) -> tuple[float, float]:
    values = np.concatenate(parts)
    return float(np.sqrt(np.mean(values**2))), float(values.max())


def _static(c: Context) -> Iterator[Row]:
    ours, theirs = c.ours.static_masks(), c.theirs.static_masks()
    if not theirs:
        return
    differ = {
        key: int(np.count_nonzero(read(ours[key]) != read(theirs[key]))) if key in ours else -1
        for key in theirs
    }
    n_pixels = sum(read(path).size for path in theirs.values())
    text = ", ".join(
        f"{key.removesuffix('_staticMask')}: {n if n >= 0 else 'absent'}" for key, n in differ.items()
    )
    total = sum(map(abs, differ.values()))
    yield judged(5, "static masks, pixels that differ", "0", text, (total, 0), apart=(total / n_pixels,))


def _statistics(c: Context) -> Iterator[Row]:
    if c.repeats or c.kind in "CE":
        return  # depends on the exposures alone
    record = c.theirs.intermediate("oracle.json")
    known = json.loads(record.read_text())["statistics"] if record is not None else {}
    if not known:
        return
    worst = 0.0
    for path, extver, index in c.theirs.chips:
        values = np.ascontiguousarray(read(path, index).ravel(), dtype=np.float32)
        values = values[np.isfinite(values)]
        found = image_statistics(
            values, "mode", nclip=3, lower_sigma=3.0, upper_sigma=3.0, lower=None, upper=None, binwidth=0.1
        )
        if found is None:
            worst = np.inf
            continue
        mode, stddev = known[f"{path.name}[{extver}]"]
        worst = max(worst, abs(found.mode - mode) / abs(stddev), abs(found.stddev / stddev - 1.0))
    name = "mode (in sigma) and sigma of the static mask"
    yield judged(6, name, "1e-6", f"{worst:.1e}", (worst, 1e-6))


def _sky(c: Context) -> Iterator[Row]:
    ours, theirs = c.ours.sky, c.theirs.sky
    match = "match" in str(c.parameters.get("skymethod", ""))
    shared = [key for key in theirs if key in ours]
    if not theirs:
        return
    # A level of 0 is compared with the mean level, which is never 0 where a sky was measured.
    scale = max(float(np.mean([abs(value) for value in theirs.values()])), 1e-30)
    worst = max((abs(ours[k] - theirs[k]) / (abs(theirs[k]) or scale) for k in shared), default=0.0)
    limit = (1e-4 if c.loose else 1e-6) if match else 2e-7
    missing = len(theirs) - len(shared)
    text = f"{worst:.1e} relative" + (f", {missing} missing" if missing else "")
    number = 8 if match else 7
    mean = max((abs(ours[k] - theirs[k]) / scale for k in shared), default=0.0)
    apart = (mean if not missing else np.inf,)
    pairs = (worst, limit), (missing, 0)
    yield judged(number, "MDRIZSKY", f"{limit:.0e} relative", text, *pairs, apart=apart)


def _headers(c: Context) -> Iterator[Row]:
    ours, theirs = c.ours.primary(), c.theirs.primary()
    n_chips = int(theirs.get("NDRIZIM", 0))
    names = [*TOTAL_KEYWORDS, *(f"D{i:03d}{end}" for i in range(1, n_chips + 1) for end in CHIP_KEYWORDS)]
    found = header_differences(ours, theirs, keywords=names)
    title = "EXPTIME, EXPSTART, EXPEND, NDRIZIM, Dnnn*"
    yield judged(22, title, "equal", summarise(found), (len(found), 0), names=_names(found))
    all_found = []
    for kind in ("sci", "wht", "ctx"):
        try:
            pair = c.ours.header(kind), c.theirs.header(kind)
        except (FileNotFoundError, KeyError):
            continue
        all_found += [
            f"{kind} {text}"
            for text in header_differences(*pair, ignored=(*IGNORED, *names), measured=MEASURED)
        ]
    tables = c.ours.table, c.theirs.table
    if tables[0] is not None and tables[1] is not None:
        all_found += [f"HDRTAB {text}" for text in table_differences(*tables, ignored=IGNORED_COLUMNS)]
    elif tables[1] is not None:
        all_found.append("HDRTAB absent")
    title = "blended headers and HDRTAB"
    yield judged(
        23,
        title,
        "equal, listed exceptions",
        summarise(all_found),
        (len(all_found), 0),
        names=_names(all_found),
    )


def _headerlets(c: Context) -> Iterator[Row]:
    """What the pipeline does to the exposures: their WCS, and the headerlets that hold it."""
    theirs = sorted(path.name for path in c.theirs.folder.glob("*_hlet.fits"))
    if not theirs:
        return
    found: list[str] = []
    for path, extver, index in c.theirs.chips:
        headers = [fits.getheader(run.updated / path.name, index) for run in (c.ours, c.theirs)]
        names = sorted({name for header in headers for name in header if WCS_CARDS.fullmatch(name)})
        differ = header_differences(*headers, keywords=names)
        found += [f"{exposure_root(path)}[{extver}] {text}" for text in differ]
    yield judged(24, "WCS of the exposures", "equal", summarise(found), (len(found), 0))
    ours = sorted(path.name for path in c.ours.folder.glob("*_hlet.fits"))
    lost = [f"{name} is missing or alone" for name in set(ours) ^ set(theirs)]
    for path, extver, index in c.theirs.chips:
        name = f"{exposure_root(path)}_flt_hlet.fits"
        if name in ours:
            own = fits.getheader(c.ours.folder / name, ("SIPWCS", extver))
            # ORIENTAT is that of the CD matrix in a headerlet, in the reference too.
            names = [key for key in own if WCS_CARDS.fullmatch(key) and key != "ORIENTAT"]
            exposure = fits.getheader(c.theirs.updated / path.name, index)
            lost += [f"{name} {text}" for text in header_differences(own, exposure, keywords=names)]
    title = "headerlets against the exposures of the reference"
    yield judged(24, title, "equal", summarise(lost), (len(lost), 0))
    found = [text for name in sorted(set(ours) & set(theirs)) for text in _headerlet_pair(c, name)]
    title = f"{len(theirs)} headerlets"
    yield judged(24, title, "equal", summarise(found), (len(found), 0), names=_names(found))


def _headerlet_pair(c: Context, name: str) -> Iterator[str]:
    """What differs between two headerlets of one name."""
    with fits.open(c.ours.folder / name) as mine, fits.open(c.theirs.folder / name) as other:
        if [(hdu.name, hdu.ver) for hdu in mine] != [(hdu.name, hdu.ver) for hdu in other]:
            yield f"{name} EXTENSIONS: others"
            return
        for a, b in zip(mine, other, strict=True):
            for text in header_differences(a.header, b.header, ignored=IGNORED_OF_HEADERLETS):
                yield f"{name}[{a.name},{a.ver}] {text}"
            if a.data is not None and not np.array_equal(a.data, b.data):
                yield f"{name}[{a.name},{a.ver}] VALUES: differ"


def _names(differences: list[str]) -> tuple[str, ...]:
    """Keywords that differ, with the place before them."""
    return tuple(text.partition(":")[0] for text in differences)


ROWS: tuple[Callable[[Context], Iterator[Row]], ...] = (
    _frame,
    _map,
    _static,
    _statistics,
    _sky,
    *PLANE_ROWS,
    _headers,
    _headerlets,
)
