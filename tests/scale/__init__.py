"""How mosaic behaves when a job is large: dry runs, a large real run, a model of a cluster."""
