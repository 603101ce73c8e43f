"""Pictures for the report: grey and coloured images, ready to be embedded.

Drawn with Pillow alone, so that every run can afford them: photographs as JPEG, maps as PNG; outlines are
added by the page as vector graphics. Covers the science image, weight and exposure-count maps, cosmic-ray
overlays, stars and colour composites. Does not cover the page (`mosaic.quality.html`).
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mosaic.errors import ParameterError
from mosaic.exposure.reader import read_science
from mosaic.graph.job import Job, chip_task
from mosaic.graph.store import read_mask
from mosaic.products.planes import TiledPlane
from mosaic.quality.mosaic_checks import ProductPass
from mosaic.quality.preview import Reduced, reduce_plane
from mosaic.quality.rejection import GROUP as REJECTION
from mosaic.quality.stars import find_peaks, sky_level
from mosaic.quality.survey import Survey
from mosaic.quality.weight_checks import STARS, WEIGHTS
from mosaic.types import ByteArray, DoubleArray, FloatArray, Window

SIDE = 800
THUMBNAIL_SIDE = 256
_OUTLINES_DRAWN = 200
_EMPTY = (32, 38, 46)
# Five stops of a perceptually even scale from dark blue over green to yellow.
_STOPS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64
)
_N_COLOURS = 255
_CROP = 320


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the report."""

    name: str
    """Name that checks refer to."""
    title: str
    """Caption."""
    data: bytes
    """The encoded image."""
    kind: str
    """``png`` or ``jpeg``."""
    size_xy: tuple[int, int]
    """Columns and rows."""
    outlines: tuple[tuple[int, DoubleArray], ...] = ()
    """Number of the exposure and polygon, picture pixels from the upper left corner, shape (n, 2)."""
    legend: str = ""
    """What its colours mean."""
    group: str = ""
    """Heading under which it stands; blank: at the top."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Asinh stretch: linear about the sky, logarithmic where it is bright."""

    low: float
    """Black."""
    knee: float
    """Values above black at which it leaves the linear part."""
    high: float
    """White."""

    @classmethod
    def of(cls, image: FloatArray, bright: FloatArray | None = None) -> Stretch:
        """Keep the sky of `image` dark, and some shape in the sources of `bright` (else of the same)."""
        level = sky_level(image)
        finite = image if bright is None else bright
        finite = finite[np.isfinite(finite)]
        if finite.size == 0 or not np.isfinite(level.sigma):
            return cls(0.0, 1.0, 1.0)
        sigma = level.sigma or float(np.ptp(finite)) / 100.0 or 1.0
        high = max(float(np.percentile(finite, 99.8)), level.value + 20.0 * sigma)
        return cls(level.value - 2.5 * sigma, 4.0 * sigma, high)

    def __call__(self, image: FloatArray) -> ByteArray:
        """Values as 0 to 255; NaN is 0."""
        scaled = np.arcsinh((image - self.low) / self.knee) / np.arcsinh((self.high - self.low) / self.knee)
        return np.asarray(np.clip(np.nan_to_num(scaled) * 255.0, 0, 255), dtype=np.uint8)


def photo_of(image: FloatArray, bright: FloatArray) -> Callable[[FloatArray], ByteArray]:
    """Colours of pieces of an image, all stretched as one: by the sky of a sample and its bright pixels."""
    stretch = Stretch.of(image, bright)

    def paint(values: FloatArray) -> ByteArray:
        return _on_page(stretch(values), values)

    return paint


def map_colours(values: FloatArray, high: float) -> ByteArray:
    """Values from 0 to `high` in the colours of `palette`, shape (ny, nx, 3)."""
    return palette()[_map_index(values, high)]


def _map_index(values: FloatArray, high: float) -> ByteArray:
    place = np.clip(np.nan_to_num(values) / (high or 1.0), 0.0, 1.0) * (_N_COLOURS - 1)
    return np.where(np.isfinite(values), np.rint(place), _N_COLOURS).astype(np.uint8)


def _on_page(grey_levels: ByteArray, values: FloatArray) -> ByteArray:
    colours = np.repeat(grey_levels[..., None], 3, axis=2)
    colours[~np.isfinite(values)] = _EMPTY
    return colours


def grey(image: FloatArray) -> ByteArray:
    """Stretched image as colours; pixels without value have the colour of the page."""
    return _on_page(Stretch.of(image)(image), image)


def palette() -> ByteArray:
    """Colours of a map, shape (256, 3); the last is that of pixels without value."""
    place = np.linspace(0.0, len(_STOPS) - 1.0, _N_COLOURS)
    channels = [np.interp(place, np.arange(len(_STOPS)), _STOPS[:, k]) for k in range(3)]
    return np.vstack([np.stack(channels, axis=1), _EMPTY]).astype(np.uint8)


def encode_map(values: FloatArray, high: float) -> bytes:
    """PNG of values from 0 to `high` in the colours of `palette`, the first row at the bottom."""
    image = Image.fromarray(np.ascontiguousarray(_map_index(values, high)[::-1]))
    image.putpalette(palette().tobytes())
    return _encoded(image, "png", compress_level=4)


