"""Fault injectors, one a file; the file's stem is its name in a scenario."""
