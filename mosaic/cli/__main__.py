"""Run the command line with ``python -m mosaic.cli``."""

from __future__ import annotations

from mosaic.cli.app import main

if __name__ == "__main__":
    main()
