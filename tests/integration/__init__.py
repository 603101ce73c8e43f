"""Real schedulers, workers and object stores, and what happens when they fail."""
