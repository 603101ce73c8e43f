"""``photeq.photeq`` with DrizzlePac's arguments: one inverse sensitivity for all chips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mosaic.compat.tasks import number_or_none, task_values
from mosaic.runlog import logging_to_file
from mosaic.tools.photeq import PhotometryKeywords, equalise

__all__ = ["photeq", "run"]
__taskname__ = "photeq"

_DEFAULTS = {
    "files": "*_flt.fits", "sciext": "SCI", "errext": "ERR", "ref_phot": None, "ref_phot_ext": None,
    "phot_kwd": "PHOTFLAM", "aux_phot_kwd": "PHOTFNU", "search_primary": True, "readonly": True,
    "clobber": False, "logfile": "photeq.log",
}  # fmt: skip


def photeq(
    files: str | Sequence[str] = "*_flt.fits",
    sciext: str = "SCI",
    errext: str = "ERR",
    ref_phot: float | None = None,
    ref_phot_ext: int | str | tuple[str, int] | None = None,
    phot_kwd: str = "PHOTFLAM",
    aux_phot_kwd: str | Sequence[str] | None = "PHOTFNU",
    search_primary: bool = True,  # noqa: FBT001, FBT002  (DrizzlePac's signature)
    readonly: bool = True,  # noqa: FBT001, FBT002
    clobber: bool = False,  # noqa: FBT001, FBT002, ARG001
    logfile: str | None = "photeq.log",
) -> None:
    """Equalise the chips of files in place, or with `readonly` only write what would be done to the log.

    Parameters
    ----------
    clobber : bool
        Without meaning here: waivered FITS and GEIS must be converted before.
    logfile : str or None
        Log file; None for none.

    Raises
    ------
    MetadataError
        When there is no reference.
    """
    names = aux_phot_kwd.split(",") if isinstance(aux_phot_kwd, str) else aux_phot_kwd or ()
    aux = tuple(name.strip() for name in names if name.strip())
    place = ",".join(map(str, ref_phot_ext)) if isinstance(ref_phot_ext, tuple) else ref_phot_ext
    with logging_to_file(logfile or "") as log:
        done = equalise(
            files,
            PhotometryKeywords(sciext, errext, phot_kwd, aux, search_primary),
            ref_phot=ref_phot,
            ref_phot_ext=place,
            readonly=readonly,
        )
        for item in done:
            what = "would be" if readonly else "were"
            log.info(
                "%s[%s]: %s %.9g, pixels %s times %.9g",
                *(item.path, item.extension, phot_kwd, item.before, what, item.ratio),
            )


def run(configObj: Any) -> None:  # noqa: ANN401  (DrizzlePac's name)
    """Run `photeq` from a parameter object or file.

    Raises
    ------
    ParameterError
        For unknown names and impossible values.
    """
    values = task_values(__taskname__, configObj, _DEFAULTS)
    reference = number_or_none(__taskname__, "ref_phot", values.pop("ref_phot"))
    photeq(ref_phot=reference, **values)
