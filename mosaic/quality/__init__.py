"""How good a mosaic is: pictures, checks and the report."""
