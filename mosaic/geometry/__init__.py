"""Where things are: chip and output coordinate systems, the map between them, and tiles.

Pixel centres lie at integers. Positions handed around are 0-based (x, y); FITS 1-based values
appear only inside WCS formulas and in fields named after FITS keywords.
"""
