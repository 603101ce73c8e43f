"""Alignment of exposures to each other or to a catalogue: what TweakReg does.

`mosaic.alignment.run.align` is the flow for files, `mosaic.alignment.injob.align_exposures` that within a
run. Positions on chips are 0-based pixels; positions in the reference frame are pixels relative to its
reference pixel, and a solution maps reference to image: image = ref F + offset.
"""

from __future__ import annotations

import importlib.util

from mosaic.errors import ParameterError


def require_libraries() -> None:
    """Refuse to begin without the libraries of the extra ``align``.

    Raises
    ------
    ParameterError
        Saying how to install them.
    """
    if importlib.util.find_spec("scipy") is None:
        raise ParameterError("alignment needs scipy, which is not installed: pip install 'mosaic-hst[align]'")
