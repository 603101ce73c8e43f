"""Comparison of mosaic with DrizzlePac, run by hand: ``python -m tests.parity --help``."""