def encode_photo(colours: ByteArray, *, quality: int = 88) -> bytes:
    """JPEG of a grey or coloured image, the first row at the bottom."""
    return _encoded(Image.fromarray(np.ascontiguousarray(colours[::-1])), "jpeg", quality=quality)


def _encoded(image: Image.Image, kind: str, **how: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), **how)
    return buffer.getvalue()


def thumbnail(picture: Picture, side: int = THUMBNAIL_SIDE) -> bytes:
    """The picture in small, as PNG."""
    image = Image.open(io.BytesIO(picture.data)).convert("RGB")
    image.thumbnail((side, side))
    return _encoded(image, "png")


def make_pictures(
    survey: Survey, found: ProductPass | None, flagged: Sequence[float], maps: Callable[[], list[Picture]]
) -> list[Picture]:
    """All pictures of a job; `maps` gives those of `make_maps`."""
    pictures = []
    if found is not None and found.levels:
        pictures += maps()
        if found.stars.stamp:
            pictures.append(_stars(found))
    if flagged and survey.job.plan.settings.driz_cr:
        pictures.append(_cosmic_rays(survey, int(np.argmax(flagged))))
    return pictures


def make_maps(survey: Survey) -> list[Picture]:
    """Pictures of the whole product, which need nothing that the checks find."""
    job = survey.job
    sci = reduce_plane(TiledPlane(job, "final", "mosaic.zarr/sci", "sci"), max_side=SIDE)
    weight = reduce_plane(TiledPlane(job, "final", "mosaic.zarr/wht", "wht"), max_side=SIDE).image
    # Holes darken the map; blocks without any weight have the colour of the page.
    weight[weight == 0] = np.nan
    covered = np.where(np.isfinite(weight), sci.image, np.float32(np.nan))
    outlines = tuple(
        (number, _on_picture(survey.outline(chip), sci))
        for chip, number in zip(job.plan.chips[:_OUTLINES_DRAWN], job.plan.exposure_of_chip, strict=False)
    )
    size = (sci.image.shape[1], sci.image.shape[0])
    high = float(np.nanpercentile(weight, 99.5)) if np.isfinite(weight).any() else 1.0
    n = len(job.plan.exposures)
    depth = _depth(survey, sci)
    most = int(depth.max(initial=0))
    counts = np.where(depth > 0, depth, np.nan).astype(np.float32)
    scale = f"1 pixel of the picture is {sci.factor} of the product"
    return [
        Picture("science", f"Science image with the outlines of {n} exposures; {scale}",
                encode_photo(grey(covered)), "jpeg", size, outlines),
        Picture("weight", "Weight", encode_map(weight, high), "png", size, outlines,
                f"dark blue 0, yellow {high:.4g}", WEIGHTS),
        Picture("depth", "Number of exposures", encode_map(counts, float(most)), "png", size, outlines,
                f"dark blue 0, yellow {most}", WEIGHTS),
    ]  # fmt: skip


def _on_picture(points: DoubleArray, reduced: Reduced) -> DoubleArray:
    """Product pixels to picture pixels, the first row at the top."""
    x = (points[:, 0] + 0.5) / reduced.factor
    y = reduced.image.shape[0] - (points[:, 1] + 0.5) / reduced.factor
    return np.column_stack([x, y])


def _depth(survey: Survey, reduced: Reduced) -> NDArray[np.uint16]:
    """Exposures at every pixel of a reduced image, from the outlines."""
    ny, nx = reduced.image.shape
    plan = survey.job.plan
    depth = np.zeros((ny, nx), dtype=np.uint16)
    for exposure in plan.exposures:
        image = Image.new("1", (nx, ny))
        for chip in exposure.chips:
            points = (survey.outline(chip) + 0.5) / reduced.factor - 0.5
            ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in points], fill=1)
        depth += np.asarray(image, dtype=np.uint16)
    return depth


def _cosmic_rays(survey: Survey, exposure: int) -> Picture:
    """A crop of the exposure with most flags beside the same crop with the flags in red."""
    plan = survey.job.plan
    chip = plan.exposures[exposure].chips[0]
    window = _busiest(survey, exposure)
    sci = read_science(chip, window)
    mask = read_mask(survey.job.store, f"cosmic_rays/{chip_task(chip)}", window)
    plain = grey(sci)
    marked = plain.copy()
    marked[mask] = (0.35 * marked[mask] + 0.65 * np.array([255, 60, 60])).astype(np.uint8)
    gap = np.full((plain.shape[0], 8, 3), _EMPTY, dtype=np.uint8)
    colours = np.concatenate([plain, gap, marked], axis=1)
    colours = colours.repeat(2, axis=0).repeat(2, axis=1)
    title = (
        f"Cosmic rays flagged in {chip.name}, a piece of {window.shape_yx.nx} x {window.shape_yx.ny} pixels"
    )
    size = (colours.shape[1], colours.shape[0])
    return Picture(
        "cosmic_rays",
        title,
        encode_photo(colours),
        "jpeg",
        size,
        (),
        "right: flagged pixels in red",
        REJECTION,
    )


