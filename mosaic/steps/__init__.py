"""The science of each step as pure functions of arrays and parameters; no input, no output, no scheduling."""
