"""Rows of the checklist that compare images: separate drizzles, median, blot, masks, products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from mosaic.geometry.grid import reference_grid
from mosaic.geometry.pixmap import build_map_model
from mosaic.kernels.blot import INTERPOLATORS
from tests.parity.compare import Array, deviation, exceeds, local_maximum, relative_deviation
from tests.parity.rows import Context, Row, judged, linear_frame
from tests.parity.runs import Run, catalogue_of, exposure_root, read

_EDGE = {"poly5": (0, 3), "poly3": (0, 3)}
"""Rows and columns at the sides and at the top of the median that an interpolant gets wrong."""
_FLIPS = 1e-5
"""Share of blotted pixels that may differ by more. Positions are held in single precision, 4.9e-4 px apart
beyond 4096: on two axes, 1.2e-9 px (rms) between the WCS libraries put 1e-5 of them on the other side; one
such step along the slope of the median, a few electrons a pixel in its noise, is more than allowed."""


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
    sigma = max(c.sigma, 1e-30)
    apart = _apart(ours, theirs * np.float64(c.factors.get(number, 1.0)), sigma)
    if not c.loose:
        allowed = int(share[0] * found.n) + c.allowed(number)
        worst, over = _excess(ours, theirs, 2e-6, 2e-4 * c.sigma, allowed)
        text = f"{over} px over ({allowed} allowed); max {found.max / sigma:.1e} sigma, rms {found.rms:.1e}"
        return judged(number, name, "2e-6 abs(v) + 2e-4 sigma", text, (worst, 1.0), apart=apart)
    p999, p9999 = found.p999 / sigma, found.p9999 / sigma
    tolerance = f"99.9 % < {share[1]:g} sigma"
    pairs = [(p999, share[1])]
    if np.isfinite(share[2]):
        tolerance += f", 99.99 % < {share[2]:g} sigma"
        pairs.append((p9999, share[2]))
    text = f"99.9 % {p999:.1e}, 99.99 % {p9999:.1e}, max {found.max / sigma:.1e} sigma"
    return judged(number, name, tolerance, text, *pairs, apart=apart)


def _apart(ours: Array, theirs: Array, sigma: float) -> tuple[float, float]:
    """Share of pixels apart by more than 1 sigma, and the median difference in sigma; NaN equals NaN only."""
    if ours.size == 0:
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        distance = np.abs(ours - theirs) / sigma
    distance[np.isnan(ours) & np.isnan(theirs)] = 0.0
    distance[np.isnan(distance)] = np.inf
    return float(np.mean(distance > 1.0)), float(np.quantile(distance, 0.5, method="lower"))


def _excess(ours: Array, theirs: Array, relative: float, absolute: Any, allowed: int) -> tuple[float, int]:
    """Largest difference over its tolerance when `allowed` pixels are left out, and how many lie over."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (ours, theirs))
    if a.size == 0:
        return 0.0, 0
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(a - b) / (relative * np.abs(b) + absolute)
    ratio[a == b] = 0.0
    ratio[np.isnan(a) & np.isnan(b)] = 0.0
    ratio[np.isnan(a) != np.isnan(b)] = np.inf
    ratio[np.isnan(ratio)] = np.inf
    over = int(np.count_nonzero(ratio > 1.0))
    if allowed >= ratio.size:
        return 0.0, over
    return float(np.partition(ratio.ravel(), ratio.size - 1 - allowed)[ratio.size - 1 - allowed]), over


def _weight_row(c: Context, number: int, name: str, pair: tuple[Array, Array]) -> Row:
    largest = float(np.abs(pair[1]).max())
    # A drop placed differently by `map_px` (the reference goes through degrees) gains or loses as much on
    # two sides: of a sliver that reaches into a pixel this is much, relatively.
    floor = 2.0 * c.map_px * largest
    where = np.abs(pair[1]) > 0.0
    if not where.any():
        return Row(number, name, "-", "no weight", None)
    scaled = pair[0], pair[1] * np.float64(c.factors.get(number, 1.0))
    far = relative_deviation(*scaled, where) > 0.01
    apart = (float(np.mean(far)) if far.size else 0.0,)
    relative = relative_deviation(*pair, where & (np.abs(pair[1]) > 1e-8 * largest))
    if not c.loose:
        worst, over = _excess(*pair, 1e-6, floor, c.allowed(number))
        text = f"{over} px over ({c.allowed(number)} allowed); max {relative.max(initial=0.0):.1e}"
        tolerance = f"1e-6 relative + {floor / largest:.0e} of the largest"
        return judged(number, name, tolerance, text, (worst, 1.0), apart=apart)
    share = float(np.mean(relative > 0.01)) if relative.size else 0.0
    return judged(number, name, "99.99 % within 1 %", f"{1 - share:.5%} within", (share, 1e-4), apart=apart)


