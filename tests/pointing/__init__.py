"""Alignment of simulated exposures with unrecorded pointing errors, beside DrizzlePac's TweakReg."""
