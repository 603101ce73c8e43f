"""What is installed into a worker process: threads, memory, compiled kernels."""