def _merge(rows: Sequence[Row]) -> Row:
    """Make one row of several of the same kind: the worst one, and how many there are."""
    failed = [row for row in rows if row.passed is False]
    shown = failed[0] if failed else max(rows, key=lambda row: row.ratio or 0.0)
    text = shown.measured + (
        f" ({len(failed)} of {len(rows)} fail)" if failed else f" (worst of {len(rows)})"
    )
    figures = tuple(max(values) for values in zip(*(row.figures for row in rows), strict=False))
    apart = tuple(max(values) for values in zip(*(row.apart for row in rows), strict=False))
    passed = None if all(row.passed is None for row in rows) else not failed
    return replace(shown, measured=text, passed=passed, figures=figures, apart=apart)


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
    if c.kind == "E" or c.theirs.median is None:
        return  # the reference always blots through its table: that is class C
    rows = []
    for path, extver, index in c.theirs.chips:
        pair = _pair(c, f"{exposure_root(path)}_sci{extver}_blt.fits")
        if pair is None:
            continue
        where = comparable(c.theirs, path, index, c.parameters)
        header = fits.getheader(path, index)
        rate = "/S" in str(header.get("BUNIT", "")).upper()
        electrons = float(fits.getval(path, "EXPTIME")) if rate else 1.0
        ours, theirs = (plane * electrons for plane in pair)
        found = deviation(ours[where], theirs[where])
        if c.loose:
            text = f"rms {found.rms:.1e}, max {found.max:.1e} e-"
            rows.append(judged(12, "blt", "rms < 0.1 e-", text, (found.rms, 0.1), apart=_noisy(ours, theirs)))
            continue
        # The medians differ by 2e-6 of their value (row 11), and 36 of them make a blotted pixel: the
        # largest of them sets the difference.
        near = 1e-3 + 5e-6 * local_maximum(theirs, 3)
        allowed = int(np.ceil(_FLIPS * found.n))
        worst, over = _excess(ours[where], theirs[where], 0.0, near[where], allowed)
        plain = int(np.count_nonzero(exceeds(ours, theirs, relative=5e-6, absolute=1e-3) & where))
        text = f"{over}/{found.n} px over ({plain} of their own value); max {found.max:.1e} e-"
        tolerance = "5e-6 of the largest within 3 px + 1e-3 e-" + (f"; {_FLIPS:g} px" if allowed else "")
        apart = _noisy(ours[where], theirs[where])
        rows.append(judged(12, "blt", tolerance, text, (worst, 1.0), apart=apart))
    if rows:
        yield _merge(rows)


def _noisy(ours_e: Array, theirs_e: Array) -> tuple[float]:
    """Share of pixels apart by more than their noise: that of their electrons and a read noise of 5."""
    if ours_e.size == 0:
        return (0.0,)
    noise = np.sqrt(np.abs(theirs_e.astype(np.float64)) + 25.0)
    return (float(np.mean(~(np.abs(ours_e - theirs_e) <= noise))),)


