"""What goes out: names, FITS files, data-quality updates."""
