"""Calibrated exposures of an invented sky whose truth is known.

Covers ACS (WFC, HRC, SBC) and WFC3 (UVIS, IR) files as the archive delivers them: headers, distortion,
noise, cosmic rays and detector defects, with tables of what was put in, and aperture photometry to
compare products with it. Does not cover raw data, trapping of charge, bleeding or moving targets.
"""

from __future__ import annotations

from mosaic.simulate.params import SimulateParams
from mosaic.simulate.run import SimulatedSet, simulate

__all__ = ["SimulateParams", "SimulatedSet", "simulate"]