def _blot_alone(c: Context) -> Iterator[Row]:
    """Our interpolation of the reference's own median against its blot: the step without its input."""
    name = str(c.parameters.get("blot_interp", "poly5"))
    addsky = bool(c.parameters.get("blot_addsky", True)) and bool(c.parameters.get("skysub", True))
    if c.kind != "B" or c.theirs.median is None or not addsky:
        return
    median, grid = read(c.theirs.median), reference_grid(c.theirs.median)
    sky, rows = c.theirs.sky, []
    for exposure in catalogue_of(c.theirs.inputs).exposures:
        for chip in exposure.chips:
            path = c.theirs.intermediate(f"{chip.rootname}_sci{chip.extver}_blt.fits")
            level = sky.get(f"{chip.rootname}[{chip.extver}]")
            if path is None or level is None:
                continue
            ratio = np.float32((grid.scale_arcsec / chip.idcscale_arcsec) ** 2)
            ny, nx = chip.shape_yx
            out = np.zeros((ny, nx), np.float32)
            model = build_map_model(chip.wcs, grid, 10)
            rate = chip.exptime_s / float(ratio)
            INTERPOLATORS[name](median, (0, 0), median.shape, model, (0, ny, 0, nx), rate, True, 1.0, out)
            theirs = (read(path).astype(np.float64) - level) * chip.to_electrons
            where = comparable(c.theirs, exposure_path(c, chip.path), chip.hdu_index, c.parameters)
            allowed = int(np.ceil(_FLIPS * out.size))
            # The sky was added and is taken off again: half a unit in the last place of the sum.
            room = 1e-3 + 1.2e-7 * np.abs(read(path)) * chip.to_electrons
            worst, over = _excess(out[where], theirs[where], 5e-6, room[where], allowed)
            text = f"{over}/{out.size} px over ({allowed} allowed)"
            title, tolerance = "blt of the reference's own median", "5e-6 relative + 1e-3 e-"
            apart = _noisy(out[where], theirs[where])
            rows.append(judged(12, title, tolerance, text, (worst, 1.0), apart=apart))
    if rows:
        yield _merge(rows)


def comparable(run: Run, path: Any, index: int, parameters: Mapping[str, Any]) -> Array:
    """Chip pixels whose blot is not spoilt by what the reference does at the edge of the median."""
    edge = _EDGE.get(str(parameters.get("blot_interp", "poly5")), (2, 3))
    return _inside_median(path, index, median_frame(run), *edge)


def exposure_path(c: Context, path: str) -> Any:
    """Input of a run by the path the catalogue gives it."""
    return next(p for p in c.theirs.inputs if str(p).endswith(path.rsplit("/", 1)[-1]))


def _inside_median(path: Any, index: int, frame: fits.Header, sides: int, top: int) -> Array:
    """Chip pixels that do not fall on the outermost rows and columns of the median (known defects there)."""
    full_x, full_y = _on_frame(path, index, frame.tostring())
    size_x, size_y = int(frame["NAXIS1"]), int(frame["NAXIS2"])
    inside = (full_y < size_y - top - 1.0) & (full_y > sides - 1.0)
    if sides:
        inside &= (full_x > sides - 1.0) & (full_x < size_x - sides - 1.0)
    # What lies well outside is the sky level in both.
    return np.asarray(inside | (full_y > size_y + 1.0))


def median_frame(run: Run) -> fits.Header:
    """Size and linear WCS of the median."""
    assert run.median is not None
    return linear_frame(fits.getheader(run.median))


@lru_cache(maxsize=16)
def _on_frame(path: Any, index: int, frame_text: str) -> tuple[Array, Array]:
    """Positions of the pixels of a chip in a frame, 0-based, from every eighth one."""
    frame = fits.Header.fromstring(frame_text)
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

    return fill(x_out), fill(y_out)


def _cosmic_rays(c: Context) -> Iterator[Row]:
    if not c.masks:
        return
    flagged = [int(np.count_nonzero(b == 0)) for _, b in c.masks.values()]
    if c.kind == "D":
        # The median differs for the better: what the reference flags, ours must flag too.
        missed = [int(np.count_nonzero((a == 1) & (b == 0))) for a, b in c.masks.values()]
        more = sum(int(np.count_nonzero((a == 0) & (b == 1))) for a, b in c.masks.values())
        shares = [n / a.size for n, (a, _) in zip(missed, c.masks.values(), strict=True)]
        text = f"{max(missed)} missed at most, {sum(missed)} in all, of {sum(flagged)}; {more} more found"
        title = "crmask, flags of the reference missed in a chip"
        yield judged(13, title, "<= 5", text, (max(missed), 5), apart=(max(shares),))
        return
    allowed = 10 if c.kind in "CE" else 5
    counts = [int(np.count_nonzero(a != b)) for a, b in c.masks.values()]
    text = f"{max(counts)} at most, {sum(counts)} in all, of {sum(flagged)} flagged"
    title = "crmask, pixels that differ in a chip"
    shares = [n / a.size for n, (a, _) in zip(counts, c.masks.values(), strict=True)]
    yield judged(13, title, f"<= {allowed}", text, (max(counts), allowed), apart=(max(shares),))


