"""Compiled kernels: arrays and scalars in, arrays out; no input or output, no Python objects."""
