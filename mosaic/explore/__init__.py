"""Mosaics to look at before they are made: lazy datasets, cut-outs, previews, parameter scans."""
