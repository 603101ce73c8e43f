"""How good a mosaic is: previews and measurements."""
