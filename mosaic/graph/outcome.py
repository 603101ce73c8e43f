"""What a task reports, and what tasks of several modules share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mosaic.exposure.model import Chip
from mosaic.types import Window


@dataclass(slots=True)
class Outcome:
    """What a task reports besides its time and memory."""

    bytes_read: int = 0
    bytes_written: int = 0
    checksums: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def wrote(self, name: str, crc: str, n_bytes: int) -> None:
        """Note a verified chunk."""
        self.checksums[name] = crc
        self.bytes_written += n_bytes


def whole_window(chip: Chip) -> Window:
    """All pixels of a chip."""
    return Window(0, chip.shape_yx.ny, 0, chip.shape_yx.nx)
