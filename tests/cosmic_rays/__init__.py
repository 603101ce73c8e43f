"""Cosmic-ray rejection against the simulated truth, beside DrizzlePac's on the same exposures."""
