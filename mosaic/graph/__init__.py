"""Plan, budget, tasks, ledger and driver: how a mosaic is computed in pieces."""
