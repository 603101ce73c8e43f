"""Speed, memory and disk of mosaic beside other programs; see `python -m tests.bench --help`."""
