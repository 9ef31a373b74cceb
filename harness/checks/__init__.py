"""Checks, one a file: pure functions of a Record."""
