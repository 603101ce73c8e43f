"""DS9 region files: shapes, their coordinates and signs, read and written.

Covers circle, ellipse, box, annulus, polygon, line, point and text in image, physical (taken as image)
and equatorial coordinates (FK5, J2000, ICRS), with units and sexagesimal angles, and ``;`` between
commands. Does not cover galactic and ecliptic coordinates, FK4, ellipse and box annuli, panda and
composite shapes: these are named in `RegionFile.ignored`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from mosaic.errors import ParameterError
from mosaic.tools.sexagesimal import parse_dec, parse_ra

Frame = Literal["image", "sky"]

_FRAMES: Final[dict[str, Frame]] = {
    "image": "image", "physical": "image", "fk5": "sky", "j2000": "sky", "icrs": "sky",
}  # fmt: skip
_OTHER_FRAMES: Final = frozenset(
    {"fk4", "b1950", "galactic", "ecliptic", "wcs", "linear", "amplifier", "detector"}
)
_DEGREES: Final = {'"': 1.0 / 3600.0, "'": 1.0 / 60.0, "d": 1.0, "r": 57.29577951308232, "": 1.0}
_COMMAND: Final = re.compile(r"([+-]?)\s*([a-z]+)\s*[( ]\s*([^)]*)\)?\s*(\|\|)?\s*$", re.IGNORECASE)
_LENGTHS: Final = {
    "circle": "pps", "ellipse": "ppssa", "box": "ppssa", "annulus": "ppss", "point": "pp", "text": "pp",
    "line": "pppp",
}  # fmt: skip
"""What the numbers of a shape are: p position, s size, a angle."""


@dataclass(frozen=True, slots=True)
class Region:
    """One shape."""

    shape: str
    """Name in lower case."""
    frame: Frame
    """Whether positions are FITS 1-based pixels or RA and Dec in degrees (sizes then too)."""
    points: tuple[tuple[float, float], ...]
    """Centre, or vertices."""
    sizes: tuple[float, ...] = ()
    """Radii, or full width and height of a box; pixels or degrees."""
    angle_deg: float = 0.0
    """Anticlockwise from the first axis of the frame, for the sky from west towards north."""
    is_excluded: bool = False
    """Whether a minus stands before the shape."""
    comment: str = ""
    """Properties that follow ``#``."""

    def to_text(self) -> str:
        """Shape as one line of a region file, positions to 4 decimals of a pixel or 1e-8 degree."""
        decimals = 4 if self.frame == "image" else 8
        unit = "" if self.frame == "image" else '"'
        scale = 1.0 if self.frame == "image" else 3600.0
        numbers = [f"{value:.{decimals}f}" for point in self.points for value in point]
        numbers += [f"{size * scale:.4f}{unit}" for size in self.sizes]
        if self.shape in {"ellipse", "box"}:
            numbers.append(f"{self.angle_deg:.5f}")
        text = f"{'-' if self.is_excluded else ''}{self.shape}({','.join(numbers)})"
        return f"{text} # {self.comment}" if self.comment else text


@dataclass(frozen=True, slots=True)
class RegionFile:
    """What a region file holds."""

    regions: tuple[Region, ...]
    """Shapes in file order."""
    ignored: tuple[str, ...]
    """Commands that are not understood, with line numbers."""


