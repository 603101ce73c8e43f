"""The job service: submit, watch, cancel, survive."""
