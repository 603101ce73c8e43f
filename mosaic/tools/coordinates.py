"""Files of coordinates: two columns in, two columns out, and the listing that is shown.

Covers plain text, FITS tables and ECSV. Does not cover what is computed (`mosaic.tools.positions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from astropy.table import Table

from mosaic.errors import ParameterError
from mosaic.products.partial import PartialFile

Column = str | int


def read_columns(
    path: str | Path, columns: str | Sequence[Column] | None = None, separator: str | None = None
) -> tuple[list[str], list[str]]:
    """Read two columns as text.

    Parameters
    ----------
    path : str or Path
        Plain text (lines that begin with ``#`` are passed over), FITS table or ECSV.
    columns : str or sequence, optional
        Two columns: a number or ``c`` and a number counts from 1, anything else is a name; as a list or
        separated by a comma. The first two by default.
    separator : str, optional
        What separates the fields of plain text; by default blanks.

    Raises
    ------
    ParameterError
        When the file cannot be read or a column is missing.
    """
    wanted = _split(columns)
    file = Path(path)
    if not file.is_file():
        raise ParameterError(f"coordinate file {str(path)!r} does not exist; correct coordfile")
    try:
        if file.suffix.lower() in {".fits", ".fit", ".ecsv"}:
            table = Table.read(file)
            names = list(table.colnames)
            picked = [_place(column, len(names), names, path) for column in wanted]
            first, second = ([str(value) for value in table[names[i]]] for i in picked)
        else:
            first, second = _read_text(file, wanted, (separator or "").strip(" ") or None)
    except (OSError, ValueError, IndexError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f"coordinate file {str(path)!r} cannot be read: {error}") from error
    if not first:
        raise ParameterError(f"coordinate file {str(path)!r} has no rows")
    return first, second


def to_numbers(values: Iterable[str | float], name: str) -> list[float]:
    """Numbers of texts.

    Raises
    ------
    ParameterError
        When one is not a number.
    """
    numbers = []
    for row, value in enumerate(values, start=1):
        try:
            numbers.append(float(value))
        except ValueError as error:
            raise ParameterError(f"{name}: {value!r} in row {row} is not a number") from error
    return numbers


def write_columns(path: str | Path, image: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write two columns of text under one header line, as DrizzlePac does."""
    lines = [f"# Coordinates converted from {image}", *(f"{a}    {b}" for a, b in rows)]
    with PartialFile(Path(path)) as out:
        out.write(("\n".join(lines) + "\n").encode())
        out.publish()


def listing(image: str, heading: str, rows: Iterable[Sequence[str]]) -> str:
    """Text of a conversion: two columns on the left, two on the right of a wider gap."""
    head = f"# Coordinate transformations for  {image}\n# {heading}\n\n"
    return head + "\n".join(f"{a}  {b}    {c}  {d}" for a, b, c, d in rows)


def _split(columns: str | Sequence[Column] | None) -> list[Column]:
    if columns is None or (isinstance(columns, str) and not columns.strip()):
        return [1, 2]
    wanted = [c.strip() for c in columns.split(",")] if isinstance(columns, str) else list(columns)
    if len(wanted) != 2:
        raise ParameterError(f"colnames={columns!r} must name two columns, such as 'c1,c2'")
    return list(wanted)


def _place(column: Column, n_columns: int, names: Sequence[str], path: str | Path) -> int:
    """0-based place of a column."""
    text = str(column)
    lower = [name.lower() for name in names]
    if text.lower() in lower:
        return lower.index(text.lower())
    digits = text[1:] if text[:1].lower() == "c" else text
    if digits.isdigit() and 1 <= int(digits) <= n_columns:
        return int(digits) - 1
    raise ParameterError(
        f"{path}: there is no column {column!r}; it has {n_columns}"
        + (f": {', '.join(names)}" if names else "")
    )


def _read_text(path: Path, wanted: Sequence[Column], separator: str | None) -> tuple[list[str], list[str]]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [line.split(separator) for line in lines if line and not line.startswith("#")]
    if not rows:
        return [], []
    n_columns = min(map(len, rows))
    a, b = (_place(column, n_columns, (), path) for column in wanted)
    return [row[a].strip() for row in rows], [row[b].strip() for row in rows]
