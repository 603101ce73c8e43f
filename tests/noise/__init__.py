"""Reported errors of mosaics against the scatter of simulated blank sky."""
