"""Where schedulers come from."""
