"""Command line: parse, call, print. Importing it loads nothing scientific."""

from __future__ import annotations

from mosaic.cli.app import app, main

__all__ = ["app", "main"]
