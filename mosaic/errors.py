"""Errors of mosaic: each class answers one decision of the caller (set aside, correct, enlarge, repeat)."""

from __future__ import annotations


class MosaicError(Exception):
    """Root of every error that mosaic raises on purpose; its text is one readable line."""


class ParameterError(MosaicError, ValueError):
    """Raised when a parameter is unknown or its value is impossible: correct it and run again."""


class ExposureError(MosaicError, ValueError):
    """Raised when one exposure cannot be used: `on_error="skip"` sets it aside.

    Parameters
    ----------
    exposure : str
        File or root name of the exposure.
    problem : str
        What is wrong, with the offending value.
    remedy : str
        What the user can do about it.
    chip : str, optional
        Extension within the exposure, such as ``sci,2``.
    """

    def __init__(self, exposure: str, problem: str, remedy: str, chip: str = "") -> None:
        self.exposure = exposure
        self.problem = problem
        self.remedy = remedy
        self.chip = chip
        place = f"{exposure}[{chip}]" if chip else exposure
        super().__init__(f"{place}: {problem}; {remedy}")

    def __reduce__(self) -> tuple[type[ExposureError], tuple[str, str, str, str]]:
        """Rebuild from the parts, so that the error survives a trip between processes."""
        return (type(self), (self.exposure, self.problem, self.remedy, self.chip))


class MissingFileError(ExposureError):
    """Raised when an input file does not exist or cannot be opened."""


class TruncatedFileError(ExposureError):
    """Raised when a file ends before its header says it should."""


class StructureError(ExposureError):
    """Raised when an extension is missing or arrays that belong together differ in shape."""


class MetadataError(ExposureError):
    """Raised when a header value is absent or impossible (exposure time, units, gain)."""


class WcsError(ExposureError):
    """Raised when the world coordinate system of a chip is absent, not finite or not supported."""


class PixelError(ExposureError):
    """Raised when no pixel of an exposure can be used."""


class AlignmentError(ExposureError):
    """Raised when an exposure cannot be brought into line with the others or with a catalogue."""


class InstrumentError(ExposureError):
    """Raised when an exposure comes from an instrument that is not supported."""


class BudgetError(MosaicError):
    """Raised when the plan does not fit the memory or disk that was granted."""


class OutputError(MosaicError):
    """Raised when a product or the job folder cannot be written."""


class StoreError(MosaicError):
    """Raised when a stored chunk is missing or differs from what the ledger recorded."""


class PlanMismatchError(MosaicError):
    """Raised when a job folder belongs to other inputs or parameters than those given."""


class RunCancelledError(MosaicError):
    """Raised when a run was asked to stop: what is finished is kept, the same command continues."""


class ClusterError(MosaicError):
    """Raised when workers cannot be had or are lost: mend the cluster, then run the same command again."""


class CatalogError(MosaicError, ValueError):
    """Raised when a catalogue of sources is absent, unreadable or empty after its limits."""


class WcsNameExistsError(ParameterError):
    """Raised when a new WCS would take a name that the file has already: choose another, or reuse it."""