def _busiest(survey: Survey, exposure: int) -> Window:
    """A window of the first chip of an exposure around its brightest star, or in its middle."""
    chip = survey.job.plan.exposures[exposure].chips[0]
    ny, nx = chip.shape_yx
    h, w = min(_CROP // 2, ny), min(_CROP, nx)
    y0 = (ny - h) // 2
    sci = read_science(chip, Window(y0, y0 + h, 0, nx))
    x, _y = find_peaks(sci, sky_level(sci), n_sigma=100.0, margin=2, limit=1)
    x0 = (nx - w) // 2 if not x.size else int(np.clip(int(x[0]) - w // 2, 0, nx - w))
    return Window(y0, y0 + h, x0, x0 + w)


def _stars(found: ProductPass) -> Picture:
    """The brightest isolated stars side by side, each stretched on its own."""
    stamps = found.stars.stamp
    order = np.argsort([-float(stamp.max()) for stamp in stamps], kind="stable")[:12]
    tiles = []
    for i in order:
        stamp = stamps[int(i)]
        top = float(stamp.max()) or 1.0
        tile = np.arcsinh(np.clip(stamp / top, 0, 1) * 50.0) / np.arcsinh(50.0)
        tiles.append(np.pad((tile * 255).astype(np.uint8), 1, constant_values=60))
    while len(tiles) % 6:
        tiles.append(np.full_like(tiles[0], _EMPTY[0]))
    rows = [np.concatenate(tiles[k : k + 6], axis=1) for k in range(0, len(tiles), 6)]
    image = np.concatenate(rows[::-1]).repeat(5, axis=0).repeat(5, axis=1)
    title = "Brightest isolated stars of the product, each scaled to its peak"
    size = (image.shape[1], image.shape[0])
    return Picture("stars", title, encode_photo(image), "jpeg", size, (), "logarithmic", STARS)


def colour_composite(
    planes: Sequence[FloatArray], *, stretch_sigma: float = 40.0, softening: float = 8.0
) -> ByteArray:
    """Colours after R. Lupton et al. (2004, PASP 116, 133) from red, green and blue images.

    Each image is brought to its sky and noise first, so that filters of any unit go together.

    Parameters
    ----------
    planes : sequence of FloatArray, shape (ny, nx)
        Red, green, blue.
    stretch_sigma : float, optional
        Where the stretch leaves the linear part, in units of the noise.
    softening : float, optional
        Softening of the asinh stretch.

    Raises
    ------
    ParameterError
        When the images differ in shape or are not three.
    """
    if len(planes) != 3 or len({plane.shape for plane in planes}) != 1:
        shapes = ", ".join(f"{p.shape[1]} x {p.shape[0]}" for p in planes)
        raise ParameterError(f"a colour picture needs three images of one frame, not {shapes}")
    scaled = []
    for plane in planes:
        level = sky_level(plane)
        scaled.append(np.nan_to_num((plane - level.value) / (level.sigma or 1.0)).astype(np.float32))
    # Imported here because it takes matplotlib along, which takes a second.
    lupton = importlib.import_module("astropy.visualization").make_lupton_rgb
    colours = np.asarray(lupton(*scaled, minimum=-1.0, stretch=stretch_sigma, Q=softening), dtype=np.uint8)
    colours[~np.isfinite(planes).all(axis=0)] = _EMPTY
    return colours


def colour_picture(jobs: Sequence[Job], names: Sequence[str]) -> Picture:
    """Colour picture of the products of three jobs in one frame: red, green, blue.

    Raises
    ------
    ParameterError
        When the frames differ.
    """
    if not all(_same_frame(jobs[0], job) for job in jobs[1:]):
        raise ParameterError(
            f"{', '.join(names)} lie in different frames; drizzle them with one final_refimage, or the same "
            "final_ra, final_dec, final_scale, final_rot, final_outnx and final_outny"
        )
    planes: list[FloatArray] = []
    for job in jobs:
        sci, wht = (
            reduce_plane(TiledPlane(job, "final", f"mosaic.zarr/{name}", name), max_side=SIDE).image
            for name in ("sci", "wht")
        )
        planes.append(np.where(wht > 0, sci, np.float32(np.nan)))
    colours = colour_composite(planes)
    size = (colours.shape[1], colours.shape[0])
    title = f"Colour picture: red {names[0]}, green {names[1]}, blue {names[2]}"
    return Picture("colour", title, encode_photo(colours), "jpeg", size)


def _same_frame(one: Job, other: Job) -> bool:
    """Whether the products of two jobs lie on the same pixels, to a hundredth of one."""
    first, second = one.plan.final.grid, other.plan.final.grid
    if first.shape_yx != second.shape_yx:
        return False
    ny, nx = first.shape_yx
    x, y = np.array([0.0, nx - 1.0, 0.0, nx - 1.0]), np.array([0.0, 0.0, ny - 1.0, ny - 1.0])
    there = second.sky_to_pixel(*first.pixel_to_sky(x, y))
    return all(bool(np.all(np.abs(a - b) < 0.01)) for a, b in zip(there, (x, y), strict=True))
