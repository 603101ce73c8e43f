"""The numerical checklist: one row per quantity, with its tolerance for each class of comparison.

Rows are numbered as in the parity specification (1 frame size ... 23 headers). Classes: B, both programs
interpolate the pixel map in the reference's table; C, ours exact against the reference's table; E, both
exact (held to C, because the reference always blots through its table). A row is failed by one pixel too
many; rows that a case cannot have are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.exposure.catalogue import read_catalogue
from mosaic.geometry.grid import reference_grid
from mosaic.geometry.pixmap import build_map_model
from mosaic.kernels.pixmap import map_points
from mosaic.settings import Settings
from mosaic.steps.statistics import image_statistics
from tests.parity.compare import (
    Array,
    deviation,
    exceeds,
    header_differences,
    local_maximum,
    relative_deviation,
    summarise,
    table_differences,
)
from tests.parity.facts import CHIP_KEYWORDS, IGNORED, IGNORED_COLUMNS, MEASURED, TOTAL_KEYWORDS
from tests.parity.rows import Context, Row, build_context
from tests.parity.runs import Run, exposure_root, read


def compare_runs(ours: Run, theirs: Run, kind: str, parameters: dict[str, Any]) -> list[Row]:
    """Fill the checklist for two runs of one case."""
    sizes = Row(1, "NAXIS1, NAXIS2 of the frames", "equal", *_sizes(ours, theirs))
    if not sizes.passed:
        return [sizes]
    context = build_context(ours, theirs, kind, parameters)
    rows = [sizes]
    for fill in ROWS:
        rows += fill(context)
    return rows


def _sizes(ours: Run, theirs: Run) -> tuple[str, bool]:
    pairs = [("final", ours.plane("sci").shape, theirs.plane("sci").shape)]
    if ours.median is not None and theirs.median is not None:
        pairs.append(("median", read(ours.median).shape, read(theirs.median).shape))
    text = ", ".join(
        f"{name} {a[1]}x{a[0]}" + ("" if a == b else f" != {b[1]}x{b[0]}") for name, a, b in pairs
    )
    return text, all(a == b for _, a, b in pairs)


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
    # An angle of 150 deg in double precision has a spacing of 2.8e-14 deg: four of them.
    limit = {"CRPIX": 1e-11 if custom else 1e-12, "CRVAL": 1.2e-13, "CD": 2e-17 if custom else 1e-17}
    yield Row(
        3 if custom else 2,
        "CRPIX, CRVAL, CD" + (" of a custom frame" if custom else ""),
        f"{limit['CRPIX']:.0e} px, 1e-13 deg, {limit['CD']:.0e} deg/px",
        ", ".join(f"{group} {value:.1e}" for group, value in worst.items()),
        all(worst[group] <= limit[group] for group in worst),
    )


def _map(c: Context) -> Iterator[Row]:
    samples = c.theirs.intermediate("maps.npz")
    if samples is None:
        return

    product = next(iter(c.theirs.folder.glob(f"{c.theirs.output}_dr?_sci.fits")), None)
    if product is None:
        return
    grid = reference_grid(product)
    distances = []
    with np.load(samples) as maps:
        for exposure in read_catalogue([str(p) for p in c.theirs.inputs], Settings()).exposures:
            for chip in exposure.chips:
                x, y, *positions = maps[f"{exposure.filename}[{chip.extver}]"]
                x_theirs, y_theirs = positions[2:] if c.kind == "E" else positions[:2]
                x_out, y_out = np.empty_like(x), np.empty_like(y)
                model = build_map_model(chip.wcs, grid, 0 if c.exact else 10)
                map_points(model, x - 1.0, y - 1.0, x_out, y_out)
                distances.append(np.hypot(x_out + 1.0 - x_theirs, y_out + 1.0 - y_theirs))
    distance = np.concatenate(distances)
    rms, largest = float(np.sqrt(np.mean(distance**2))), float(distance.max())
    passed = largest <= 1e-7
    figures: tuple[tuple[float, ...], ...] = ()
    tolerance = "1e-7 px"
    if c.kind == "C":
        tolerance, passed = "rms 3e-4, max 4e-3 px", rms <= 3e-4 and largest <= 4e-3
        figures = (rms, largest), (3e-4, 4e-3)
    yield Row(
        4,
        "pixel map, 2000 points a chip",
        tolerance,
        f"rms {rms:.1e}, max {largest:.1e} px",
        passed,
        *figures,
    )


def _static(c: Context) -> Iterator[Row]:
    ours, theirs = c.ours.static_masks(), c.theirs.static_masks()
    if not theirs:
        return
    differ = {
        key: int(np.count_nonzero(read(ours[key]) != read(theirs[key]))) if key in ours else -1
        for key in theirs
    }
    text = ", ".join(
        f"{key.removesuffix('_staticMask')}: {n if n >= 0 else 'absent'}" for key, n in differ.items()
    )
    yield Row(5, "static masks, pixels that differ", "0", text, not any(differ.values()))


def _statistics(c: Context) -> Iterator[Row]:
    record = c.theirs.intermediate("oracle.json")
    known = json.loads(record.read_text())["statistics"] if record is not None else {}
    if not known:
        return

    worst = 0.0
    for path, extver, index in c.theirs.chips:
        values = np.ascontiguousarray(read(path, index).ravel(), dtype=np.float32)
        found = image_statistics(
            values, "mode", nclip=3, lower_sigma=3.0, upper_sigma=3.0, lower=None, upper=None, binwidth=0.1
        )
        if found is None:
            worst = np.inf
            continue
        mode, stddev = known[f"{path.name}[{extver}]"]
        worst = max(worst, abs(found.mode - mode) / abs(stddev), abs(found.stddev / stddev - 1.0))
    yield Row(6, "mode (in sigma) and sigma of the static mask", "1e-6", f"{worst:.1e}", bool(worst <= 1e-6))


def _sky(c: Context) -> Iterator[Row]:
    ours, theirs = c.ours.sky(), c.theirs.sky()
    match = "match" in str(c.parameters.get("skymethod", ""))
    shared = [key for key in theirs if key in ours]
    if not theirs:
        return
    # A level of 0 is compared with the mean level, which is never 0 where a sky was measured.
    scale = max(float(np.mean([abs(value) for value in theirs.values()])), 1e-30)
    worst = max(
        (abs(ours[k] - theirs[k]) / (abs(theirs[k]) or scale) for k in shared),
        default=np.inf,
    )
    limit = (1e-4 if c.exact else 1e-6) if match else 2e-7
    missing = len(theirs) - len(shared)
    text = f"{worst:.1e} relative" + (f", {missing} missing" if missing else "")
    yield Row(
        8 if match else 7, "MDRIZSKY", f"{limit:.0e} relative", text, bool(worst <= limit and not missing)
    )


def _image_row(
    c: Context,
    number: int,
    name: str,
    pair: tuple[Array, Array],
    where: Array,
    share: tuple[float, float, float],
) -> Row:
    """Compare rates; `share` = allowed share of class B, and the 99.9 % and 99.99 % limits of C in sigma."""
    ours, theirs = (plane[where] for plane in pair)
    found = deviation(ours, theirs)
    if not c.exact:
        over = int(np.count_nonzero(exceeds(ours, theirs, relative=2e-6, absolute=2e-4 * c.sigma)))
        allowed = int(share[0] * found.n) + c.allowed(number)
        largest = found.max / max(c.sigma, 1e-30)
        text = f"{over} px over ({allowed} allowed); max {largest:.1e} sigma, rms {found.rms:.1e}"
        return Row(number, name, "2e-6 abs(v) + 2e-4 sigma", text, over <= allowed)
    p999, p9999 = found.p999 / c.sigma, found.p9999 / c.sigma
    tolerance = f"99.9 % < {share[1]:g} sigma"
    passed = p999 < share[1]
    if np.isfinite(share[2]):
        tolerance += f", 99.99 % < {share[2]:g} sigma"
        passed = passed and p9999 < share[2]
    text = f"99.9 % {p999:.1e}, 99.99 % {p9999:.1e}, max {found.max / c.sigma:.1e} sigma"
    figures = (p999, p9999) if np.isfinite(share[2]) else (p999,)
    return Row(number, name, tolerance, text, bool(passed), figures, share[1 : 1 + len(figures)])


def _weight_row(c: Context, number: int, name: str, pair: tuple[Array, Array]) -> Row:
    # The two WCS libraries place a pixel edge differently by up to 1e-8 px: of a sliver of a pixel that is
    # much, relatively, so differences below 1e-8 of the largest weight do not count.
    where = pair[1] > 1e-8 * float(pair[1].max())
    relative = relative_deviation(*pair, where)
    if relative.size == 0:
        return Row(number, name, "-", "no weight", None)
    if not c.exact:
        floor = 1e-8 * float(pair[1].max())
        over = int(np.count_nonzero(exceeds(*pair, relative=1e-6, absolute=floor)))
        text = f"{over} px over ({c.allowed(number)} allowed); max {relative.max():.1e}"
        return Row(number, name, "1e-6 relative + 1e-8 of the largest", text, over <= c.allowed(number))
    share = float(np.mean(relative > 0.01))
    return Row(
        number, name, "99.99 % within 1 %", f"{1 - share:.5%} within", share <= 1e-4, (share,), (1e-4,)
    )


def _merge(rows: Sequence[Row]) -> Row:
    """Make one row of several of the same kind: the worst one, and how many there are."""
    failed = [row for row in rows if row.passed is False]
    shown = failed[0] if failed else rows[-1]
    text = shown.measured + (f" ({len(failed)} of {len(rows)} fail)" if failed else f" (last of {len(rows)})")
    figures = tuple(max(values) for values in zip(*(row.figures for row in rows), strict=True))
    return Row(shown.number, shown.quantity, shown.tolerance, text, not failed, figures, shown.limits)


def _pair(c: Context, name: str) -> tuple[Array, Array] | None:
    """Read an intermediate of both runs; None where one of them has none."""
    ours, theirs = c.ours.intermediate(name), c.theirs.intermediate(name)
    return None if ours is None or theirs is None else (read(ours), read(theirs))


def _singles(c: Context) -> Iterator[Row]:
    images, weights = [], []
    for root in dict.fromkeys(exposure_root(path) for path, _, _ in c.theirs.chips):
        sci, wht = (_pair(c, f"{root}_single_{kind}.fits") for kind in ("sci", "wht"))
        if sci is None or wht is None:
            continue
        images.append(_image_row(c, 9, "single_sci", sci, wht[1] > 0, (0.0, 0.05, np.inf)))
        weights.append(_weight_row(c, 10, "single_wht", wht))
    for rows in (images, weights):
        if rows:
            yield _merge(rows)


def _median(c: Context) -> Iterator[Row]:
    if c.ours.median is None or c.theirs.median is None:
        return
    pair = read(c.ours.median), read(c.theirs.median)
    yield _image_row(c, 11, "median", pair, np.ones(pair[0].shape, bool), (1e-6, 0.05, np.inf))


def _blots(c: Context) -> Iterator[Row]:
    if c.kind == "E":
        return  # the reference always blots through its table: that is class C
    rows = []
    edge = {"poly5": (0, 3), "poly3": (0, 3)}.get(str(c.parameters.get("blot_interp", "poly5")), (2, 3))
    for path, extver, index in c.theirs.chips:
        name = f"{exposure_root(path)}_sci{extver}_blt.fits"
        paths = [run.intermediate(name) for run in (c.ours, c.theirs)]
        if paths[0] is None or paths[1] is None or c.theirs.median is None:
            continue
        where = _inside_median(path, index, fits.getheader(c.theirs.median), *edge)
        header = fits.getheader(path, index)
        rate = "/S" in str(header.get("BUNIT", "")).upper()
        electrons = float(fits.getval(path, "EXPTIME")) if rate else 1.0
        ours, theirs = (read(p) * electrons for p in paths if p is not None)
        found = deviation(ours[where], theirs[where])
        # Both sum 16 or 36 neighbours in float32: the largest of them sets the rounding.
        near = 1e-3 + 5e-6 * local_maximum(theirs, 3)
        over = int(np.count_nonzero(exceeds(ours, theirs, relative=0.0, absolute=near) & where))
        text = f"{over}/{found.n} px over; rms {found.rms:.1e}, max {found.max:.1e} e-"
        if c.exact:
            rows.append(Row(12, "blt", "rms < 0.1 e-", text, found.rms < 0.1, (found.rms,), (0.1,)))
        else:
            # Positions are held in float32, 2.4e-4 px apart beyond 2048: where the two WCS libraries fall
            # on either side of a rounding edge, beside a bright core, more than that is seen.
            passed = over <= int(np.ceil(2e-6 * found.n))
            rows.append(
                Row(12, "blt", "5e-6 of the largest within 3 px + 1e-3 e-; 2e-6 px", text, bool(passed))
            )
    if rows:
        yield _merge(rows)


def _inside_median(path: Any, index: int, frame: fits.Header, sides: int, top: int) -> Array:
    """Chip pixels that do not fall on the outermost rows and columns of the median (known defects there)."""
    with fits.open(path) as hdul:
        chip = WCS(hdul[index].header, hdul)
        ny, nx = hdul[index].data.shape
    step = 8
    y, x = np.mgrid[0 : ny + step : step, 0 : nx + step : step].astype(float)
    x_out, y_out = WCS(frame).all_world2pix(*chip.all_pix2world(x, y, 0), 0)

    def fill(nodes: Array) -> Array:
        rows, columns = np.arange(ny) / step, np.arange(nx) / step
        i, j = rows.astype(int), columns.astype(int)
        u, v = (rows - i)[:, None], (columns - j)[None, :]
        low = nodes[i][:, j] * (1 - v) + nodes[i][:, j + 1] * v
        high = nodes[i + 1][:, j] * (1 - v) + nodes[i + 1][:, j + 1] * v
        return np.asarray(low * (1 - u) + high * u)

    full_x, full_y = fill(x_out), fill(y_out)
    size_x, size_y = int(frame["NAXIS1"]), int(frame["NAXIS2"])
    inside = (full_y < size_y - top - 1.0) & (full_y > sides - 1.0)
    if sides:
        inside &= (full_x > sides - 1.0) & (full_x < size_x - sides - 1.0)
    # What lies well outside is the sky level in both.
    return np.asarray(inside | (full_y > size_y + 1.0))


def _count(found: int, allowed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (float(found),), (float(allowed),)


def _cosmic_rays(c: Context) -> Iterator[Row]:
    if not c.masks:
        return
    allowed = 10 if c.exact else 5
    counts = [int(np.count_nonzero(a != b)) for a, b in c.masks.values()]
    flagged = [int(np.count_nonzero(b == 0)) for _, b in c.masks.values()]
    text = f"{max(counts)} at most, {sum(counts)} in all, of {sum(flagged)} flagged"
    yield Row(
        13,
        "crmask, pixels that differ in a chip",
        f"<= {allowed}",
        text,
        max(counts) <= allowed,
        *_count(max(counts), allowed),
    )


def _quality(c: Context) -> Iterator[Row]:
    counts = []
    for path, extver, _ in c.theirs.chips:
        files = [run.updated / path.name for run in (c.ours, c.theirs)]
        if not all(file.exists() for file in files):
            continue
        pair = []
        for file in files:
            with fits.open(file, memmap=False) as hdul:
                pair.append(hdul["DQ", extver].data.astype(np.int32) & 0xFFFF)
        counts.append(int(np.count_nonzero(pair[0] != pair[1])))
    if counts:
        allowed = 10 if c.exact else 5
        text = f"{max(counts)} at most, {sum(counts)} in all"
        yield Row(
            14,
            "updated DQ, pixels that differ in a chip",
            f"<= {allowed}",
            text,
            max(counts) <= allowed,
            *_count(max(counts), allowed),
        )


def _final(c: Context) -> Iterator[Row]:
    where = (c.wht[1] > 0) & (c.wht[0] > 0)
    yield _image_row(c, 15, "final sci where wht > 0", c.sci, where, (0.0, 0.01, 0.1))
    kind = str(c.parameters.get("final_wht_type", "EXP"))
    yield _weight_row(c, 16 if kind == "EXP" else 17, f"final wht {kind}", c.wht)
    try:
        contexts = c.ours.plane("ctx"), c.theirs.plane("ctx")
    except (FileNotFoundError, KeyError):
        contexts = None
    size = c.wht[1].size
    if contexts is not None:
        differ = int(np.count_nonzero(contexts[0] != contexts[1]))
        allowed = c.allowed(18) + (int(np.ceil(2e-6 * size)) if c.exact else 0)
        yield Row(
            18,
            "ctx, pixels that differ",
            f"<= {allowed}",
            str(differ),
            differ <= allowed,
            *_count(differ, allowed),
        )
    pattern = int(
        np.count_nonzero((np.isnan(c.sci[0]) != np.isnan(c.sci[1])) | ((c.wht[0] == 0) != (c.wht[1] == 0)))
    )
    allowed = c.allowed(19) + (int(np.ceil(1e-6 * size)) if c.exact else 0)
    yield Row(
        19,
        "NaN and zero-weight pattern, pixels that differ",
        f"<= {allowed}",
        str(pattern),
        pattern <= allowed,
        *_count(pattern, allowed),
    )
    if not c.exact:
        empty = (c.wht[0] == 0) & (c.wht[1] == 0)
        ours, theirs = (plane[empty] for plane in c.sci)
        over = int(np.count_nonzero(exceeds(ours, theirs, relative=2e-6, absolute=2e-4 * c.sigma)))
        text = f"{over} of {int(np.count_nonzero(empty))} px"
        allowed = c.allowed(20)
        yield Row(20, "values at zero weight", f"<= {allowed} px differ", text, over <= allowed)
    total = [float(np.sum(plane[where], dtype=np.float64)) for plane in c.sci]
    apart = abs(total[0] / total[1] - 1.0)
    # Where a decision about a cosmic ray differs, its flux does too: the row is then only reported.
    limit = 1e-5 if c.exact else 1e-6
    passed = apart <= limit if c.n_cr_differ == 0 or apart <= limit else None
    yield Row(21, "total flux, ours / theirs - 1", f"{limit:.0e}", f"{apart:.1e}", passed, (apart,), (limit,))


def _headers(c: Context) -> Iterator[Row]:
    ours, theirs = c.ours.primary(), c.theirs.primary()
    n_chips = int(theirs.get("NDRIZIM", 0))
    names = [*TOTAL_KEYWORDS, *(f"D{i:03d}{end}" for i in range(1, n_chips + 1) for end in CHIP_KEYWORDS)]
    found = header_differences(ours, theirs, keywords=names)
    yield Row(22, "EXPTIME, EXPSTART, EXPEND, NDRIZIM, Dnnn*", "equal", summarise(found), not found)
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
    tables = c.ours.table(), c.theirs.table()
    if tables[0] is not None and tables[1] is not None:
        all_found += [f"HDRTAB {text}" for text in table_differences(*tables, ignored=IGNORED_COLUMNS)]
    elif tables[1] is not None:
        all_found.append("HDRTAB absent")
    yield Row(
        23, "blended headers and HDRTAB", "equal, listed exceptions", summarise(all_found), not all_found
    )


ROWS: tuple[Callable[[Context], Iterator[Row]], ...] = (
    _frame,
    _map,
    _static,
    _statistics,
    _sky,
    _singles,
    _median,
    _blots,
    _cosmic_rays,
    _quality,
    _final,
    _headers,
)