def read_regions(path: str | Path) -> RegionFile:
    """Read a DS9 region file.

    Raises
    ------
    ParameterError
        When the file cannot be read, or a shape has a wrong number of values.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"region file {str(path)!r} cannot be read: {error}") from error
    return parse_regions(text, str(path))


def parse_regions(text: str, name: str = "regions") -> RegionFile:
    """Read the text of a DS9 region file.

    Parameters
    ----------
    text : str
        Content; without a line that names the coordinates they are ``physical``, as in DS9.
    name : str
        File name for messages.
    """
    regions: list[Region] = []
    ignored: list[str] = []
    frame: Frame | None = "image"
    for number, line in enumerate(text.splitlines(), start=1):
        body, _, comment = line.partition("#")
        for part in filter(None, (command.strip() for command in body.split(";"))):
            word = part.lower()
            if word in _FRAMES:
                frame = _FRAMES[word]
            elif word in _OTHER_FRAMES:
                frame = None
                ignored.append(f"line {number}: coordinates {part}")
            elif word.split(None, 1)[0] != "global":
                region = _parse_shape(part, frame, f"{name}, line {number}")
                if region is None:
                    ignored.append(f"line {number}: {part}")
                else:
                    regions.append(replace(region, comment=comment.strip()))
    return RegionFile(tuple(regions), tuple(ignored))


def write_text(regions: tuple[Region, ...] | list[Region]) -> str:
    """Text of a region file of shapes that share their frame."""
    frames = {region.frame for region in regions}
    if len(frames) > 1:
        raise ValueError("shapes of one file must share their coordinates")
    lines = ["# Region file format: DS9 version 4.1", "fk5" if frames == {"sky"} else "image"]
    return "\n".join([*lines, *(region.to_text() for region in regions)]) + "\n"


def _parse_shape(text: str, frame: Frame | None, place: str) -> Region | None:
    """Shape of a command; None when it is of an unknown kind."""
    found = _COMMAND.match(text)
    if found is None or frame is None:
        return None
    sign, shape, inside, joined = found.groups()
    shape = {"rotbox": "box"}.get(shape.lower(), shape.lower())
    values = [value for value in re.split(r"[\s,]+", inside.strip()) if value]
    if joined or (shape != "polygon" and shape not in _LENGTHS):
        return None
    if shape in {"text", "point"}:
        values = values[:2]
    if shape == "polygon":
        if len(values) < 6 or len(values) % 2:
            raise ParameterError(
                f"{place}: a polygon needs three vertices or more, not {len(values)} numbers"
            )
        kinds = "p" * len(values)
    else:
        kinds = _LENGTHS[shape]
        if len(values) == len(kinds) - 1 and kinds.endswith("a"):
            values.append("0")
        if shape in {"ellipse", "box", "annulus"} and len(values) > len(kinds):
            return None
        if len(values) != len(kinds):
            raise ParameterError(f"{place}: {shape} needs {len(kinds)} values, not {len(values)}")
    return _build(shape, frame, (values, kinds), sign == "-", place)


def _build(shape: str, frame: Frame, given: tuple[list[str], str], is_excluded: bool, place: str) -> Region:  # noqa: FBT001
    values, kinds = given
    try:
        positions = [v for v, kind in zip(values, kinds, strict=True) if kind == "p"]
        points = tuple(_position(a, b, frame) for a, b in zip(positions[0::2], positions[1::2], strict=True))
        sizes = tuple(_size(v, frame) for v, kind in zip(values, kinds, strict=True) if kind == "s")
        angles = [float(v.rstrip("d")) for v, kind in zip(values, kinds, strict=True) if kind == "a"]
    except ValueError as error:
        raise ParameterError(f"{place}: {shape}: {error}") from error
    if any(size < 0.0 for size in sizes):
        raise ParameterError(f"{place}: {shape} has a negative size")
    return Region(shape, frame, points, sizes, angles[0] if angles else 0.0, is_excluded)


def _position(first: str, second: str, frame: Frame) -> tuple[float, float]:
    if frame == "image":
        return float(first.rstrip("pi")), float(second.rstrip("pi"))
    # A position in degrees may end in d.
    return parse_ra(_plain(first)), parse_dec(_plain(second))


def _plain(text: str) -> str:
    return text[:-1] if re.fullmatch(r"[+-]?[\d.]+d", text) else text


def _size(text: str, frame: Frame) -> float:
    if frame == "image":
        return float(text.rstrip("pi"))
    unit = text[-1] if text[-1] in "\"'drpi" else ""
    if unit in {"p", "i"}:
        raise ValueError(f"size {text} in pixels does not go with sky coordinates")
    return float(text[: len(text) - len(unit)]) * _DEGREES[unit]