def _quality(c: Context) -> Iterator[Row]:
    counts, shares = [], []
    for path, extver, _ in c.theirs.chips:
        files = [run.updated / path.name for run in (c.ours, c.theirs)]
        if not all(file.exists() for file in files):
            continue
        pair = []
        for file in files:
            with fits.open(file, memmap=False) as hdul:
                if ("DQ", extver) in hdul:
                    pair.append(hdul["DQ", extver].data.astype(np.int32) & 0xFFFF)
        if len(pair) < len(files):
            # The flags of WFPC2 are in a file of their own; its cosmic rays are compared in row 13.
            continue
        differ = (pair[1] & ~pair[0]) != 0 if c.kind == "D" else pair[0] != pair[1]
        counts.append(int(np.count_nonzero(differ)))
        shares.append(counts[-1] / differ.size)
    if counts:
        allowed = 10 if c.kind in "CE" else 5
        text = f"{max(counts)} at most, {sum(counts)} in all"
        what = "flags missed" if c.kind == "D" else "pixels that differ"
        title, pair = f"updated DQ, {what} in a chip", (max(counts), allowed)
        yield judged(14, title, f"<= {allowed}", text, pair, apart=(max(shares),))


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
    if contexts is not None and contexts[0] is not None and contexts[1] is not None:
        same = contexts[0].shape == contexts[1].shape
        differ = int(np.count_nonzero(contexts[0] != contexts[1])) if same else size
        allowed = c.allowed(18) + (int(np.ceil(2e-6 * size)) if c.loose else 0)
        pair = (differ, allowed)
        yield judged(
            18, "ctx, pixels that differ", f"<= {allowed}", str(differ), pair, apart=(differ / size,)
        )
    pattern = int(
        np.count_nonzero((np.isnan(c.sci[0]) != np.isnan(c.sci[1])) | ((c.wht[0] == 0) != (c.wht[1] == 0)))
    )
    allowed = c.allowed(19) + (int(np.ceil(1e-6 * size)) if c.loose else 0)
    title = "NaN and zero-weight pattern, pixels that differ"
    yield judged(19, title, f"<= {allowed}", str(pattern), (pattern, allowed), apart=(pattern / size,))
    if not c.loose:
        empty = (c.wht[0] == 0) & (c.wht[1] == 0)
        ours, theirs = (plane[empty] for plane in c.sci)
        over = int(np.count_nonzero(exceeds(ours, theirs, relative=2e-6, absolute=2e-4 * c.sigma)))
        scaled = theirs * np.float64(c.factors.get(20, 1.0))
        far = int(np.count_nonzero(exceeds(ours, scaled, relative=2e-6, absolute=2e-4 * c.sigma)))
        text = f"{over} of {int(np.count_nonzero(empty))} px"
        allowed = c.allowed(20)
        pair, title = (over, allowed), "values at zero weight"
        yield judged(20, title, f"<= {allowed} px differ", text, pair, apart=(far / size,))
    yield _total(c, where)


def _total(c: Context, where: Array) -> Row:
    where = where & np.isfinite(c.sci[0]) & np.isfinite(c.sci[1])
    total = [float(np.sum(plane[where], dtype=np.float64)) for plane in c.sci]
    apart = abs(total[0] - total[1]) / (abs(total[1]) or 1.0)
    # Look-ups of the lanczos kernels that fall to the next step change the flux by more than rounding.
    is_looked_up = str(c.parameters.get("final_kernel", "")).startswith("lanczos")
    limit = 1e-5 if c.loose or is_looked_up else 1e-6
    expected = total[1] * c.factors.get(21, 1.0)
    far = (abs(total[0] - expected) / (abs(expected) or 1.0),)
    row = judged(
        21, "total flux, ours / theirs - 1", f"{limit:.0e}", f"{apart:.1e}", (apart, limit), apart=far
    )
    # Where a decision about a cosmic ray differs, its flux does too: the row is then only reported.
    return replace(row, passed=None) if c.n_cr_differ and not row.passed else row


PLANE_ROWS: tuple[Callable[[Context], Iterator[Row]], ...] = (
    _singles,
    _median,
    _blots,
    _blot_alone,
    _cosmic_rays,
    _quality,
    _final,
)
